// `npm run train`: trains towers and rankers on the store's events, a folder's or a generated world's, and registers the
// new versions under the models folder, where a service finds them at its next start.
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { readConfig, rolloutMode } from '../src/config.ts';
import { messageOf } from '../src/errors.ts';
import { parseValueWeights } from '../src/ranking/value-model.ts';
import { type FlagValues, integerFlag, runCommand, textFlag, UsageError } from './import/command.ts';
import { nextVersion, registerModel } from './train/model-versions.ts';
import { promotion } from './train/promotion.ts';
import { ensurePython } from './train/python-env.ts';
import { DEVICES, type TrainerSettings } from './train/run-trainer.ts';
import { MODELS_OF, SIZES, type TrainRanker, trainRanker } from './train/train-ranker.ts';
import { trainTowers } from './train/train-towers.ts';
import { openTrainingData, timeOfShare } from './train/training-data.ts';
import { type TrainingReport, trainingReport } from './train/training-report.ts';
import { measure } from './train/training-set-extent.ts';
import { openWorkFolder } from './train/work-folder.ts';

/**
 * With --what all, the ranker learns from the events after this share of them, with vectors of towers that were
 * trained on the events before: a tower knows the outcome of what it was trained on.
 */
const EARLY_SHARE = 0.6;
const WHATS = ['towers', 'ranker', 'all'] as const;
const ARCHITECTURES = ['MLP', 'DCN-v2', 'FinalMLP', 'MaskNet'] as const;
const TOWERS = ['post-tower', 'user-tower'] as const;

const HELP = `
npm run train -- [flags]

Trains on what the store holds, and writes models/<name>/<version>: post-tower and user-tower, then ranker and
ranker-light on the newest towers. After new towers build the index again. A ranker learns only from events that its
towers have not seen: with "all", towers are trained twice, on the first 60 % of the events for the ranker, on all to
serve. What does worse than what serves, on the same newest events, is kept but not promoted. A run that was killed goes
on from its last checkpoint when it is started again with the same flags on the same data.

  --what WHAT         towers, ranker or all (default all)
  --data DIR          train on a folder in the exchange format (docs/DATA-FORMAT.md) instead of the store
  --world S,P,U       train on the generated world of seed S with P posts and U users instead of the store
  --data-dir DIR      embedded database (default: DATA_DIR or ./data)
  --out DIR           models folder (default: MODELS_DIR or ./models)
  --compare           train every architecture and LightGBM on the same rows, take the best within 5 ms per 1000 rows
  --architecture A    of the ranker: ${ARCHITECTURES.join(', ')} (default: the best on the demo world)
  --size SIZE         main; large: DCN-v2 of .66 million parameters, the user part once a request, int8, registered as
                      ranker-dcn beside the ranker that serves (npm run models -- adopt); or heavy: 10 million
                      parameters and more, for a GPU; never promoted by itself
  --epochs N          passes over the data, at most (default: the trainer's)
  --max-rows N        impressions that the ranker learns from, at most (default 2000000)
  --seed N            of every random choice (default 1); the same seed, data and workers on the same machine give the
                      same metrics to 1e-4, interrupted or not
  --workers N         data-parallel processes, by torchrun: one a GPU, or sharing the cores (default 1)
  --device DEVICE     auto, cpu or cuda (default auto)
  --threads N         of all workers together (default: the cores)
  --no-promote        keep serving the versions that serve now
  --force             promote also what does worse than what serves, or is too slow; where MODEL_ROLLOUT is auto the
                      service alone promotes a ranker (npm run models -- promote passes it by)
  --report FILE       curves and comparison as one HTML page (default .cache/train/report.html)
  --keep DIR          move the training set, the exports and the checkpoints to DIR at the end
  --json FILE         write the figures to a file instead of stdout
  --help

Python 3.11 or newer with venv is needed: the one in FEEDRANK_PYTHON, or an environment that is made once under .cache
from scripts/train/requirements.txt. Without a CUDA device PyTorch's CPU build (torch+cpu) is taken where pip finds it,
which PyPI does not carry: name PyTorch's CPU index in PIP_EXTRA_INDEX_URL and the environment takes 1 GB instead of 6.`;

await runCommand({
  help: HELP,
  flags: {
    ...Object.fromEntries(
      [
        ...['what', 'data', 'data-dir', 'world', 'out', 'architecture', 'size', 'epochs', 'max-rows', 'seed'],
        ...['workers', 'device', 'threads', 'report', 'keep'],
      ].map((name) => [name, { type: 'string' as const }]),
    ),
    compare: { type: 'boolean' },
    'no-promote': { type: 'boolean' },
    force: { type: 'boolean' },
  },
  run: train,
});

async function train(flags: FlagValues): Promise<object> {
  const startedAt = new Date().toISOString();
  const began = performance.now();
  const what = choiceFlag(flags, 'what', WHATS, 'all');
  const settings: TrainerSettings = {
    seed: integerFlag(flags, 'seed', 1, 0, 2 ** 31 - 1),
    threads: integerFlag(flags, 'threads', availableParallelism(), 1, 256),
    epochs: flags.epochs === undefined ? undefined : integerFlag(flags, 'epochs', 0, 1, 1000),
    workers: integerFlag(flags, 'workers', 1, 1, 64),
    device: choiceFlag(flags, 'device', DEVICES, 'auto'),
  };
  const compare = flags.compare === true;
  const architecture =
    flags.architecture === undefined ? undefined : choiceFlag(flags, 'architecture', ARCHITECTURES, 'MLP');
  if (compare && architecture) throw new UsageError('--compare and --architecture exclude each other');
  if (flags['no-promote'] && flags.force) throw new UsageError('--no-promote and --force exclude each other');
  const ranking = {
    maxRows: integerFlag(flags, 'max-rows', 2_000_000, 1000, 1_000_000_000),
    size: choiceFlag(flags, 'size', SIZES, 'main'),
    architecture,
    compare,
  };
  if (ranking.size === 'large' && (compare || (architecture ?? 'DCN-v2') !== 'DCN-v2')) {
    throw new UsageError('--size large is DCN-v2: neither --compare nor another --architecture');
  }
  const config = readConfig();
  const rules = {
    rollout: rolloutMode(config),
    noPromote: flags['no-promote'] === true,
    force: flags.force === true,
  };
  const weights = parseValueWeights(
    config.VALUE_WEIGHTS && JSON.parse(config.VALUE_WEIGHTS),
    'VALUE_WEIGHTS',
  );
  const modelsDir = resolve(textFlag(flags, 'out') ?? config.MODELS_DIR);
  await mkdir(modelsDir, { recursive: true });
  await ensurePython();
  const data = await openTrainingData({
    folder: textFlag(flags, 'data'),
    world: textFlag(flags, 'world'),
    databaseUrl: config.DATABASE_URL,
    dataDir: textFlag(flags, 'data-dir') ?? config.DATA_DIR,
  });
  const versions = {
    towers: await nextVersion(modelsDir, TOWERS),
    ranker: await nextVersion(modelsDir, MODELS_OF[ranking.size]),
  };
  const { threads: _, ...decisive } = settings;
  const extent = await measure(data.source);
  const identity = { what, data: data.name, extent, versions, ranking, weights, ...decisive };
  const work = await openWorkFolder(modelsDir, identity);
  let finished = false;
  try {
    if (work.resumed) process.stderr.write('train: goes on with what an earlier run left\n');
    const staged = join(work.dir, 'models');
    const base = { data, work: work.dir, modelsDir, ...settings };
    const report: TrainingReport = {
      ...{ what, data: data.name, seed: settings.seed, startedAt, seconds: 0, registered: [] },
    };
    let early: TrainRanker['early'];
    if (what === 'all') {
      const fromMs = await timeOfShare(data.source, EARLY_SHARE);
      const dir = join(work.dir, 'early-towers');
      await trainTowers({ ...base, outDir: dir, version: '1', untilMs: fromMs, compared: false });
      early = { dir, fromMs, servedVersion: versions.towers };
    }
    if (what !== 'ranker') {
      report.towers = await trainTowers({
        ...base,
        outDir: staged,
        version: versions.towers,
        compared: true,
      });
      for (const name of TOWERS) {
        const decided = promotion(name, rules, report.towers.comparison);
        report.registered.push({ name, version: versions.towers, ...decided });
      }
    }
    if (what !== 'towers') {
      const trained = { ...base, ...ranking, weights, early, outDir: staged, version: versions.ranker };
      report.ranker = await trainRanker(trained);
      for (const [name, { comparison, msPer1000Rows }] of Object.entries(report.ranker.figures)) {
        const decided = promotion(name, rules, comparison, msPer1000Rows);
        report.registered.push({ name, version: versions.ranker, ...decided });
      }
    }
    for (const { name, version, promoted } of report.registered) {
      await registerModel(modelsDir, staged, name, version, promoted);
    }
    report.seconds = (performance.now() - began) / 1000;
    const page = resolve(textFlag(flags, 'report') ?? join('.cache', 'train', 'report.html'));
    await mkdir(dirname(page), { recursive: true });
    await writeFile(page, trainingReport(report));
    finished = true;
    const keep = textFlag(flags, 'keep');
    if (keep) await keepWork(work.dir, resolve(keep));
    return { ...report, report: page };
  } finally {
    await data.close();
    await work.release(finished);
  }
}

function choiceFlag<const T extends string>(
  flags: FlagValues,
  name: string,
  choices: readonly T[],
  otherwise: NoInfer<T>,
): T {
  const text = textFlag(flags, name) ?? otherwise;
  const found = choices.find((choice) => choice === text);
  if (found === undefined) throw new UsageError(`--${name} must be ${choices.join(', ')}, not "${text}"`);
  return found;
}

async function keepWork(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await rm(to, { recursive: true, force: true });
  await rename(from, to).catch((error) => {
    throw new UsageError(`--keep ${to}: ${messageOf(error)}; it must be on the models folder's disk`);
  });
}
