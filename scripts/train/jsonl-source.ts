// A folder in the exchange format (docs/DATA-FORMAT.md) as a training source: read whole, checked as an import checks it,
// put into time order. Called by training-data.ts.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Edge, EngagementEvent, Post, User } from '../../src/contracts.ts';
import { UsageError } from '../import/command.ts';
import { jsonl } from '../import/jsonl.ts';
import type { TrainingSource } from './training-set.ts';

const BATCH = 5000;

/** Holds everything in memory (≈ 1 kB a post, 300 bytes an event). @throws UsageError when the folder has no posts or events. */
export async function jsonlSource(dir: string): Promise<TrainingSource> {
  for (const file of ['posts.jsonl', 'events.jsonl']) {
    if (!existsSync(join(dir, file))) throw new UsageError(`--data: ${join(dir, file)} does not exist`);
  }
  const posts: Post[] = [];
  const users: User[] = [];
  const edges = new Map<string, Edge[]>();
  const events: EngagementEvent[] = [];
  let rejected = 0;
  const options = { dir, limit: Infinity, detectLanguage: true, reject: () => void rejected++ };
  for await (const batch of jsonl.read(options)) {
    for (const post of batch.posts) posts.push(post);
    for (const user of batch.users) users.push(user);
    for (const event of batch.events) events.push(event);
    for (const edge of batch.edges) {
      const own = edges.get(edge.userId);
      if (own) own.push(edge);
      else edges.set(edge.userId, [edge]);
    }
  }
  if (rejected > 0) process.stderr.write(`${dir}: ${rejected} rows are not valid and left out\n`);
  const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1);
  posts.sort((a, b) => a.createdAt - b.createdAt || byId(a, b));
  events.sort((a, b) => a.at - b.at || byId(a, b));
  const known = new Set(users.map(({ id }) => id));
  const withoutProfile = [...edges.keys()].filter((id) => !known.has(id));
  const people = [...users, ...withoutProfile.map((id): User => ({ id, createdAt: 0 }))];
  return {
    posts: () => slices(posts),
    users: () => slices(people, (part) => part.map((user) => ({ user, edges: edges.get(user.id) ?? [] }))),
    events: () => slices(events),
  };
}

async function* slices<T, R = T>(items: T[], map?: (part: T[]) => R[]): AsyncGenerator<R[]> {
  for (let at = 0; at < items.length; at += BATCH) {
    const part = items.slice(at, at + BATCH);
    yield map ? map(part) : (part as unknown as R[]);
  }
}
