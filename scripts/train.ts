// `npm run train`: trains towers and rankers on the store's events (or on a generated world) and registers the new
// versions under the models folder, where a service finds them at its next start.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { readConfig } from '../src/config.ts';
import { LIGHT_RANKER, MAIN_RANKER } from '../src/ranking/model-registry.ts';
import { type FlagValues, integerFlag, runCommand, textFlag, UsageError } from './import/command.ts';
import { nextVersion, promote } from './train/model-versions.ts';
import { isImprovement, type TrainRanker, trainRanker } from './train/train-ranker.ts';
import { trainTowers } from './train/train-towers.ts';
import { openTrainingData, timeOfShare } from './train/training-data.ts';

/**
 * With --what all, the ranker learns from the events after this share of them, with vectors of towers that were
 * trained on the events before: a tower knows the outcome of what it was trained on.
 */
const EARLY_SHARE = 0.6;

const HELP = `
npm run train -- [flags]

Trains on what the store holds, and writes models/<name>/<version>: post-tower and user-tower, then ranker and
ranker-light on the newest towers. After new towers build the index again. Needs Python 3.11 or newer: the one in
FEEDRANK_PYTHON, or an environment that is made once under .cache. A ranker learns only from events that its towers
have not seen: with "all", towers are trained twice, on the first 60 % of the events for the ranker, on all to serve.
A ranker that does worse than the one that serves, on the newest tenth of the data, is kept but not promoted.

  --what WHAT         towers, ranker or all (default all)
  --data-dir DIR      embedded database (default: DATA_DIR or ./data)
  --world S,P,U       train on the generated world of seed S with P posts and U users instead of the store
  --out DIR           models folder (default: MODELS_DIR or ./models)
  --epochs N          passes over the data, at most (default: the trainer's)
  --max-rows N        impressions that the ranker learns from, at most (default 2000000)
  --seed N            of every random choice (default 1)
  --threads N         of the trainer (default: the cores)
  --no-promote        keep serving the versions that serve now
  --keep DIR          keep the export and the training set in DIR
  --json FILE         write the figures to a file instead of stdout
  --help`;

await runCommand({
  help: HELP,
  flags: {
    ...Object.fromEntries(
      ['what', 'data-dir', 'world', 'out', 'epochs', 'max-rows', 'seed', 'threads', 'keep'].map((name) => [
        name,
        { type: 'string' as const },
      ]),
    ),
    'no-promote': { type: 'boolean' },
  },
  run: train,
});

async function train(flags: FlagValues): Promise<object> {
  const what = textFlag(flags, 'what') ?? 'all';
  if (!['towers', 'ranker', 'all'].includes(what)) {
    throw new UsageError(`--what must be towers, ranker or all, not "${what}"`);
  }
  const config = readConfig();
  const modelsDir = resolve(textFlag(flags, 'out') ?? config.MODELS_DIR);
  const settings = {
    seed: integerFlag(flags, 'seed', 1, 0, 2 ** 31 - 1),
    threads: integerFlag(flags, 'threads', availableParallelism(), 1, 256),
    epochs: flags.epochs === undefined ? undefined : integerFlag(flags, 'epochs', 0, 1, 1000),
    maxRows: integerFlag(flags, 'max-rows', 2_000_000, 1000, 1_000_000_000),
  };
  await mkdir(modelsDir, { recursive: true });
  const data = await openTrainingData({
    world: textFlag(flags, 'world'),
    databaseUrl: config.DATABASE_URL,
    dataDir: textFlag(flags, 'data-dir') ?? config.DATA_DIR,
  });
  const keep = textFlag(flags, 'keep');
  const work = keep ? resolve(keep) : await mkdtemp(join(modelsDir, '.training-'));
  const figures: Record<string, unknown> = { what, data: data.name };
  const registered: { name: string; version: string; promoted: boolean }[] = [];
  const wanted = flags['no-promote'] !== true;
  try {
    let early: TrainRanker['early'];
    if (what !== 'ranker') {
      const version = await nextVersion(modelsDir, ['post-tower', 'user-tower']);
      const run = { data, initDir: modelsDir, ...settings };
      if (what === 'all') {
        const fromMs = await timeOfShare(data.source, EARLY_SHARE);
        const dir = join(work, 'early-towers');
        await trainTowers({ ...run, work: dir, modelsDir: dir, version: '1', untilMs: fromMs });
        early = { dir, fromMs, servedVersion: version };
      }
      figures.towers = await trainTowers({ ...run, work, modelsDir, version });
      for (const name of ['post-tower', 'user-tower']) registered.push({ name, version, promoted: wanted });
    }
    if (what !== 'towers') {
      const version = await nextVersion(modelsDir, ['ranker', 'ranker-light']);
      const ranker = await trainRanker({ data, work, modelsDir, version, early, ...settings });
      figures.ranker = ranker;
      for (const name of [MAIN_RANKER, LIGHT_RANKER]) {
        registered.push({ name, version, promoted: wanted && isImprovement(ranker, name) });
      }
    }
    for (const { name, version, promoted } of registered) await promote(modelsDir, name, version, promoted);
    return { ...figures, registered };
  } finally {
    await data.close();
    if (!keep) await rm(work, { recursive: true, force: true });
  }
}
