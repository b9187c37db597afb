// Writes the store's posts, users, follows, blocks and events as a JSONL folder, for trainers and for moving house.
// `import --format jsonl` of that folder changes nothing.
import { readConfig } from '../src/config.ts';
import type { EventStore, PostStore } from '../src/contracts.ts';
import { openSqlStore } from '../src/features/store/postgres-store.ts';
import { type Command, type FlagValues, runCommand, textFlag, UsageError } from './import/command.ts';
import { startProgress } from './import/progress.ts';
import { jsonlSink } from './import/sink.ts';

const BATCH = 5_000;

const HELP = `
npm run export -- --out DIR [flags]

Writes posts.jsonl, users.jsonl, follows.jsonl, blocks.jsonl and events.jsonl (docs/DATA-FORMAT.md) into DIR, replacing
them: posts by time, users by id, events by time.

  --out DIR        folder, made when absent
  --data-dir DIR   embedded database (default: DATA_DIR or ./data)
  --json FILE      write the figures to a file instead of stdout
  --help`;

export const exportCommand: Command = {
  help: HELP,
  flags: { out: { type: 'string' }, 'data-dir': { type: 'string' } },
  run: exportFromFlags,
};

async function exportFromFlags(flags: FlagValues): Promise<object> {
  const out = textFlag(flags, 'out');
  if (!out) throw new UsageError('--out is required');
  const config = readConfig();
  const dataDir = textFlag(flags, 'data-dir') ?? config.DATA_DIR;
  const store = await openSqlStore({ databaseUrl: config.DATABASE_URL, dataDir, attach: true });
  const startedAt = performance.now();
  try {
    const progress = startProgress('export');
    const figures = await exportStore(store, out, progress.update);
    progress.stop();
    return { out, ...figures, seconds: Number(((performance.now() - startedAt) / 1_000).toFixed(1)) };
  } finally {
    await store.close();
  }
}

/** Writes the JSONL folder. Totals are not known beforehand: posts, users and events count a third of the bar each. */
export async function exportStore(
  store: PostStore & EventStore,
  out: string,
  onProgress: (fraction: number, rows: number) => void = () => {},
): Promise<{ posts: number; users: number; edges: number; events: number }> {
  const sink = await jsonlSink(out);
  const { counts } = sink;
  const note = (part: number) =>
    onProgress(part / 3, counts.posts + counts.users + counts.edges + counts.events);
  for await (const posts of store.scanPosts(BATCH)) {
    await sink.write({ posts });
    note(0);
  }
  for await (const users of store.scanUsers(BATCH)) {
    await sink.write({ users: users.map(({ user }) => user), edges: users.flatMap(({ edges }) => edges) });
    note(1);
  }
  for await (const events of store.scanEvents(BATCH)) {
    await sink.write({ events });
    note(2);
  }
  await sink.close();
  note(3);
  const { posts, users, edges, events } = counts;
  return { posts, users, edges, events };
}

if (import.meta.main) await runCommand(exportCommand);
