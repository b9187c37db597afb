// Computes user embeddings off the request loop: batches dirty users, one computation in flight a user, so that a
// request which follows an engagement reads the vector that the engagement made.
import type { HistoryEntry, StateStore } from './contracts.ts';
import { deadlineIn } from './deadline.ts';
import { hash64 } from './hashing.ts';
import { ENGAGEMENT_CODES, engagementCode } from './vocabulary.ts';

/** Rows of the user tower's history input. */
export const TOWER_HISTORY = 30;
const BATCH = 64;
const STORE_TIMEOUT_MS = 2000;

export interface TowerInput {
  vectors: Float32Array[];
  types: number[];
  ageHours: number[];
}

/** What of a catalogue is needed to look up post vectors. */
export interface VectorLookup {
  readonly dim: number;
  readonly vectors: Float32Array;
  rowOf(keyLo: number, keyHi: number): number;
}

export interface UserEmbedderOptions {
  state: StateStore;
  tower: string;
  lookup: () => VectorLookup;
  /** [N × 64] of N users, computed in a worker. */
  embedUsers: (users: TowerInput[]) => Promise<Float32Array>;
  onComputed?: (users: number) => void;
  /** Makes the vectors of these posts ready for `lookup`; absent where it has them all. */
  load?: (postIds: Iterable<string>) => Promise<void>;
}

/**
 * The tower's inputs from a history, newest first; null when no engagement's post is in the catalogue. The vectors are
 * the catalogue's own memory: to be read before it changes.
 * @param rows each entry's row in `lookup`, where the caller knows them
 */
export function towerInput(
  history: readonly HistoryEntry[],
  lookup: VectorLookup,
  nowMs: number,
  rows?: readonly number[],
): TowerInput | null {
  const input: TowerInput = { vectors: [], types: [], ageHours: [] };
  let positives = 0;
  const hash = { lo: 0, hi: 0 };
  for (const [i, entry] of history.entries()) {
    if (input.vectors.length === TOWER_HISTORY) break;
    const code = engagementCode(entry.type, entry.dwellMs);
    if (code === ENGAGEMENT_CODES.none) continue;
    if (!rows) hash64(entry.postId, hash);
    const row = rows?.[i] ?? lookup.rowOf(hash.lo, hash.hi);
    if (row < 0) continue;
    input.vectors.push(lookup.vectors.subarray(row * lookup.dim, (row + 1) * lookup.dim));
    input.types.push(code);
    input.ageHours.push(Math.max(0, (nowMs - entry.at) / 3_600_000));
    if (code !== ENGAGEMENT_CODES.negative) positives++;
  }
  return positives > 0 ? input : null;
}

export class UserEmbedder {
  readonly #options: UserEmbedderOptions;
  readonly #pending = new Map<string, Promise<Float32Array | null>>();
  #batch: {
    userId: string;
    resolve: (vector: Float32Array | null) => void;
    reject: (error: unknown) => void;
  }[] = [];

  constructor(options: UserEmbedderOptions) {
    this.#options = options;
  }

  /** The computation in flight for a user, if any. */
  pending(userId: string): Promise<Float32Array | null> | undefined {
    return this.#pending.get(userId);
  }

  /**
   * Recomputes and stores one user's vector; null when the history gives none. A call for a user who already waits
   * in the batch joins it; one whose batch has started queues behind it, since its history may be newer.
   */
  refresh(userId: string): Promise<Float32Array | null> {
    if (this.#batch.some((entry) => entry.userId === userId)) return this.#pending.get(userId)!;
    const work = new Promise<Float32Array | null>((resolve, reject) => {
      if (this.#batch.length === 0) setImmediate(() => this.#flush());
      this.#batch.push({ userId, resolve, reject });
    });
    this.#pending.set(userId, work);
    const forget = () => {
      if (this.#pending.get(userId) === work) this.#pending.delete(userId);
    };
    work.then(forget, forget);
    return work;
  }

  /** The vector of a history alone, stored nowhere; null when it gives none. */
  async compute(history: readonly HistoryEntry[]): Promise<Float32Array | null> {
    const { lookup, embedUsers } = this.#options;
    const input = towerInput(history, lookup(), Date.now());
    return input && embedUsers([input]);
  }

  async #flush(): Promise<void> {
    const batch = this.#batch.splice(0, BATCH);
    if (this.#batch.length > 0) setImmediate(() => this.#flush());
    const { state, tower, lookup, embedUsers, load } = this.#options;
    try {
      const deadline = deadlineIn(STORE_TIMEOUT_MS);
      const states = await Promise.all(batch.map(({ userId }) => state.getState(userId, tower, deadline)));
      if (load) await load(states.flatMap((user) => user?.history.map((entry) => entry.postId) ?? []));
      const now = Date.now();
      const catalogue = lookup();
      const inputs = states.map((user) => towerInput(user?.history ?? [], catalogue, now));
      const some = inputs.filter((input) => input !== null);
      const vectors = some.length > 0 ? await embedUsers(some) : new Float32Array(0);
      let at = 0;
      await Promise.all(
        batch.map(async ({ userId, resolve }, i) => {
          if (inputs[i] === null) return resolve(null);
          const vector = vectors.slice(at * catalogue.dim, ++at * catalogue.dim);
          await state.putState(userId, { embedding: { tower, vector } }, deadline);
          resolve(vector);
        }),
      );
      this.#options.onComputed?.(some.length);
    } catch (error) {
      for (const entry of batch) entry.reject(error);
    }
  }
}
