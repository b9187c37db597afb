// `npm run build-index`: embeds every stored post, builds, verifies, calibrates and publishes the index, and writes
// every user's vector and online state. A running service finds the new version by itself.
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { MAX_SHARDS } from '../src/candidates/index/graph-shards.ts';
import { type Config, readConfig } from '../src/config.ts';
import { messageOf } from '../src/errors.ts';
import { EmbedPool } from '../src/features/embed-pool.ts';
import { openSqlStore } from '../src/features/store/postgres-store.ts';
import { openStateStore } from '../src/features/store/state-store.ts';
import { promotedFolder } from '../src/ranking/model-registry.ts';
import { redisTarget } from '../src/redis-settings.ts';
import { BuildProgressLine } from './build-index/progress-line.ts';
import { type BuildSummary, runBuildIndex } from './build-index/run.ts';

const HELP = `usage: npm run build-index -- [flags]

  --data-dir DIR         embedded stores and published indexes (default: DATA_DIR or ./data)
  --models-dir DIR       model folders (default: MODELS_DIR or ./models)
  --target-recall R      recall@k that the chosen search must reach, 0.5–1 (default 0.95)
  --k K                  candidates that recall is measured at, 10–8192 (default 1000)
  --search KIND          auto: builds all and takes the cheapest that reaches the target; hnsw (a graph), ivf
                         (inverted lists: a build without a graph takes minutes less) or exact: only that (default auto)
  --m M                  links of a post in the graph, 4–64 (default 16)
  --ef-construction EF   breadth of the search at insertion, 10–2000 (default: 100, from 250,000 posts 200)
  --shards N             parts of the graph, built in parallel: a faster build, slower queries, 1–16 (default 1)
  --keep N               versions to keep, the new one included (default 3)
  --partitions N         parts of the posts and events that are read at once, 1–32 (default 1)
  --workers N            embedding workers (default: cores, at most 8)
  --no-users             leave the users' online state alone
  --json FILE            write the figures of the build
  --help

DATABASE_URL and REDIS_URL choose the stores, as for the service.`;

interface Flags {
  config: Config;
  dataDir: string;
  modelsDir: string;
  targetRecall: number;
  k: number;
  search: 'auto' | 'exact' | 'hnsw' | 'ivf';
  m: number;
  efConstruction: number | undefined;
  shards: number;
  keep: number;
  partitions: number;
  workers: number;
  users: boolean;
  json: string | null;
}

function readFlags(argv: string[]): Flags | null {
  const { values } = parseArgs({
    args: argv,
    options: {
      'data-dir': { type: 'string' },
      'models-dir': { type: 'string' },
      'target-recall': { type: 'string', default: '0.95' },
      k: { type: 'string', default: '1000' },
      search: { type: 'string', default: 'auto' },
      m: { type: 'string', default: '16' },
      'ef-construction': { type: 'string' },
      shards: { type: 'string', default: '1' },
      keep: { type: 'string', default: '3' },
      partitions: { type: 'string', default: '1' },
      workers: { type: 'string', default: String(Math.min(8, availableParallelism())) },
      'no-users': { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  const { search } = values;
  if (search !== 'auto' && search !== 'exact' && search !== 'hnsw' && search !== 'ivf') {
    throw new Error(`--search: expected auto, exact, hnsw or ivf, got '${search}'`);
  }
  const config = readConfig();
  return {
    config,
    dataDir: values['data-dir'] ?? config.DATA_DIR,
    modelsDir: values['models-dir'] ?? config.MODELS_DIR,
    targetRecall: number('--target-recall', values['target-recall'], 0.5, 1),
    k: whole('--k', values.k, 10, 8192),
    search,
    m: whole('--m', values.m, 4, 64),
    efConstruction:
      values['ef-construction'] === undefined
        ? undefined
        : whole('--ef-construction', values['ef-construction'], 10, 2000),
    shards: whole('--shards', values.shards, 1, MAX_SHARDS),
    keep: whole('--keep', values.keep, 1, 1000),
    partitions: whole('--partitions', values.partitions, 1, 32),
    workers: whole('--workers', values.workers, 1, 64),
    users: !values['no-users'],
    json: values.json ?? null,
  };
}

function number(flag: string, text: string, min: number, max: number): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!(value >= min && value <= max)) throw new Error(`${flag}: expected ${min} to ${max}, got '${text}'`);
  return value;
}

function whole(flag: string, text: string, min: number, max: number): number {
  const value = number(flag, text, min, max);
  if (!Number.isInteger(value)) throw new Error(`${flag}: expected a whole number, got '${text}'`);
  return value;
}

async function run(flags: Flags): Promise<BuildSummary> {
  const { config, dataDir } = flags;
  const open: { close(): Promise<unknown> }[] = [];
  const progress = new BuildProgressLine(process.stderr);
  try {
    const sqlStore = await openSqlStore({
      databaseUrl: config.DATABASE_URL,
      readUrl: config.DATABASE_READ_URL,
      poolSize: flags.partitions + 4,
      dataDir,
      attach: true,
    });
    open.push(sqlStore);
    const stateStore = flags.users ? await openStateStore({ redis: redisTarget(config), dataDir }) : null;
    if (stateStore) open.push(stateStore);
    const embedder = await EmbedPool.start({
      postTowerDir: await promotedFolder(flags.modelsDir, 'post-tower'),
      userTowerDir: await promotedFolder(flags.modelsDir, 'user-tower'),
      workers: flags.workers,
    });
    open.push(embedder);
    const { targetRecall, k, search, m, efConstruction, shards, keep } = flags;
    return await runBuildIndex({
      indexDir: join(dataDir, 'index'),
      sqlStore,
      stateStore,
      embedder,
      targetRecall,
      k,
      search,
      m,
      efConstruction,
      shards,
      keep,
      partitions: flags.partitions,
      inFlight: flags.workers * 2 + 2,
      onProgress: (step) => progress.show(step),
    });
  } finally {
    progress.end();
    for (const one of open.reverse()) await one.close();
  }
}

function searchName({ search, lists }: BuildSummary['manifest']): string {
  if (search.kind === 'hnsw') return `hnsw with ef ${search.ef}`;
  if (search.kind === 'ivf') return `${search.probes} of ${lists?.count} inverted lists`;
  return 'whole scan';
}

function describe({ manifest, usersWritten, seconds }: BuildSummary): string {
  const { search, calibration, graph, graphAbsent } = manifest;
  const chosen = calibration.measured.find(
    (one) => one.kind === search.kind && one.ef === search.ef && one.probes === search.probes,
  );
  const quality = chosen
    ? `recall@${calibration.k} ${chosen.recall.toFixed(4)} in ${chosen.p50Ms} ms`
    : 'nothing to measure';
  const lines = [
    `published ${manifest.version}: ${manifest.rows} posts, ${usersWritten} users written, ${seconds.toFixed(1)} s`,
    `search: ${searchName(manifest)}, ${quality}${graphAbsent ? ` (no graph: ${graphAbsent})` : ''}`,
  ];
  if (graph) {
    const parts = graph.shards === 1 ? 'in one part' : `in ${graph.shards} shards`;
    lines.push(`graph: built ${parts} in ${graph.buildSeconds} s (m ${graph.m}, ef ${graph.efConstruction})`);
  }
  if (chosen && chosen.recall < calibration.targetRecall) {
    lines.push(`warning: no setting reaches the target recall of ${calibration.targetRecall}`);
  }
  return lines.join('\n');
}

try {
  const flags = readFlags(process.argv.slice(2));
  if (flags === null) {
    console.log(HELP);
  } else {
    const summary = await run(flags);
    console.log(describe(summary));
    if (flags.json) await writeFile(flags.json, `${JSON.stringify(summary, null, 2)}\n`);
  }
} catch (error) {
  console.error(`build-index: ${messageOf(error).replace(/\s*\n\s*/g, ' ')}`);
  process.exitCode = 1;
}
