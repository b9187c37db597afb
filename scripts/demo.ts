// `npm run demo`: the whole product on embedded stores. Makes a world once, builds its index, serves it, and prints
// three users' feeds as they came over HTTP; a second start reuses what was built.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { authSettings } from '../src/auth-settings.ts';
import { currentVersion } from '../src/candidates/index/artifact.ts';
import { composeService, type Service } from '../src/compose.ts';
import { readConfig } from '../src/config.ts';
import { messageOf } from '../src/errors.ts';
import { createLogger } from '../src/logger.ts';
import { EMBEDDED_STATE } from '../src/redis-settings.ts';
import { buildWorld } from './demo/build-world.ts';
import { feedTable, type PrintedPost } from './demo/feed-table.ts';
import { pickReaders, type Reader } from './demo/readers.ts';
import { generateWorld, type World, type WorldOptions } from './generate/world.ts';

const HELP = `usage: npm run demo -- [flags]

  --posts N       posts of the world (default 100000)
  --users N       users of the world (default 5000)
  --seed S        another seed, another world (default 1)
  --data-dir DIR  where world, index and user state are kept (default ./data/demo)
  --port P        port to serve on (default PORT or 3000)
  --limit N       posts printed for each user (default 10)
  --rebuild       make the world and its index anew
  --once          stop after printing
  --api-key KEY   where API_KEYS_FILE or JWT_* is set: what the demo itself asks with (default FEEDRANK_API_KEY)
  --json FILE     write the feeds that were printed and the seconds that each step took
  --help`;

const INDEX_EF_CONSTRUCTION = 80;
const OPEN_NOTICE = [
  'THIS DEMO IS OPEN. It asks nobody for credentials: whoever reaches the port',
  'reads every feed, writes every event, erases every user. Keys are made by',
  'npm run keys -- create --help; API_KEYS_FILE puts them in force.',
];

interface Flags {
  world: WorldOptions;
  dataDir: string;
  port: number | undefined;
  limit: number;
  rebuild: boolean;
  once: boolean;
  json: string | undefined;
  apiKey: string | undefined;
}

function readFlags(argv: string[]): Flags | null {
  const { values } = parseArgs({
    args: argv,
    options: {
      posts: { type: 'string', default: '100000' },
      users: { type: 'string', default: '5000' },
      seed: { type: 'string', default: '1' },
      'data-dir': { type: 'string', default: './data/demo' },
      port: { type: 'string' },
      limit: { type: 'string', default: '10' },
      rebuild: { type: 'boolean', default: false },
      once: { type: 'boolean', default: false },
      json: { type: 'string' },
      'api-key': { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  return {
    world: {
      posts: whole('--posts', values.posts, 1000, 10_000_000),
      users: whole('--users', values.users, 10, 10_000_000),
      seed: whole('--seed', values.seed, 0, 2 ** 31),
    },
    dataDir: values['data-dir'],
    port: values.port === undefined ? undefined : whole('--port', values.port, 0, 65_535),
    limit: whole('--limit', values.limit, 1, 50),
    rebuild: values.rebuild,
    once: values.once,
    json: values.json,
    apiKey: values['api-key'] ?? process.env.FEEDRANK_API_KEY,
  };
}

function whole(flag: string, text: string, min: number, max: number): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new Error(`${flag}: expected a whole number from ${min} to ${max}, got '${text}'`);
}

/** The world that a data folder was built for; written last, so that a killed build is made again. */
function keptWorld(dataDir: string): Required<WorldOptions> | null {
  const path = join(dataDir, 'world.json');
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Required<WorldOptions>) : null;
}

async function openWorld(flags: Flags, modelsDir: string): Promise<World> {
  const kept = keptWorld(flags.dataDir);
  const { posts, users, seed } = flags.world;
  const same = kept !== null && kept.posts === posts && kept.users === users && kept.seed === seed;
  if (same && !flags.rebuild && (await currentVersion(join(flags.dataDir, 'index'))) !== null) {
    console.log(`Reusing the world in ${flags.dataDir} (--rebuild makes it anew).`);
    return generateWorld(kept);
  }
  rmSync(flags.dataDir, { recursive: true, force: true });
  await mkdir(flags.dataDir, { recursive: true });
  const world = generateWorld({ ...flags.world, now: Date.now() });
  const manifest = await buildWorld(world, {
    dataDir: flags.dataDir,
    modelsDir,
    efConstruction: INDEX_EF_CONSTRUCTION,
  });
  const { kind, ef } = manifest.search;
  console.log(
    `Index ${manifest.version}: ${manifest.rows} posts, search by ${kind}${ef ? ` with ef ${ef}` : ''}`,
  );
  writeFileSync(join(flags.dataDir, 'world.json'), JSON.stringify(world.options));
  return world;
}

interface Printed {
  user: Reader;
  posts: PrintedPost[];
}

async function printFeeds(base: string, world: World, { limit, apiKey }: Flags): Promise<Printed[]> {
  const headers: Record<string, string> = apiKey ? { authorization: `Bearer ${apiKey}` } : {};
  const printed: Printed[] = [];
  for (const user of pickReaders(world, 3)) {
    const response = await fetch(`${base}/feed/${encodeURIComponent(user.id)}?limit=${limit}`, { headers });
    const feed = (await response.json()) as {
      posts: PrintedPost[];
      model: string;
      index: string;
      degraded: string[];
    };
    if (!response.ok)
      throw new Error(`GET /feed/${user.id} answered ${response.status}: ${JSON.stringify(feed)}`);
    console.log(`\n${user.id}: ${user.description}`);
    console.log(feedTable(feed.posts, Date.now()));
    const state = feed.degraded.length > 0 ? `degraded: ${feed.degraded.join(', ')}` : 'full quality';
    console.log(`  ranked by ${feed.model}, index ${feed.index}, ${state}`);
    printed.push({ user, posts: feed.posts });
  }
  return printed;
}

function framed(lines: readonly string[]): string {
  const width = Math.max(...lines.map((line) => line.length));
  const bar = '─'.repeat(width + 2);
  const rows = lines.map((line) => `  │ ${line.padEnd(width)} │`);
  return [`  ┌${bar}┐`, ...rows, `  └${bar}┘`].join('\n');
}

function printUrls(base: string, user: Reader, post: string, open: boolean): void {
  console.log(`
Try it:
  curl '${base}/feed/${user.id}?limit=5&explain=1'
  curl '${base}/posts/${post}/similar'
  curl -X POST ${base}/events -H 'content-type: application/json' \\
    -d '{"events":[{"userId":"${user.id}","postId":"${post}","type":"like","at":${Date.now()}}]}'
  ${base}/docs          the API
  ${base}/metrics       Prometheus

${open ? framed(OPEN_NOTICE) : 'It asks for credentials: add -H "authorization: Bearer KEY".'}`);
}

async function main(): Promise<void> {
  const flags = readFlags(process.argv.slice(2));
  if (flags === null) return console.log(HELP);
  const startedAt = performance.now();
  const seconds = () => Number(((performance.now() - startedAt) / 1000).toFixed(1));
  const config = readConfig({
    ...process.env,
    DATA_DIR: flags.dataDir,
    DATABASE_URL: undefined,
    ...EMBEDDED_STATE,
    PROFILE: 'development',
    LOG_LEVEL: process.env.LOG_LEVEL ?? 'warn',
    // A first look on a laptop that does other things too should show full quality, not the ladder of fallbacks.
    FEED_DEADLINE_MS: process.env.FEED_DEADLINE_MS ?? '2000',
    ...(flags.port === undefined ? {} : { PORT: String(flags.port) }),
  });
  const world = await openWorld(flags, config.MODELS_DIR);
  const builtSeconds = seconds();
  const service: Service = await composeService(config, createLogger(config.LOG_LEVEL));
  const stop = async () => {
    await service.close();
    process.exit(0);
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  const base = await service.app.listen({ host: config.HOST, port: config.PORT });
  const servingSeconds = seconds();
  const printed = await printFeeds(base, world, flags);
  if (flags.json)
    writeFileSync(flags.json, JSON.stringify({ builtSeconds, servingSeconds, feeds: printed }, null, 2));
  if (flags.once) return stop();
  printUrls(base, printed[0].user, printed[0].posts[0].id, authSettings(config) === null);
  console.log(
    `\nServing ${world.options.posts} posts on ${base} (ready after ${servingSeconds} s). Ctrl-C stops it.`,
  );
}

try {
  await main();
} catch (error) {
  console.error(`demo: ${messageOf(error).split('\n')[0]}`);
  process.exit(1);
}
