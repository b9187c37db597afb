// Dependencies that fail by plan: stores that are down, hang, are slow or lose their answers, and feed workers that
// hang, die or are slow. Everything ends at FAULTS_END_MS.
import type { Rng } from '../../../../scripts/generate/rng.ts';
import { hashKey, hashSet } from '../../../../src/api/hash-pairs.ts';
import type { EngagementEvent, Post, SlatePost, User, UserState } from '../../../../src/contracts.ts';
import { FeedrankError } from '../../../../src/errors.ts';
import { hash64 } from '../../../../src/hashing.ts';
import type { PoolRequest, PoolResponse, PoolWorker } from '../../../../src/pool.ts';

export const FAULTS_END_MS = 3000;
export const POSTS: Post[] = Array.from({ length: 12 }, (_, i) => ({
  id: `p${i}`,
  authorId: `a${i % 3}`,
  createdAt: 1,
}));

export type Mode = 'up' | 'down' | 'hang' | 'slow' | 'flaky' | 'lost_answer';

interface Phase {
  fromMs: number;
  mode: Mode;
}

/** When a store behaves how: up at first, at most three troubles, up again at the end. */
export function plan(rng: Rng, modes: readonly Mode[]): Phase[] {
  const troubles = rng.below(4);
  const phases: Phase[] = [{ fromMs: 0, mode: 'up' }];
  for (let i = 0; i < troubles; i++) phases.push({ fromMs: rng.below(FAULTS_END_MS), mode: rng.pick(modes) });
  phases.sort((a, b) => a.fromMs - b.fromMs);
  return [...phases, { fromMs: FAULTS_END_MS, mode: 'up' }];
}

/** A store's way to answer; `work` takes effect also where its answer is lost. */
export class Faulty {
  readonly #phases: Phase[];
  readonly #startMs: number;
  attempts = 0;

  constructor(phases: Phase[]) {
    this.#phases = phases;
    this.#startMs = Date.now();
  }

  get mode(): Mode {
    const at = Date.now() - this.#startMs;
    return this.#phases.findLast(({ fromMs }) => fromMs <= at)?.mode ?? 'up';
  }

  async answer<T>(work: () => T): Promise<T> {
    this.attempts++;
    const { mode } = this;
    if (mode === 'down' || (mode === 'flaky' && Math.random() < 0.6)) {
      await sleep(1);
      throw new FeedrankError('unavailable', 'down');
    }
    if (mode === 'hang') return new Promise(() => {});
    await sleep(mode === 'slow' ? 150 + Math.random() * 200 : 1 + Math.random() * 3);
    const value = work();
    if (mode === 'lost_answer') throw new FeedrankError('unavailable', 'connection lost after the commit');
    return value;
  }

  async ping(): Promise<void> {
    const before = this.attempts;
    await this.answer(() => {});
    // Probes are not requests.
    this.attempts = before + (this.attempts - before - 1);
  }
}

export class FakeState {
  readonly faults: Faulty;

  constructor(faults: Faulty) {
    this.faults = faults;
  }

  getState(userId: string): Promise<UserState | null> {
    const user: User = { id: userId, createdAt: 1 };
    const state: UserState = {
      version: 1,
      embedding: new Float32Array(64).fill(0.125),
      history: [],
      seen: new Uint32Array(0),
      user,
      edges: [],
    };
    return this.faults.answer(() => state);
  }

  putState(): Promise<void> {
    return this.faults.answer(() => {});
  }

  async putStates(): Promise<void> {}

  async eraseState(): Promise<void> {}

  get(): Promise<Uint8Array | null> {
    return this.faults.answer(() => null);
  }

  set(): Promise<void> {
    return this.faults.answer(() => {});
  }

  ping(): Promise<void> {
    return this.faults.ping();
  }
}

export class FakeSql {
  readonly faults: Faulty;
  readonly committed = new Set<string>();

  constructor(faults: Faulty) {
    this.faults = faults;
  }

  getPosts(ids: readonly string[]): Promise<(Post | null)[]> {
    return this.faults.answer(() => ids.map((id) => POSTS.find((post) => post.id === id) ?? null));
  }

  getUser(id: string): Promise<{ user: User; edges: [] }> {
    return this.faults.answer(() => ({ user: { id, createdAt: 1 }, edges: [] }));
  }

  recentEvents(): Promise<EngagementEvent[]> {
    return this.faults.answer(() => []);
  }

  appendEvents(events: readonly EngagementEvent[]): Promise<boolean[]> {
    return this.faults.answer(() =>
      events.map(({ id }) => {
        const isNew = !this.committed.has(id);
        this.committed.add(id);
        return isNew;
      }),
    );
  }

  ping(): Promise<void> {
    return this.faults.ping();
  }
}

type Listeners = {
  message: (response: PoolResponse) => void;
  error: (error: Error) => void;
  exit: () => void;
};

/** A feed worker that takes a few milliseconds a job; sometimes it hangs, for a while or for good, or dies. */
export class FakeWorker implements PoolWorker {
  readonly threadId = 1;
  readonly #listeners: Partial<Listeners> = {};
  readonly #troubles: (() => 'fine' | 'hang' | 'hang_for_good' | 'die' | 'fail') | undefined;
  #free: Promise<unknown> = Promise.resolve();
  #isDead = false;

  constructor(troubles?: () => 'fine' | 'hang' | 'hang_for_good' | 'die' | 'fail') {
    this.#troubles = troubles;
  }

  on<E extends keyof Listeners>(event: E, listener: Listeners[E]): unknown {
    this.#listeners[event] = listener;
    return this;
  }

  /** One message after the other, as a thread does. */
  postMessage(request: PoolRequest): void {
    this.#free = this.#free.then(() => this.#do(request));
  }

  async #do({ id, kind, payload }: PoolRequest): Promise<void> {
    if (this.#isDead) return;
    if (kind !== 'feed') {
      await sleep(1);
      this.#send({ id, value: null });
      if (kind === 'close') this.#die();
      return;
    }
    const trouble = this.#troubles?.() ?? 'fine';
    if (trouble === 'die') return this.#die();
    if (trouble === 'hang_for_good') return new Promise(() => {});
    if (trouble === 'hang') await sleep(500 + Math.random() * 4000);
    const { exclude, quality } = payload as { exclude: Uint32Array; quality: number };
    await sleep(2 + Math.random() * 10 * quality);
    if (trouble === 'fail') this.#send({ id, code: 'internal', error: 'a defect' });
    else this.#send({ id, value: slateWithout(exclude) });
  }

  #send(response: PoolResponse): void {
    if (!this.#isDead) this.#listeners.message?.(response);
  }

  #die(): void {
    this.#isDead = true;
    this.#listeners.exit?.();
  }
}

function slateWithout(exclude: Uint32Array): SlatePost[] {
  const excluded = hashSet(exclude);
  const left = POSTS.filter(({ id }) => !excluded.has(hashKey(hash64(id))));
  return left.map(({ id }, i) => ({
    postId: id,
    score: 1 - i / 100,
    propensity: 1,
    similarity: 0.5,
    sources: ['nearest'],
    probabilities: null,
  }));
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
