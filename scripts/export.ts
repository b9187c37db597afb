// Writes the store's posts, users, follows, blocks and events as a JSONL folder, for trainers and for moving house.
// `import --format jsonl` of that folder changes nothing.
import { readConfig } from '../src/config.ts';
import { openSqlStore } from '../src/features/store/postgres-store.ts';
import { type FlagValues, runCommand, textFlag, UsageError } from './import/command.ts';
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

await runCommand({
  help: HELP,
  flags: { out: { type: 'string' }, 'data-dir': { type: 'string' } },
  run: exportStore,
});

async function exportStore(flags: FlagValues): Promise<object> {
  const out = textFlag(flags, 'out');
  if (!out) throw new UsageError('--out is required');
  const config = readConfig();
  const dataDir = textFlag(flags, 'data-dir') ?? config.DATA_DIR;
  const store = await openSqlStore({ databaseUrl: config.DATABASE_URL, dataDir, attach: true });
  const startedAt = performance.now();
  try {
    const sink = await jsonlSink(out);
    const progress = startProgress('export');
    const { counts } = sink;
    // Totals are not known beforehand: the three parts count a third each.
    const note = (part: number) =>
      progress.update(part / 3, counts.posts + counts.users + counts.edges + counts.events);
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
    progress.stop();
    const { posts, users, edges, events } = counts;
    const seconds = Number(((performance.now() - startedAt) / 1_000).toFixed(1));
    return { out, store: store.kind, posts, users, edges, events, seconds };
  } finally {
    await store.close();
  }
}
