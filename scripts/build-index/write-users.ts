// Computes every user's vector with the new catalogue and writes the users' online state in bulk: profile, edges,
// history, seen posts, vector. Returns some of the vectors, which no post is: the index is calibrated on them.
import type { PostTable } from '../../src/candidates/index/post-table.ts';
import type { Edge, StateStore, User, UserStatePatch } from '../../src/contracts.ts';
import { deadlineIn } from '../../src/deadline.ts';
import { type TowerInput, towerInput } from '../../src/user-embedder.ts';
import { UNDATED } from '../../src/vocabulary.ts';
import type { UserChanges } from './user-changes.ts';
import type { PostNames, UserHistories } from './user-histories.ts';

export interface WriteUsersInput {
  table: PostTable;
  names: PostNames;
  histories: UserHistories;
  users: AsyncIterable<{ user: User; edges: Edge[] }[]>;
  /** Null = only sample vectors, write nothing. */
  state: StateStore | null;
  /** Changes to users meanwhile; null as `state`. */
  changes: UserChanges | null;
  /** Space of the vectors: `post-tower@1`. */
  tower: string;
  embedUsers: (users: TowerInput[]) => Promise<Float32Array>;
  nowMs: number;
  onProgress: (done: number) => void;
}

const BATCH = 256;
const SAMPLE = 200;
const WRITE_TIMEOUT_MS = 60_000;

type UserPatch = UserStatePatch & { userId: string };

interface Known {
  userId: string;
  user: User;
  edges: Edge[];
}

export async function writeUsers(
  input: WriteUsersInput,
): Promise<{ written: number; sample: Float32Array[] }> {
  const { histories } = input;
  const sample = new Sample(SAMPLE);
  const done = new Set<string>();
  let written = 0;
  const { changes, state } = input;
  let computing: Promise<UserPatch[]> | null = null;
  let storing: Promise<void> = Promise.resolve();
  /** One batch is read while the vectors of the one before are computed and the one before that is stored. */
  const write = async (batch: Known[]) => {
    const next = patchesOf(input, batch);
    // Thrown by whoever waits for it.
    next.catch(() => {});
    const before = computing;
    computing = next;
    if (before) await storeNext(before);
  };
  const storeNext = async (computed: Promise<UserPatch[]>) => {
    const patches = await computed;
    await storing;
    storing = store(patches);
    storing.catch(() => {});
  };
  const store = async (patches: UserPatch[]) => {
    for (const { embedding } of patches) if (embedding) sample.offer(embedding.vector);
    if (state === null) return;
    const alive = patches.filter(({ userId }) => !changes?.erased.has(userId));
    await state.putStates(alive, deadlineIn(WRITE_TIMEOUT_MS));
    written += alive.length;
    await changes?.apply(alive.map(({ userId }) => userId));
    input.onProgress(written);
  };
  await changes?.apply();
  for await (const batch of input.users) {
    for (let at = 0; at < batch.length; at += BATCH) {
      const part = batch.slice(at, at + BATCH);
      for (const { user } of part) done.add(user.id);
      await write(part.map(({ user, edges }) => ({ userId: user.id, user, edges })));
    }
  }
  let rest: Known[] = [];
  for (const userId of histories.ids()) {
    if (done.has(userId)) continue;
    // A stored profile marks the state as complete; without one it would be rebuilt on the first request.
    rest.push({ userId, user: { id: userId, createdAt: UNDATED }, edges: [] });
    if (rest.length === BATCH) {
      await write(rest);
      rest = [];
    }
  }
  if (rest.length > 0) await write(rest);
  if (computing) await storeNext(computing);
  await storing;
  return { written, sample: sample.vectors };
}

async function patchesOf(input: WriteUsersInput, batch: readonly Known[]): Promise<UserPatch[]> {
  const { table, names, histories, tower } = input;
  const found = batch.map(({ userId }) => histories.history(userId, names));
  const inputs = found.map(({ entries, rows }) => towerInput(entries, table, input.nowMs, rows));
  const some = inputs.filter((one) => one !== null);
  const vectors = some.length > 0 ? await input.embedUsers(some) : new Float32Array(0);
  let at = 0;
  return batch.map(({ userId, user, edges }, i) => {
    const patch: UserPatch = { userId, user, edges, history: found[i].entries };
    if (inputs[i] !== null) {
      const vector = vectors.slice(at * table.dim, ++at * table.dim);
      patch.embedding = { tower, vector };
    }
    const groups = histories.seen(userId);
    const postIds = groups.flatMap(({ rows }) => rows.map((row) => names.postId(row)));
    if (postIds.length > 0) {
      patch.seen = { postIds, atMs: groups.flatMap(({ rows, atMs }) => rows.map(() => atMs)) };
    }
    return patch;
  });
}

/** A uniform sample of a stream (reservoir, Vitter 1985), seeded. */
class Sample {
  readonly vectors: Float32Array[] = [];
  readonly #limit: number;
  #offered = 0;
  #state = 0x9e3779b9;

  constructor(limit: number) {
    this.#limit = limit;
  }

  offer(vector: Float32Array): void {
    this.#offered++;
    if (this.vectors.length < this.#limit) {
      this.vectors.push(vector);
      return;
    }
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    const at = Math.floor((this.#state / 2 ** 32) * this.#offered);
    if (at < this.#limit) this.vectors[at] = vector;
  }
}
