// The service itself, replayed in time: its catalogue, counters, readers' state, feature encoder, sources, ranker and
// pipeline (replay-pipeline.ts), fed by a data set's events as they happened. Only the vectors are not the towers': they are learned click by
// click (replay-item-vectors.ts), since these data sets have no text. Called by the replays.
import { type NewPost, newPostOf, PostTable } from '../../src/candidates/index/post-table.ts';
import type { FeedQuery, HistoryEntry, PackedUser, Post } from '../../src/contracts.ts';
import { FeatureEncoder } from '../../src/features/feature-encoder.ts';
import { compilePlan, FEATURES } from '../../src/features/feature-schema.ts';
import { historyEntry } from '../../src/hydrate.ts';
import { packUser } from '../../src/pack-user.ts';
import { steadyNow } from '../../src/steady-clock.ts';
import { DIM, type EventType, HISTORY_LIMIT } from '../../src/vocabulary.ts';
import { ItemVectors } from './replay-item-vectors.ts';

/** Clicks of a reader that their vector and the next step of the vectors read. */
const VECTOR_HISTORY = 8;
/** Weight of a click in the vector of a reader of whom nothing is known: the direction of what is opened now. */
const COLD_RATE = 0.002;
/** No deadline: the replay's clock is not the machine's. */
const PATIENCE_MS = 3_600_000;
const EMPTY = new Uint32Array(0);
const HISTORY_KINDS: readonly EventType[] = ['click', 'like', 'reply', 'share', 'dwell', 'hide'];

/** Everything but the vectors' single coordinates and what only training knows. */
export const SERVICE_FEATURES = FEATURES.map(({ id }) => id as string).filter(
  (id) => id !== 'hadamard@1' && id !== 'context_position@1',
);

export interface ReplayEvent {
  user: number;
  /** Number of the post, as in the list of posts. */
  post: number;
  type: EventType;
  at: number;
  dwellMs?: number;
}

interface Reader {
  history: HistoryEntry[];
  clicks: number[];
  packed: PackedUser | null;
}

export class ReplayedService {
  readonly table: PostTable;
  readonly encoder = new FeatureEncoder(compilePlan(SERVICE_FEATURES));
  readonly #posts: readonly Post[];
  readonly #entries: readonly NewPost[];
  readonly #vectors: ItemVectors;
  readonly #rows: Int32Array;
  readonly #readers = new Map<number, Reader>();
  readonly #cold = new Float32Array(DIM);
  readonly #scratch = new Float32Array(DIM);

  /** `posts` by number; they enter the catalogue by `add`. */
  constructor(posts: readonly Post[], seed: number) {
    this.#posts = posts;
    this.#entries = posts.map(newPostOf);
    this.#vectors = new ItemVectors(posts.length, DIM, seed);
    this.#rows = new Int32Array(posts.length).fill(-1);
    const keyBytes = posts.reduce((sum, { id }) => sum + Buffer.byteLength(id), 0);
    // Posts arrive while it is replayed: all are of the live tier, whose search is the exact scan.
    const capacity = Math.max(1, posts.length);
    this.table = PostTable.create({ generation: 'replay', baseRows: 0, capacity, keyBytes: keyBytes + 64 });
    this.#cold[0] = 1;
  }

  /** Posts become known; again for one that is changes nothing. */
  add(post: number): number {
    if (this.#rows[post] < 0) {
      this.#vectors.itemVector(post, this.#scratch);
      this.#rows[post] = this.table.append(this.#entries[post], this.#scratch);
    }
    return this.#rows[post];
  }

  /** Row of a post, −1 while it is not known. */
  rowOf(post: number): number {
    return this.#rows[post];
  }

  /** Counters, the reader's state, and one step of the vectors for a click. */
  apply(event: ReplayEvent): void {
    const { user, post, type, at, dwellMs = 0 } = event;
    const row = this.add(post);
    this.table.addEngagement(row, type, dwellMs, at, at);
    if (type === 'impression') return;
    const reader = this.#reader(user);
    const { id, authorId, topic } = this.#posts[post];
    const full = { id: '', userId: '', postId: id, type, at, dwellMs };
    const entry = historyEntry(full, { authorId, topic });
    if (entry && HISTORY_KINDS.includes(type)) {
      const rest = reader.history.filter((old) => old.postId !== id || old.type !== type);
      reader.history = [entry, ...rest].slice(0, HISTORY_LIMIT);
    }
    reader.packed = null;
    if (type !== 'click') return;
    this.#vectors.learn(reader.clicks, post);
    for (const moved of this.#vectors.moved) {
      if (this.#rows[moved] < 0) continue;
      this.#vectors.itemVector(moved, this.#scratch);
      this.table.updatePost(this.#rows[moved], this.#entries[moved], this.#scratch);
    }
    reader.clicks.push(post);
    if (reader.clicks.length > VECTOR_HISTORY) reader.clicks.shift();
    this.#vectors.itemVector(post, this.#scratch);
    const norm = Math.hypot(...this.#scratch) || 1;
    for (let d = 0; d < DIM; d++) this.#cold[d] += COLD_RATE * (this.#scratch[d] / norm - this.#cold[d]);
  }

  /** The reader as the pipeline takes them, of the events applied so far. */
  reader(user: number): PackedUser {
    const reader = this.#reader(user);
    if (reader.packed) return reader.packed;
    const { history } = reader;
    const embedding = new Float32Array(DIM);
    this.#vectors.readerVector(reader.clicks, embedding);
    const kind = normalise(embedding) ? 'computed' : 'cold';
    if (kind === 'cold') {
      embedding.set(this.#cold);
      normalise(embedding);
    }
    const state = { version: 0, embedding: null, history, seen: EMPTY, user: null, edges: [] };
    const packed = packUser(`u${user}`, state, embedding, kind);
    // A cold vector moves with every click of anyone.
    if (kind === 'computed') reader.packed = packed;
    return packed;
  }

  /** Features of the rows for the reader at `nowMs` into `out` [rows, encoder.width]. */
  encode(user: number, rows: Uint32Array, nowMs: number, out: Float32Array): void {
    this.encoder.begin(this.reader(user), this.table, { nowMs });
    this.encoder.encode(this.table, rows, 0, rows.length, out);
  }

  query(user: number, nowMs: number, candidates: number, slateSize: number): FeedQuery {
    return {
      requestId: `${user}-${nowMs}`,
      user: this.reader(user),
      nowMs,
      seed: 1,
      candidates,
      slateSize,
      exclude: EMPTY,
      explain: 0,
      explore: false,
      deadlineAtMs: steadyNow() + PATIENCE_MS,
    };
  }

  #reader(user: number): Reader {
    let reader = this.#readers.get(user);
    if (!reader) this.#readers.set(user, (reader = { history: [], clicks: [], packed: null }));
    return reader;
  }
}

/** Unit length in place; false where there is no direction. */
function normalise(vector: Float32Array): boolean {
  const norm = Math.hypot(...vector);
  if (!(norm > 1e-9)) return false;
  for (let d = 0; d < vector.length; d++) vector[d] /= norm;
  return true;
}

/** Things that happened, earliest first. */
export interface EventStream {
  length: number;
  at(i: number): number;
  apply(i: number): void;
}

/** Several streams as one, in the order of time; at the same time an earlier stream comes first. */
export class EventStreams {
  readonly #streams: readonly EventStream[];
  readonly #next: number[];

  constructor(streams: readonly EventStream[]) {
    this.#streams = streams;
    this.#next = streams.map(() => 0);
  }

  /** Applies everything of a time before `nowMs`, and nothing of that time itself. */
  advance(nowMs: number): void {
    for (;;) {
      let earliest = -1;
      let at = nowMs;
      this.#streams.forEach((stream, s) => {
        const i = this.#next[s];
        if (i < stream.length && stream.at(i) < at) {
          at = stream.at(i);
          earliest = s;
        }
      });
      if (earliest < 0) return;
      this.#streams[earliest].apply(this.#next[earliest]++);
    }
  }
}

/** Features of rows as columns, for the trainer. */
export class FeatureColumns {
  readonly names: string[];
  readonly columns: Float32Array[];
  readonly #width: number;

  constructor(width: number, rows: number) {
    this.#width = width;
    this.names = FEATURES.filter(({ id }) => SERVICE_FEATURES.includes(id)).flatMap(({ id, width: own }) =>
      Array.from({ length: own }, (_, i) => `service_${id}_${i}`),
    );
    this.columns = Array.from({ length: width }, () => new Float32Array(rows));
  }

  /** Writes encoded rows [count, width] at row `first`. */
  set(first: number, encoded: Float32Array, count: number): void {
    for (let c = 0; c < this.#width; c++) {
      for (let i = 0; i < count; i++) this.columns[c][first + i] = encoded[i * this.#width + c];
    }
  }
}
