// Where batches go: the SQL store or a folder of JSONL files. Writes overlap with reading, at most two in flight.
// Called by import, generate and export.
import { createWriteStream, type WriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import type {
  Edge,
  EngagementEvent,
  EventStore,
  Post,
  PostStore,
  User,
  UserStore,
} from '../../src/contracts.ts';
import { deadlineIn } from '../../src/deadline.ts';

const WRITE_MS = 120_000;
const IN_FLIGHT = 2;

export interface Items {
  posts?: readonly Post[];
  users?: readonly User[];
  edges?: readonly Edge[];
  events?: readonly EngagementEvent[];
}

export interface SinkCounts {
  posts: number;
  users: number;
  edges: number;
  events: number;
  /** Posts that were new or changed and events that were new; null where the sink cannot tell. */
  changedPosts: number | null;
  newEvents: number | null;
}

export interface Sink {
  readonly counts: Readonly<SinkCounts>;
  /** Resolves when there is room for the next; a failed write rejects here or in `close`. */
  write(items: Items): Promise<void>;
  /** Resolves when everything is stored. */
  close(): Promise<void>;
}

export function storeSink(store: PostStore & UserStore & EventStore): Sink {
  const counts = { posts: 0, users: 0, edges: 0, events: 0, changedPosts: 0, newEvents: 0 };
  const pending: Promise<void>[] = [];
  const countTrue = (flags: boolean[]): number => flags.reduce((sum, flag) => sum + Number(flag), 0);
  const put = async ({ posts = [], users = [], edges = [], events = [] }: Items): Promise<void> => {
    const changed = posts.length > 0 ? await store.putPosts(posts, deadlineIn(WRITE_MS)) : [];
    if (users.length > 0) await store.putUsers(users, deadlineIn(WRITE_MS));
    if (edges.length > 0) await store.setEdges(edges, true, deadlineIn(WRITE_MS));
    const added = events.length > 0 ? await store.appendEvents(events, deadlineIn(WRITE_MS)) : [];
    // Two writes are in flight: counters are only touched between awaits.
    counts.changedPosts += countTrue(changed);
    counts.newEvents += countTrue(added);
    counts.posts += posts.length;
    counts.users += users.length;
    counts.edges += edges.length;
    counts.events += events.length;
  };
  return {
    counts,
    async write(items) {
      const write = put(items);
      // Its failure is thrown by the shift below; until then it must not count as unhandled.
      write.catch(() => {});
      pending.push(write);
      if (pending.length > IN_FLIGHT) await pending.shift();
    },
    async close() {
      while (pending.length > 0) await pending.shift();
    },
  };
}

const FILES = ['posts', 'users', 'follows', 'blocks', 'events'] as const;

/** Writes the five files of docs/DATA-FORMAT.md into `dir`, replacing them. */
export async function jsonlSink(dir: string): Promise<Sink> {
  await mkdir(dir, { recursive: true });
  const counts = { posts: 0, users: 0, edges: 0, events: 0, changedPosts: null, newEvents: null };
  const streams = new Map<string, WriteStream>();
  let failure: Error | null = null;
  for (const file of FILES) {
    const stream = createWriteStream(join(dir, `${file}.jsonl`));
    stream.on('error', (error) => {
      failure ??= error;
    });
    streams.set(file, stream);
  }
  const append = async (file: (typeof FILES)[number], rows: readonly object[]): Promise<void> => {
    if (rows.length === 0) return;
    const stream = streams.get(file)!;
    const text = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
    if (failure) throw failure;
    await new Promise<void>((resolve, reject) => {
      stream.write(text, (error) => (error ? reject(error) : resolve()));
    });
  };
  return {
    counts,
    async write({ posts = [], users = [], edges = [], events = [] }) {
      await append('posts', posts);
      await append('users', users);
      const follows = edges.filter((edge) => edge.kind === 'follow');
      await append(
        'follows',
        follows.map(({ userId, target, createdAt }) => ({ userId, authorId: target, createdAt })),
      );
      await append(
        'blocks',
        edges.filter((edge) => edge.kind !== 'follow'),
      );
      await append('events', events);
      counts.posts += posts.length;
      counts.users += users.length;
      counts.edges += edges.length;
      counts.events += events.length;
    },
    async close() {
      for (const stream of streams.values()) {
        stream.end();
        await finished(stream);
      }
    },
  };
}
