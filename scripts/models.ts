// `npm run models`: the registry on disk, and the life of its versions. A version is a Triton-compatible
// folder `<name>/<version>/`; `<name>/current` names the one that serves, without it the highest number does.
import { readConfig } from '../src/config.ts';
import { FeedrankError, messageOf } from '../src/errors.ts';
import { promotedVersion, versionsOf } from '../src/ranking/model-registry.ts';
import { rulesFolder } from '../src/rules-registry.ts';
import {
  type CommandIo,
  execute,
  type FlagValues,
  integerFlag,
  textFlag,
  UsageError,
} from './import/command.ts';
import { adoptModel } from './models/adopt.ts';
import { modelNames, requireModel, resolveModel, verifyModel } from './models/model-folder.ts';
import { compareModels, listModels, showModel } from './models/model-tables.ts';
import { collectVersions, promoteModel } from './models/promote.ts';
import { modelHistory, modelStatus, rollBackIndex, rollBackModel, stageModel } from './models/stages.ts';
import type { Answer } from './models/tables.ts';

const HELP = `
npm run models -- COMMAND [flags]

  list                   every version of every model: kind, age, size, promoted or not, main metrics
  show NAME[@V]          one version's manifest; without @V the promoted one
  compare NAME A B       the metrics of versions A and B side by side, and the features that differ
  verify [NAME[@V]]      manifest, sha256 of every file, features, heads and golden outputs through ONNX Runtime; of
                         one version, of all versions of a model, or of everything
  promote NAME@V         verifies, then makes V the version that serves, unless the trainer found it worse than the one
                         that serves; a running service takes it over
  adopt NAME@V           verifies, then takes a ranker of another name (ranker-dcn) in as the next version of ranker, so
                         that shadow, canary, promote and rollback work with it; what serves goes on serving
  shadow NAME@V          verifies, then has the service score requests by V too, without serving it
  canary NAME@V --share S  the same for a share of the users, at most .5, who get V; the gates roll it back
  rollback NAME[@V]      ends the trial, or goes back to the version before; NAME may be index
  status                 what serves, what is on trial and what was refused
  history                what happened, newest first, with the reasons
  gc NAME --keep N       removes all but the N newest versions; never the promoted one, the one before, one on trial

  --models-dir DIR       folder of models (default: MODELS_DIR or ./models)
  --keep N               versions to keep, 0 to 1000 (gc)
  --dry-run              only say what would be removed (gc)
  --force                promote also what did worse (promote)
  --share S              share of the users, above 0 to .5 (canary)
  --reason TEXT          why (rollback)
  --data-dir DIR         where the index is (rollback index, history; default: DATA_DIR or ./data)
  --limit N              entries, 1 to 1000, default 50 (history)
  --json FILE            also write the figures to FILE
  --help                 this text

Exit code 0; 1 where something is wrong with a model; 2 for wrong use.`;

type Run = (targets: string[], modelsDir: string, flags: FlagValues) => Promise<Answer>;

const COMMANDS: Record<string, { targets: [min: number, max: number]; usage: string; run: Run }> = {
  list: { targets: [0, 0], usage: 'list', run: (_, modelsDir) => listModels(modelsDir) },
  show: {
    targets: [1, 1],
    usage: 'show NAME[@V]',
    run: ([target], modelsDir) => showModel(target, modelsDir),
  },
  compare: { targets: [3, 3], usage: 'compare NAME A B', run: compareModels },
  verify: {
    targets: [0, 1],
    usage: 'verify [NAME[@V]]',
    run: ([target], modelsDir) => verify(target, modelsDir),
  },
  promote: {
    targets: [1, 1],
    usage: 'promote NAME@V',
    run: ([target], modelsDir, flags) => promote(target, modelsDir, flags.force === true),
  },
  adopt: {
    targets: [1, 1],
    usage: 'adopt NAME@V',
    run: ([target], modelsDir) => adopt(target, modelsDir),
  },
  shadow: {
    targets: [1, 1],
    usage: 'shadow NAME@V',
    run: ([target], modelsDir) => stageModel(modelsDir, target, 'shadow', 0),
  },
  canary: {
    targets: [1, 1],
    usage: 'canary NAME@V --share S',
    run: ([target], modelsDir, flags) => stageModel(modelsDir, target, 'canary', shareOf(flags)),
  },
  rollback: {
    targets: [1, 1],
    usage: 'rollback NAME[@V]',
    run: ([target], modelsDir, flags) => {
      const reason = textFlag(flags, 'reason') ?? 'asked for by the operator';
      return target === 'index'
        ? rollBackIndex(dataDirOf(flags), reason)
        : rollBackModel(modelsDir, target, reason);
    },
  },
  status: { targets: [0, 0], usage: 'status', run: (_, modelsDir) => modelStatus(modelsDir) },
  history: {
    targets: [0, 0],
    usage: 'history',
    run: (_, modelsDir, flags) =>
      modelHistory(
        [modelsDir, dataDirOf(flags), rulesFolder(dataDirOf(flags))],
        integerFlag(flags, 'limit', 50, 1, 1000),
      ),
  },
  gc: {
    targets: [1, 1],
    usage: 'gc NAME --keep N',
    run: ([name], modelsDir, flags) => gc(name, modelsDir, flags),
  },
};

/** Resolves with the exit code. */
export async function runModels(argv: string[], io: CommandIo): Promise<number> {
  const firstFlag = argv.findIndex((argument) => argument.startsWith('-'));
  const [name, ...targets] = firstFlag < 0 ? argv : argv.slice(0, firstFlag);
  const rest = firstFlag < 0 ? [] : argv.slice(firstFlag);
  let text: string | undefined;
  const command = {
    help: HELP,
    flags: {
      'models-dir': { type: 'string' },
      keep: { type: 'string' },
      'dry-run': { type: 'boolean' },
      force: { type: 'boolean' },
      share: { type: 'string' },
      reason: { type: 'string' },
      'data-dir': { type: 'string' },
      limit: { type: 'string' },
    } as const,
    run: async (flags: FlagValues) => {
      const answer = await dispatch(name, targets, flags);
      text = answer.text;
      if (typeof flags.json === 'string') io.out(`${text}\n`);
      return answer.figures;
    },
  };
  // A person reads the table; the figures go to --json.
  return execute(command, rest, { ...io, out: (help) => io.out(text === undefined ? help : `${text}\n`) });
}

async function dispatch(name: string | undefined, targets: string[], flags: FlagValues): Promise<Answer> {
  const names = Object.keys(COMMANDS).join(', ');
  if (name === undefined) throw new UsageError(`a command is required: ${names}`);
  if (!Object.hasOwn(COMMANDS, name)) throw new UsageError(`unknown command '${name}', expected ${names}`);
  const { targets: count, usage, run } = COMMANDS[name];
  if (targets.length < count[0] || targets.length > count[1]) throw new UsageError(`usage: models ${usage}`);
  for (const [flag, owners] of Object.entries(OWNERS)) {
    if (flags[flag] !== undefined && !owners.includes(name)) {
      throw new UsageError(`--${flag} belongs to ${owners.join(' and ')}`);
    }
  }
  return run(targets, textFlag(flags, 'models-dir') ?? readConfig().MODELS_DIR, flags);
}

/** The commands that a flag belongs to, where not all take it. */
const OWNERS = {
  keep: ['gc'],
  'dry-run': ['gc'],
  force: ['promote'],
  share: ['canary'],
  reason: ['rollback'],
  'data-dir': ['rollback', 'history'],
  limit: ['history'],
};

function dataDirOf(flags: FlagValues): string {
  return textFlag(flags, 'data-dir') ?? readConfig().DATA_DIR;
}

function shareOf(flags: FlagValues): number {
  const text = textFlag(flags, 'share');
  if (text === undefined) throw new UsageError('--share S is required');
  const share = Number(text);
  if (!(share > 0 && share <= 0.5)) throw new UsageError(`--share must be above 0 to .5, not "${text}"`);
  return share;
}

async function verify(target: string | undefined, modelsDir: string): Promise<Answer> {
  const refs = [];
  if (target?.includes('@')) refs.push(await resolveModel(modelsDir, target));
  else {
    if (target !== undefined) await requireModel(modelsDir, target);
    for (const name of target === undefined ? await modelNames(modelsDir) : [target]) {
      // A `current` that names nothing is as wrong as a corrupt file.
      await promotedVersion(modelsDir, name);
      for (const version of await versionsOf(modelsDir, name)) refs.push({ name, version });
    }
  }
  if (refs.length === 0) throw new FeedrankError('not_found', `no models in ${modelsDir}`);
  const results = [];
  for (const ref of refs) {
    const problem = await verifyModel(modelsDir, ref).then(() => null, messageOf);
    results.push({ ...ref, ok: problem === null, problem });
  }
  const bad = results.filter(({ ok }) => !ok);
  const lines = results.map(({ name, version, problem }) => `${name}@${version}  ${problem ?? 'ok'}`);
  if (bad.length > 0) {
    const named = bad.map(({ name, version, problem }) => `${name}@${version}: ${problem}`);
    throw new FeedrankError(
      'corrupt_artifact',
      `${bad.length} of ${results.length} failed: ${named.join('; ')}`,
    );
  }
  return { text: lines.join('\n'), figures: { modelsDir, verified: results } };
}

async function promote(target: string, modelsDir: string, force: boolean): Promise<Answer> {
  if (!target.includes('@')) throw new UsageError('usage: models promote NAME@V');
  const promotion = await promoteModel(modelsDir, await resolveModel(modelsDir, target), force);
  const { name, version, from, warnings } = promotion;
  const lines = [`${name}@${version} serves, before it ${from === null ? 'none' : `${name}@${from}`}`];
  for (const warning of warnings) lines.push(`note: ${name}@${version} ${warning}`);
  return { text: lines.join('\n'), figures: promotion };
}

async function adopt(target: string, modelsDir: string): Promise<Answer> {
  const { from, as } = await adoptModel(modelsDir, await resolveModel(modelsDir, target));
  const text = `${from.name}@${from.version} is ${as.name}@${as.version} now, and serves when it is promoted`;
  return { text, figures: { from, as } };
}

async function gc(name: string, modelsDir: string, flags: FlagValues): Promise<Answer> {
  if (flags.keep === undefined) throw new UsageError('--keep N is required');
  const keep = integerFlag(flags, 'keep', 0, 0, 1000);
  await requireModel(modelsDir, name);
  const dryRun = flags['dry-run'] === true;
  const collection = await collectVersions(modelsDir, name, keep, dryRun);
  const { removed, kept, promoted } = collection;
  const verb = dryRun ? 'would remove' : 'removed';
  return {
    text: `${verb} ${removed.map((version) => `${name}@${version}`).join(', ') || 'nothing'}; kept ${kept.join(', ')}, promoted ${promoted}`,
    figures: { ...collection, dryRun },
  };
}

if (import.meta.main) {
  process.exitCode = await runModels(process.argv.slice(2), {
    out: (text) => process.stdout.write(text),
    error: (text) => process.stderr.write(text),
  });
}
