// Replays a world's events in time order through the serving structures (PostTable, packUser, FeatureEncoder) and
// writes one row an impression: features as of the impression, labels from what followed. No row sees its future.

import { newPostOf, PostTable } from '../../src/candidates/index/post-table.ts';
import type { Edge, EngagementEvent, PackedUser, Post, User } from '../../src/contracts.ts';
import { FeedrankError } from '../../src/errors.ts';
import { FeatureEncoder } from '../../src/features/feature-encoder.ts';
import { compilePlan, type FeatureId } from '../../src/features/feature-schema.ts';
import { hash32, hash64 } from '../../src/hashing.ts';
import { towerPost } from '../../src/post-text.ts';
import { type TowerInput, towerInput } from '../../src/user-embedder.ts';
import { ENGAGEMENT_CODES, engagementCode, LONG_DWELL_MS } from '../../src/vocabulary.ts';
import { type Extent, measure } from './training-set-extent.ts';
import { mergeTimeline } from './training-set-timeline.ts';
import { ReplayedUsers, type UserRecord } from './training-set-users.ts';
import { PAGE_HISTORY, type TrainingSetMeta, TrainingSetWriter } from './training-set-writer.ts';

const HOUR_MS = 3_600_000;
/** An engagement belongs to an impression of the same post that came at most this long before it. */
export const LABEL_WINDOW_MS = 24 * HOUR_MS;
/** Impressions of the last hour are left out: what follows them is not known yet; most of it follows within minutes. */
const CENSORED_MS = HOUR_MS;
const MAX_ID_BYTES = 64;

export interface TrainingSource {
  /** In (createdAt, id) order. */
  posts(): AsyncIterable<readonly Post[]>;
  users(): AsyncIterable<readonly { user: User; edges: readonly Edge[] }[]>;
  /** In time order. */
  events(): AsyncIterable<readonly EngagementEvent[]>;
}

/** The towers, in workers or in process. Vectors are unit, `[N, 64]`. */
export interface TrainingTowers {
  postTower: string;
  userTower: string;
  embedPosts(
    posts: readonly { id: string; authorId: string; topic?: string; text: string }[],
  ): Promise<Float32Array>;
  embedUsers(users: readonly TowerInput[]): Promise<Float32Array>;
  /** Vector of a user without history. */
  coldStart(user: User | null): Promise<Float32Array>;
}

export interface TrainingSetOptions {
  source: TrainingSource;
  towers: TrainingTowers;
  outDir: string;
  features: readonly FeatureId[];
  seed: number;
  /** Impressions before this time move counters and histories only. Default: a tenth into the events. */
  warmUpShare?: number;
  /** No rows before this time either: the towers have learned from the events before it. */
  fromMs?: number;
  /** Share of users whose impressions become rows, by hash; all events are replayed either way. Default 1. */
  userShare?: number;
  maxRows?: number;
  /** Called for each row, in order, with the impression that it was made from. */
  onRow?: (impression: EngagementEvent) => void;
  onProgress?: (what: string, done: number, total: number) => void;
}

/** @throws FeedrankError(invalid_input) when the data gives no row to train on. */
export async function writeTrainingSet(options: TrainingSetOptions): Promise<TrainingSetMeta> {
  const extent = await measure(options.source);
  if (extent.impressions === 0) {
    throw new FeedrankError('invalid_input', 'events: no impressions, a ranker cannot be trained on them');
  }
  const table = PostTable.create({
    generation: 'training',
    baseRows: 0,
    capacity: Math.max(1, extent.posts),
    keyBytes: Math.max(1, extent.posts) * MAX_ID_BYTES,
  });
  const replay = new Replay(options, table, extent);
  return replay.run();
}

class Replay {
  readonly #options: TrainingSetOptions;
  readonly #table: PostTable;
  readonly #extent: Extent;
  readonly #users = new ReplayedUsers();
  readonly #encoder: FeatureEncoder;
  readonly #postOf = new Map<number, { authorId: string; topic?: string }>();
  /** Follows of authors without a post yet; −1 once the table counts them. */
  readonly #followers = new Map<string, number>();
  readonly #vectors = new Map<string, Float32Array>();
  readonly #firstRowMs: number;
  readonly #rowIndex = new Uint32Array(1);
  readonly #pageOf = new WeakMap<PackedUser, number>();
  #writer!: TrainingSetWriter;
  #unknownPosts = 0;

  constructor(options: TrainingSetOptions, table: PostTable, extent: Extent) {
    this.#options = options;
    this.#table = table;
    this.#extent = extent;
    this.#encoder = new FeatureEncoder(compilePlan(options.features));
    const warmMs = extent.fromMs + (extent.toMs - extent.fromMs) * (options.warmUpShare ?? 0.1);
    this.#firstRowMs = Math.max(warmMs, options.fromMs ?? -Infinity);
  }

  async run(): Promise<TrainingSetMeta> {
    const { source, towers, outDir, seed, maxRows = Infinity } = this.#options;
    this.#writer = await TrainingSetWriter.open(outDir, this.#encoder.width);
    const edges: Edge[] = [];
    for await (const batch of source.users()) {
      for (const { user, edges: own } of batch) {
        this.#users.setProfile(user);
        edges.push(...own);
      }
    }
    edges.sort((a, b) => a.createdAt - b.createdAt);
    let events = 0;
    const { toMs, events: total } = this.#extent;
    // Hour by hour: the vectors of the hour's readers are made in one batch from what was known at its start.
    for await (const hour of mergeTimeline(source.posts(), edges, source.events(), HOUR_MS)) {
      await this.#addPosts(hour.posts);
      if (this.#writer.rows < maxRows) await this.#embedReaders(hour.events, hour.startMs);
      for (const step of hour.steps) {
        if (step.kind === 'post') this.#publish(step.post);
        else if (step.kind === 'edge') this.#edge(step.edge);
        else this.#event(step.event, maxRows);
        if (this.#writer.full) await this.#writer.drain();
      }
      events += hour.events.length;
      this.#options.onProgress?.('replay', events, total);
    }
    if (this.#writer.rows === 0) {
      throw new FeedrankError(
        'invalid_input',
        'events: no impression of a known post in the time to learn from',
      );
    }
    const { vectors, rows, dim } = this.#table;
    return this.#writer.close(vectors.subarray(0, rows * dim), {
      features: this.#encoder.plan.features.map(({ id, width, fromHistory }) => ({ id, width, fromHistory })),
      fromMs: this.#firstRowMs,
      toMs,
      seed,
      tower: towers.postTower,
      userTower: towers.userTower,
      posts: this.#extent.posts,
      events: total,
      impressions: this.#extent.impressions,
      unknownPosts: this.#unknownPosts,
    });
  }

  async #addPosts(posts: readonly Post[]): Promise<void> {
    if (posts.length === 0) return;
    const vectors = await this.#options.towers.embedPosts(posts.map(towerPost));
    const { dim } = this.#table;
    posts.forEach(({ id }, i) => {
      this.#vectors.set(id, vectors.slice(i * dim, (i + 1) * dim));
    });
  }

  #publish(post: Post): void {
    const row = this.#table.append(newPostOf(post), this.#vectors.get(post.id)!);
    this.#vectors.delete(post.id);
    this.#postOf.set(row, { authorId: post.authorId, topic: post.topic });
    const followers = this.#followers.get(post.authorId);
    if (followers !== undefined && followers > 0) {
      this.#table.addFollowers(post.authorId, followers);
    }
    this.#followers.set(post.authorId, -1);
  }

  #edge(edge: Edge): void {
    this.#users.addEdge(edge);
    if (edge.kind !== 'follow') return;
    const waiting = this.#followers.get(edge.target) ?? 0;
    if (waiting < 0) this.#table.addFollowers(edge.target, 1);
    else this.#followers.set(edge.target, waiting + 1);
  }

  async #embedReaders(events: readonly EngagementEvent[], startMs: number): Promise<void> {
    const { towers } = this.#options;
    const readers = new Set<UserRecord>();
    for (const { type, userId, at } of events) {
      if (type === 'impression' && at >= this.#firstRowMs && this.#sampled(userId)) {
        readers.add(this.#users.get(userId));
      }
    }
    const due: UserRecord[] = [];
    const inputs: TowerInput[] = [];
    for (const record of readers) {
      if (record.stale) {
        const input = towerInput(record.history, this.#table, startMs);
        record.stale = false;
        record.embedding = null;
        if (input) {
          due.push(record);
          inputs.push(input);
          continue;
        }
      }
      if (record.embedding === null) record.cold ??= await towers.coldStart(record.user);
    }
    if (due.length === 0) return;
    const vectors = await towers.embedUsers(inputs);
    const { dim } = this.#table;
    due.forEach((record, i) => {
      record.embedding = vectors.slice(i * dim, (i + 1) * dim);
    });
  }

  #sampled(userId: string): boolean {
    return hash32(`${this.#options.seed} ${userId}`) / 2 ** 32 < (this.#options.userShare ?? 1);
  }

  #event(event: EngagementEvent, maxRows: number): void {
    const row = this.#table.rowOfId(event.postId);
    if (row < 0) {
      this.#unknownPosts++;
      return;
    }
    const record = this.#users.get(event.userId);
    if (event.type === 'impression') this.#impression(event, row, record, maxRows);
    else this.#outcome(event, record);
    const post = this.#postOf.get(row)!;
    this.#table.addEngagement(row, event.type, event.dwellMs ?? 0, event.at, event.at);
    this.#users.engage(event, post);
  }

  #impression(event: EngagementEvent, row: number, record: UserRecord, maxRows: number): void {
    const { userId, postId, at, position } = event;
    // A post that was shown before is filtered as seen when serving.
    if (record.shown.has(postId)) return;
    const wanted =
      at >= this.#firstRowMs &&
      at <= this.#extent.toMs - CENSORED_MS &&
      this.#writer.rows < maxRows &&
      this.#sampled(userId);
    let written = -1;
    if (wanted) {
      const user = this.#users.packForPage(record, event);
      this.#rowIndex[0] = row;
      this.#encoder.begin(user, this.#table, { nowMs: at, position });
      this.#encoder.encode(this.#table, this.#rowIndex, 0, 1, this.#writer.next());
      written = this.#writer.add(hash64(userId).lo, row, this.#page(user, at), at);
      this.#options.onRow?.(event);
    }
    this.#users.show(record, postId, written, at);
    if (written >= 0 && (event.dwellMs ?? 0) >= LONG_DWELL_MS) this.#longDwell(written);
  }

  /** Number of the page that a packed user was made for; the first time its history is written. */
  #page(user: PackedUser, at: number): number {
    const known = this.#pageOf.get(user);
    if (known !== undefined) return known;
    const { posts, types, hours } = this.#writer.nextPage();
    posts.fill(-1);
    types.fill(0);
    hours.fill(0);
    for (let i = 0; i < Math.min(PAGE_HISTORY, user.historyTypes.length); i++) {
      posts[i] = this.#table.rowOf(user.historyKeys[2 * i], user.historyKeys[2 * i + 1]);
      types[i] = user.historyTypes[i];
      hours[i] = Math.max(0, at - user.historyAtMs[i]) / HOUR_MS;
    }
    const page = this.#writer.addPage();
    this.#pageOf.set(user, page);
    return page;
  }

  /** Labels: `click` is any positive engagement; an un-like takes the like back. */
  #outcome(event: EngagementEvent, record: UserRecord): void {
    const shown = record.shown.get(event.postId);
    if (!shown) {
      this.#users.show(record, event.postId, -1, event.at);
      return;
    }
    if (shown.row < 0 || event.at - shown.at > LABEL_WINDOW_MS) return;
    const dwellMs = event.dwellMs ?? 0;
    const code = engagementCode(event.type, dwellMs);
    if (event.type === 'unlike') this.#writer.label(shown.row, 'like', false);
    else if (code === ENGAGEMENT_CODES.negative) this.#writer.label(shown.row, 'negative', true);
    else {
      if (code !== ENGAGEMENT_CODES.none) this.#writer.label(shown.row, 'click', true);
      if (event.type === 'like' || event.type === 'reply' || event.type === 'share') {
        this.#writer.label(shown.row, event.type, true);
      }
      if (dwellMs >= LONG_DWELL_MS) this.#longDwell(shown.row);
    }
  }

  #longDwell(row: number): void {
    this.#writer.label(row, 'dwell', true);
    this.#writer.label(row, 'click', true);
  }
}
