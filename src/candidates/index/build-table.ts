// The build's table while it grows: posts are embedded several batches at a time, appended in order, and handed to
// the graph builder as they come; then events and edges are folded in.
import type { Edge, EngagementEvent, Post } from '../../contracts.ts';
import { FeedrankError, invalid, messageOf } from '../../errors.ts';
import { DIM } from '../../vocabulary.ts';
import type { BuildProgress } from './build.ts';
import { GraphTask } from './graph-task.ts';
import type { GraphOptions } from './hnsw-index.ts';
import { KEY_BYTES_PER_POST, newPostOf, PostTable } from './post-table.ts';
import { enlarge } from './table-bytes.ts';
import { largestCapacity } from './table-layout.ts';

/** Reserved at first; doubles. Reserved memory costs nothing until it is written. */
const FIRST_CAPACITY = 1 << 19;

/**
 * Breadth of insertion where none is given. Up to LARGE_ROWS half of it gives recall@1000 .985 at the least ef for
 * half of the time (generated world, 100k posts: .991 with 200).
 */
const EF_CONSTRUCTION = { small: 100, large: 200 };
const LARGE_ROWS = 250_000;

export interface GraphPlan {
  m: number;
  /** Null = by the number of rows. */
  efConstruction: number | null;
  /** Rows from which a graph is built at all. */
  fromRows: number;
  /** Graphs over equal parts of the rows, built in parallel. */
  shards: number;
}

export class TableBuilder {
  table: PostTable;
  /** What the graph is built with, null while there is none. */
  graphOptions: GraphOptions | null = null;
  /** Posts that were there already: the scan met them twice because they changed meanwhile. */
  skipped = 0;
  readonly #plan: GraphPlan;
  readonly #report: (progress: BuildProgress) => void;
  #graph: GraphTask | null = null;
  #graphStartedAt = 0;
  #lastCreatedAt = Number.NEGATIVE_INFINITY;

  constructor(generation: string, plan: GraphPlan, report: (progress: BuildProgress) => void) {
    this.#plan = plan;
    this.#report = report;
    this.table = PostTable.create({
      generation,
      baseRows: 0,
      capacity: FIRST_CAPACITY,
      keyBytes: FIRST_CAPACITY * KEY_BYTES_PER_POST,
    });
  }

  async addPosts(
    posts: AsyncIterable<Post[]>,
    embed: (posts: readonly Post[]) => Promise<Float32Array>,
    inFlight: number,
  ): Promise<void> {
    const waiting: { batch: Post[]; vectors: Promise<Float32Array> }[] = [];
    const appendFirst = async () => {
      const { batch, vectors } = waiting.shift()!;
      await this.#appendBatch(batch, await vectors);
    };
    for await (const batch of posts) {
      if (batch.length === 0) continue;
      const vectors = embed(batch);
      // Awaited in order, so a later batch may fail first.
      vectors.catch(() => {});
      waiting.push({ batch, vectors });
      if (waiting.length >= inFlight) await appendFirst();
    }
    while (waiting.length > 0) await appendFirst();
    this.#startGraph(true);
    this.#graph?.startRest(this.table);
  }

  /** Returns how many events were counted. */
  async addEvents(
    events: AsyncIterable<EngagementEvent[]>,
    onEvent?: (event: EngagementEvent, row: number) => void,
  ): Promise<number> {
    let counted = 0;
    let read = 0;
    const nowMs = Date.now();
    for await (const batch of events) {
      for (const event of batch) {
        const row = this.table.rowOfId(event.postId);
        if (row < 0) continue;
        onEvent?.(event, row);
        this.table.addEngagement(row, event.type, event.dwellMs ?? 0, event.at, nowMs);
        counted++;
      }
      read += batch.length;
      this.#report({ stage: 'events', done: read, total: null });
    }
    return counted;
  }

  async addEdges(edges: AsyncIterable<Edge[]>): Promise<void> {
    let read = 0;
    for await (const batch of edges) {
      for (const { kind, target } of batch) {
        if (kind === 'follow') this.table.addFollowers(target, 1);
      }
      read += batch.length;
      this.#report({ stage: 'edges', done: read, total: null });
    }
  }

  /** Seconds from the first insertion to the written files, one a shard; null when there is no graph. */
  async finishGraph(paths: readonly string[]): Promise<number | null> {
    if (!this.#graph) return null;
    const total = this.table.rows;
    this.#graph.onProgress = (done) => this.#report({ stage: 'graph', done, total });
    await this.#graph.finish(paths);
    return (performance.now() - this.#graphStartedAt) / 1000;
  }

  /** Lets go of the table's memory. */
  release(): void {
    this.table = PostTable.create({ generation: 'released', baseRows: 0, capacity: 1, keyBytes: 1 });
  }

  async stop(): Promise<void> {
    await this.#graph?.stop();
  }

  async #appendBatch(batch: readonly Post[], vectors: Float32Array): Promise<void> {
    if (vectors.length !== batch.length * DIM) {
      throw invalid('embed', `gave ${vectors.length} numbers for ${batch.length} posts of ${DIM}`);
    }
    for (let i = 0; i < batch.length; i++) {
      const post = batch[i];
      if (post.createdAt < this.#lastCreatedAt)
        throw invalid('posts', `are not in createdAt order at ${post.id}`);
      if (this.table.rows === this.table.capacity) await this.#grow();
      this.#lastCreatedAt = post.createdAt;
      await this.#append(post, vectors.subarray(i * DIM, (i + 1) * DIM));
    }
    this.#startGraph(false);
    this.#report({ stage: 'embed', done: this.table.rows, total: null });
  }

  async #append(post: Post, vector: Float32Array): Promise<void> {
    try {
      this.table.append(newPostOf(post), vector);
    } catch (error) {
      if (!(error instanceof FeedrankError)) throw error;
      if (error.code === 'conflict') {
        this.skipped++;
      } else if (error.code === 'overloaded') {
        // Long ids filled the key bytes before the rows.
        await this.#grow();
        this.table.append(newPostOf(post), vector);
      } else {
        throw new FeedrankError(error.code, `post ${post.id.slice(0, 64)}: ${messageOf(error)}`, {
          cause: error,
        });
      }
    }
  }

  async #grow(): Promise<void> {
    const capacity = largestCapacity(this.table.capacity * 2);
    if (capacity <= this.table.rows) {
      throw new FeedrankError('overloaded', `one generation holds at most ${capacity} posts`);
    }
    this.table = await enlarge(this.table, capacity);
    this.#graph?.moved(this.table);
  }

  /** As soon as it is known with what to build it: at once when that is given, else when there are many rows or no more. */
  #startGraph(allRows: boolean): void {
    const { rows } = this.table;
    const { m, efConstruction, fromRows, shards } = this.#plan;
    if (this.#graph || rows < Math.max(fromRows, shards)) return;
    if (efConstruction === null && !allRows && rows < LARGE_ROWS) return;
    const byRows = rows < LARGE_ROWS ? EF_CONSTRUCTION.small : EF_CONSTRUCTION.large;
    this.graphOptions = { m, efConstruction: efConstruction ?? byRows };
    this.#graph = new GraphTask(this.table, this.graphOptions, shards);
    this.#graphStartedAt = performance.now();
  }
}
