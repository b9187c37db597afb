// Makes a synthetic world and writes it into the SQL store or as JSONL; the same flags give the same bytes.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readConfig } from '../src/config.ts';
import { openSqlStore } from '../src/features/store/postgres-store.ts';
import { generateWorld } from './generate/world.ts';
import { writeWorld } from './generate/write-world.ts';
import {
  type Command,
  type FlagValues,
  integerFlag,
  runCommand,
  textFlag,
  UsageError,
} from './import/command.ts';
import { startProgress } from './import/progress.ts';
import { jsonlSink, storeSink } from './import/sink.ts';

const DAY_MS = 24 * 3_600_000;

const HELP = `
npm run generate -- --posts N --users M --seed S [flags]

Makes posts, users, follows, blocks and events of which the true affinities are known: the same flags (and the same
--now) give the same world again, so that evaluations can compare a feed with the truth.

  --posts N            posts (1 to 20000000)
  --users M            users (0 to 10000000)
  --seed S             any integer from 0 (default 1)
  --days D             age of the oldest post (default 14)
  --events-per-user E  mean impressions a user; clicks and what follows come on top (default 120)
  --now TIME           end of the world, ISO-8601 or unix ms (default: the last midnight, UTC)
  --out DIR            write JSONL files and world.json there instead of the store
  --data-dir DIR       embedded database (default: DATA_DIR or ./data)
  --json FILE          write the figures to a file instead of stdout
  --help`;

export const generateCommand: Command = {
  help: HELP,
  flags: {
    posts: { type: 'string' },
    users: { type: 'string' },
    seed: { type: 'string' },
    days: { type: 'string' },
    'events-per-user': { type: 'string' },
    now: { type: 'string' },
    out: { type: 'string' },
    'data-dir': { type: 'string' },
  },
  run: generate,
};

async function generate(flags: FlagValues): Promise<object> {
  for (const required of ['posts', 'users']) {
    if (flags[required] === undefined) throw new UsageError(`--${required} is required`);
  }
  const options = {
    posts: integerFlag(flags, 'posts', 0, 1, 20_000_000),
    users: integerFlag(flags, 'users', 0, 0, 10_000_000),
    seed: integerFlag(flags, 'seed', 1, 0, Number.MAX_SAFE_INTEGER),
    days: integerFlag(flags, 'days', 14, 1, 3_650),
    eventsPerUser: integerFlag(flags, 'events-per-user', 120, 0, 10_000),
    now: timeFlag(textFlag(flags, 'now')),
  };
  const out = textFlag(flags, 'out');
  if (out && flags['data-dir']) throw new UsageError('--out and --data-dir exclude each other');
  const startedAt = performance.now();
  const world = generateWorld(options);
  const store = out ? null : await openTarget(textFlag(flags, 'data-dir'));
  try {
    const sink = store ? storeSink(store) : await jsonlSink(out!);
    const progress = startProgress('generate');
    await writeWorld(world, sink, progress.update);
    await sink.close();
    progress.stop();
    if (out) await writeFile(join(out, 'world.json'), `${JSON.stringify(options, null, 2)}\n`);
    const seconds = (performance.now() - startedAt) / 1_000;
    return {
      ...options,
      now: new Date(options.now).toISOString(),
      written: { ...sink.counts, authors: world.authorCount },
      seconds: Number(seconds.toFixed(1)),
      peakRssMb: Math.round(process.resourceUsage().maxRSS / 1024),
    };
  } finally {
    await store?.close();
  }
}

function openTarget(dataDir: string | undefined) {
  const config = readConfig();
  return openSqlStore({
    databaseUrl: config.DATABASE_URL,
    dataDir: dataDir ?? config.DATA_DIR,
    attach: true,
  });
}

/** Midnight by default: a world made today is the same all day, and its newest posts are hours old. */
function timeFlag(text: string | undefined): number {
  if (text === undefined) return Math.floor(Date.now() / DAY_MS) * DAY_MS;
  const at = /^\d+$/.test(text) ? Number(text) : Date.parse(text);
  if (!(at > 0 && at < Date.UTC(2100, 0, 1))) {
    throw new UsageError(`--now must be ISO-8601 or unix milliseconds, not "${text}"`);
  }
  return at;
}

if (import.meta.main) await runCommand(generateCommand);
