// Merges posts, edges and events, each in time order, into one timeline cut into windows. At equal times a post comes
// before an edge, an edge before an impression, an impression before what followed it. Called by training-set.ts.
import type { Edge, EngagementEvent, Post } from '../../src/contracts.ts';

export type Step =
  | { kind: 'post'; at: number; post: Post }
  | { kind: 'edge'; at: number; edge: Edge }
  | { kind: 'event'; at: number; event: EngagementEvent };

export interface Window {
  startMs: number;
  steps: Step[];
  posts: Post[];
  events: EngagementEvent[];
}

const RANK = { post: 0, edge: 1, event: 2 } as const;

export async function* mergeTimeline(
  posts: AsyncIterable<readonly Post[]>,
  edges: readonly Edge[],
  events: AsyncIterable<readonly EngagementEvent[]>,
  windowMs: number,
): AsyncGenerator<Window> {
  const postCursor = new Cursor(posts, (post) => post.createdAt);
  const eventCursor = new Cursor(events, (event) => event.at);
  let edge = 0;
  for (;;) {
    const next = Math.min(
      await postCursor.time(),
      await eventCursor.time(),
      edge < edges.length ? edges[edge].createdAt : Infinity,
    );
    if (next === Infinity) return;
    const startMs = Math.floor(next / windowMs) * windowMs;
    const endMs = startMs + windowMs;
    const window: Window = {
      startMs,
      steps: [],
      posts: await postCursor.before(endMs),
      events: await eventCursor.before(endMs),
    };
    for (const post of window.posts) window.steps.push({ kind: 'post', at: post.createdAt, post });
    for (; edge < edges.length && edges[edge].createdAt < endMs; edge++) {
      window.steps.push({ kind: 'edge', at: edges[edge].createdAt, edge: edges[edge] });
    }
    for (const event of window.events) window.steps.push({ kind: 'event', at: event.at, event });
    window.steps.sort((a, b) => a.at - b.at || RANK[a.kind] - RANK[b.kind] || outcome(a) - outcome(b));
    yield window;
  }
}

function outcome(step: Step): number {
  return step.kind === 'event' && step.event.type !== 'impression' ? 1 : 0;
}

class Cursor<T> {
  readonly #source: AsyncIterator<readonly T[]>;
  readonly #timeOf: (item: T) => number;
  #batch: readonly T[] = [];
  #at = 0;

  constructor(source: AsyncIterable<readonly T[]>, timeOf: (item: T) => number) {
    this.#source = source[Symbol.asyncIterator]();
    this.#timeOf = timeOf;
  }

  /** Time of the next item, Infinity at the end. */
  async time(): Promise<number> {
    while (this.#at >= this.#batch.length) {
      const next = await this.#source.next();
      if (next.done) return Infinity;
      this.#batch = next.value;
      this.#at = 0;
    }
    return this.#timeOf(this.#batch[this.#at]);
  }

  async before(endMs: number): Promise<T[]> {
    const taken: T[] = [];
    while ((await this.time()) < endMs) taken.push(this.#batch[this.#at++]);
    return taken;
  }
}
