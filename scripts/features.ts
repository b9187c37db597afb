// `npm run features`: the feature store's offline half as Parquet, and the skew between it and what the service used.
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { readConfig } from '../src/config.ts';
import { EmbedPool } from '../src/features/embed-pool.ts';
import { openSqlStore } from '../src/features/store/postgres-store.ts';
import { promotedFolder } from '../src/ranking/model-registry.ts';
import { diffFeatures, type FeatureDiff } from './features/diff.ts';
import { exportFeatures } from './features/export.ts';
import { featureStore } from './features/feature-store.ts';
import { type Command, integerFlag, runCommand, textFlag, UsageError } from './import/command.ts';
import { openTrainingData } from './train/training-data.ts';
import { poolTowers } from './train/training-set-source.ts';
import type { TrainingSetMeta } from './train/training-set-writer.ts';

const USAGE = `usage: npm run features -- WHAT [flags]   (WHAT --help lists the flags)

  export   every impression with its features as of that moment and what followed, as Parquet
  diff     sampled requests recomputed as of their watermark: the skew, feature by feature`;

const EXPORT_HELP = `
usage: npm run features -- export --out DIR [flags]

Replays the events in time order through the code that serves and trains, and writes DIR/features.parquet: user_id,
post_id, at, a column for each number of each feature as of the impression, and label_* for what followed within a day.
No row sees its future. DIR/meta.json names features, towers and times.

  --out DIR        needed
  --data DIR       a folder in the exchange format, in place of the store
  --world S,P,U    a generated world, in place of the store: seed, posts, users
  --data-dir DIR   folder of the embedded database (default DATA_DIR); DATABASE_URL is taken where it is set
  --max-rows N     (default 10000000)
  --seed N         (default 1)
  --workers N      that run the towers (default 1)
  --json FILE      write the figures to a file instead of stdout
  --help
`;

const DIFF_HELP = `
usage: npm run features -- diff [flags]

Takes the newest requests whose features are in the serving log (FEATURE_LOG_SHARE of all), replays the store's changes
in commit order up to the watermark of each, computes the features anew and compares. The service may run meanwhile.

  --samples N      requests (default 200)
  --data-dir DIR   folder of the embedded database (default DATA_DIR); DATABASE_URL is taken where it is set
  --workers N      that run the towers (default 1)
  --json FILE      write the figures to a file instead of stdout
  --help

Posts about which an event was on its way while the request ran are compared apart. Ends with 1 when a feature differs.
`;

const pools = { 'data-dir': { type: 'string' as const }, workers: { type: 'string' as const } };

const COMMANDS: Record<string, Command> = {
  export: {
    help: EXPORT_HELP,
    flags: {
      ...pools,
      out: { type: 'string' },
      data: { type: 'string' },
      world: { type: 'string' },
      'max-rows': { type: 'string' },
      seed: { type: 'string' },
    },
    async run(flags): Promise<TrainingSetMeta> {
      const out = textFlag(flags, 'out');
      if (out === undefined) throw new UsageError('--out is needed');
      const maxRows = integerFlag(flags, 'max-rows', 10_000_000, 1, 1_000_000_000);
      const seed = integerFlag(flags, 'seed', 1, 0, 2 ** 31 - 1);
      const workers = integerFlag(flags, 'workers', 1, 1, 64);
      const config = readConfig();
      const data = await openTrainingData({
        folder: textFlag(flags, 'data'),
        world: textFlag(flags, 'world'),
        databaseUrl: config.DATABASE_URL,
        dataDir: textFlag(flags, 'data-dir') ?? config.DATA_DIR,
      });
      try {
        return await withTowers(config.MODELS_DIR, workers, (pool) =>
          exportFeatures({
            source: data.source,
            towers: poolTowers(pool),
            outDir: resolve(out),
            maxRows,
            seed,
            onProgress: progressOn('export'),
          }),
        );
      } finally {
        await data.close();
      }
    },
  },
  diff: {
    help: DIFF_HELP,
    flags: { ...pools, samples: { type: 'string' } },
    async run(flags): Promise<FeatureDiff> {
      const samples = integerFlag(flags, 'samples', 200, 1, 100_000);
      const workers = integerFlag(flags, 'workers', 1, 1, 64);
      const config = readConfig();
      const sql = await openSqlStore({
        databaseUrl: config.DATABASE_URL,
        dataDir: textFlag(flags, 'data-dir') ?? config.DATA_DIR,
        attach: true,
      });
      try {
        const report = progressOn('diff');
        const diff = await withTowers(config.MODELS_DIR, workers, (pool) =>
          diffFeatures({
            store: featureStore(sql),
            embedPosts: (posts) => pool.embedPosts(posts),
            embedUsers: (users) => pool.embedUsers(users),
            samples,
            onProgress: (done, total) => report('requests', done, total),
          }),
        );
        return await judged(diff, textFlag(flags, 'json'));
      } finally {
        await sql.close();
      }
    },
  },
};

/** @throws Error naming the features that differ: the command's exit code says so too. */
async function judged(diff: FeatureDiff, json: string | undefined): Promise<FeatureDiff> {
  if (diff.requests === 0) {
    throw new Error('the serving log has no request with features: set FEATURE_LOG_SHARE and ask for feeds');
  }
  if (diff.unequal.length > 0) {
    // The figures of a skew are what one wants to see.
    if (json) await writeFile(json, `${JSON.stringify(diff, null, 2)}\n`);
    const worst = diff.skew
      .filter(({ unequal }) => unequal > 0)
      .map(({ feature, unequal, max }) => `${feature} ${(100 * unequal).toFixed(2)} % (at most ${max})`);
    throw new Error(`skew in ${diff.rows} posts of ${diff.requests} requests: ${worst.join(', ')}`);
  }
  return diff;
}

async function withTowers<T>(
  modelsDir: string,
  workers: number,
  work: (pool: EmbedPool) => Promise<T>,
): Promise<T> {
  const pool = await EmbedPool.start({
    postTowerDir: await promotedFolder(modelsDir, 'post-tower'),
    userTowerDir: await promotedFolder(modelsDir, 'user-tower'),
    workers,
  });
  try {
    return await work(pool);
  } finally {
    await pool.close();
  }
}

const REPORT_EVERY_MS = 2000;

/** A line now and then, with rate and time left. */
function progressOn(name: string): (what: string, done: number, total: number) => void {
  const startedAt = Date.now();
  let saidAt = startedAt;
  return (what, done, total) => {
    const now = Date.now();
    if (now - saidAt < REPORT_EVERY_MS) return;
    saidAt = now;
    const perSecond = (1000 * done) / (now - startedAt);
    const left = perSecond > 0 ? Math.round((total - done) / perSecond) : 0;
    process.stderr.write(`${name}: ${what} ${done} of ${total}, ${perSecond.toFixed(0)}/s, ${left} s left\n`);
  };
}

const [what, ...rest] = process.argv.slice(2);
if (what === undefined || what === '--help' || what === '-h') {
  process.stdout.write(`${USAGE}\n`);
  process.exit(what === undefined ? 2 : 0);
}
const command = Object.hasOwn(COMMANDS, what) ? COMMANDS[what] : undefined;
if (command === undefined) {
  process.stderr.write(`features: expected export or diff, got '${what}'\n`);
  process.exit(2);
}
await runCommand(command, rest);
