// Where training reads from: the SQL store, a folder in the exchange format, or a generated world.
import type { Edge, EngagementEvent, Post, User } from '../../src/contracts.ts';
import { openSqlStore } from '../../src/features/store/postgres-store.ts';
import { generateWorld } from '../generate/world.ts';
import { UsageError } from '../import/command.ts';
import { jsonlSource } from './jsonl-source.ts';
import type { TrainingSource } from './training-set.ts';
import { storeSource, worldSource } from './training-set-source.ts';

export interface TrainingData {
  /** For the figures: `pglite`, `postgres`, `world 7,40000,4000`. */
  name: string;
  source: TrainingSource;
  close(): Promise<void>;
}

/** One batch of what an export holds. */
export interface ExportBatch {
  posts?: readonly Post[];
  users?: readonly User[];
  edges?: readonly Edge[];
  events?: readonly EngagementEvent[];
}

export interface OpenTrainingData {
  /** A folder in the exchange format. */
  folder: string | undefined;
  world: string | undefined;
  databaseUrl: string | undefined;
  dataDir: string;
}

/** Throws UsageError on a bad --world or --data, and what opening the store throws. */
export async function openTrainingData(options: OpenTrainingData): Promise<TrainingData> {
  const { folder, world, databaseUrl, dataDir } = options;
  if (folder !== undefined && world !== undefined)
    throw new UsageError('--data and --world exclude each other');
  if (folder !== undefined) {
    return { name: `folder ${folder}`, source: await jsonlSource(folder), close: async () => {} };
  }
  if (world !== undefined) {
    const numbers = world.split(',').map((part) => (/^\d{1,9}$/.test(part) ? Number(part) : Number.NaN));
    const [seed, posts, users] = numbers;
    if (numbers.length !== 3 || !(seed >= 0 && posts > 0 && users > 0)) {
      throw new UsageError(`--world must be SEED,POSTS,USERS, not "${world}"`);
    }
    const source = worldSource(generateWorld({ seed, posts, users }));
    return { name: `world ${world}`, source, close: async () => {} };
  }
  const store = await openSqlStore({ databaseUrl, dataDir, attach: true });
  return { name: store.kind, source: storeSource(store), close: () => store.close() };
}

/** Everything of a source, in the order in which an importer wants it; events before `untilMs` only. */
export async function* exportBatches(
  source: TrainingSource,
  untilMs = Infinity,
): AsyncGenerator<ExportBatch> {
  for await (const posts of source.posts()) yield { posts };
  for await (const batch of source.users()) {
    yield { users: batch.map(({ user }) => user), edges: batch.flatMap(({ edges }) => edges) };
  }
  for await (const events of source.events()) yield { events: events.filter(({ at }) => at < untilMs) };
}

/** Time of the event that has `share` of all events before it. Throws UsageError when there is none. */
export async function timeOfShare(source: TrainingSource, share: number): Promise<number> {
  let count = 0;
  for await (const events of source.events()) count += events.length;
  let left = Math.floor(count * share);
  for await (const events of source.events()) {
    if (left < events.length) return events[left].at;
    left -= events.length;
  }
  throw new UsageError('there are no events to train on');
}
