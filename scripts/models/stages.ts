// The moves of a model's life from the command line: the same changes of the registry's state that the service and
// /admin/models make. A running service sees them within MODELS_POLL_MS.
import { join } from 'node:path';
import { currentVersion, listVersions } from '../../src/candidates/index/artifact.ts';
import { replaceFile } from '../../src/candidates/index/artifact-files.ts';
import { FeedrankError } from '../../src/errors.ts';
import { rollBack, startTrial } from '../../src/ranking/lifecycle/stage-changes.ts';
import {
  appendHistory,
  type HistoryEntry,
  type ModelState,
  readHistory,
  readRolloutState,
} from '../../src/ranking/lifecycle/stage-file.ts';
import { MAIN_RANKER, promotedVersion } from '../../src/ranking/model-registry.ts';
import { UsageError } from '../import/command.ts';
import { modelNames, resolveModel, verifyModel } from './model-folder.ts';
import { type Answer, textTable } from './tables.ts';

/** Puts a version of the ranker in shadow, or in canary with a share of the users. @throws what verifying throws. */
export async function stageModel(
  modelsDir: string,
  target: string,
  stage: 'shadow' | 'canary',
  share: number,
): Promise<Answer> {
  if (!target.includes('@')) throw new UsageError(`usage: models ${stage} NAME@V`);
  const ref = await resolveModel(modelsDir, target);
  if (ref.name !== MAIN_RANKER) {
    throw new UsageError(`only ${MAIN_RANKER} goes through ${stage}; promote ${ref.name}@${ref.version}`);
  }
  await verifyModel(modelsDir, ref);
  const entry = await startTrial({ modelsDir, name: ref.name, by: 'operator' }, ref.version, stage, share);
  const users = stage === 'canary' ? ` for ${share} of the users` : '';
  return {
    text: `${ref.name}@${ref.version} is in ${stage}${users}, beside ${ref.name}@${entry?.from}`,
    figures: { entry },
  };
}

/** Ends the trial of a model, or goes back to the version before. */
export async function rollBackModel(modelsDir: string, name: string, reason: string): Promise<Answer> {
  const [model, version] = name.split('@');
  if (!(await modelNames(modelsDir)).includes(model)) {
    throw new FeedrankError('not_found', `no model ${model} in ${modelsDir}`);
  }
  const entry = await rollBack({ modelsDir, name: model, by: 'operator' }, reason, version);
  if (entry === null) throw new FeedrankError('conflict', `${name} is neither on trial nor promoted`);
  const serving = await promotedVersion(modelsDir, model);
  return {
    text: `${model}@${entry.version} is rolled back, ${model}@${serving} serves`,
    figures: { entry, serving },
  };
}

/** Publishes the index version before the current one again; a running service swaps to it. */
export async function rollBackIndex(dataDir: string, reason: string): Promise<Answer> {
  const indexDir = join(dataDir, 'index');
  const current = await currentVersion(indexDir);
  if (current === null) throw new FeedrankError('not_found', `no index is published in ${indexDir}`);
  const before = (await listVersions(indexDir)).filter((version) => version < current).at(-1);
  if (before === undefined) {
    throw new FeedrankError('conflict', `index ${current} serves and none before it is kept`);
  }
  await replaceFile(join(indexDir, 'current'), `${before}\n`);
  const entry = { kind: 'index' as const, name: 'index', version: current, from: current, by: 'operator' };
  await appendHistory(dataDir, { ...entry, action: 'rolled_back', reason });
  return {
    text: `index ${current} is rolled back, ${before} is published`,
    figures: { from: current, to: before },
  };
}

/** What each model's registry state says; gates and figures of a trial are in GET /admin/models of a replica. */
export async function modelStatus(modelsDir: string): Promise<Answer> {
  const { models } = await readRolloutState(modelsDir);
  const figures: Record<string, unknown> = {};
  const rows: string[][] = [];
  for (const name of await modelNames(modelsDir)) {
    const promoted = await promotedVersion(modelsDir, name).catch(() => null);
    const state: ModelState | undefined = Object.hasOwn(models, name) ? models[name] : undefined;
    figures[name] = { promoted, ...state };
    const trial = state?.trial;
    rows.push([
      name,
      promoted ?? '–',
      trial ? `${trial.version} in ${trial.stage}${trial.stage === 'canary' ? ` ${trial.share}` : ''}` : '–',
      state?.previous ?? '–',
      Object.keys(state?.refused ?? {}).join(' ') || '–',
    ]);
  }
  const header = ['model', 'serves', 'on trial', 'before', 'refused'];
  return { text: rows.length > 0 ? textTable(header, rows) : `no models in ${modelsDir}`, figures };
}

/** `dirs`: the registry, and where the service keeps its data. */
export async function modelHistory(dirs: readonly string[], limit: number): Promise<Answer> {
  const history = await readHistory(dirs, limit);
  if (history.length === 0) return { text: 'nothing has happened yet', figures: { history } };
  const rows = history.map((entry) => [
    entry.at.slice(0, 19).replace('T', ' '),
    `${entry.name}@${entry.version}`,
    actionText(entry),
    entry.by,
    entry.reason ?? '',
  ]);
  return { text: textTable(['when', 'what', 'action', 'by', 'reason'], rows), figures: { history } };
}

function actionText({ action, share }: HistoryEntry): string {
  return share === undefined ? action.replace('_', ' ') : `${action} ${share}`;
}
