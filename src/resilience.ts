// Deadline, retry budget, bulkhead and breaker around a port: `guarded(store, policy)` has the store's own methods, and
// compose writes one line a dependency. Reads are retried, and writes that may be repeated; nothing else is.
import {
  type BulkheadPolicy,
  BulkheadRejectedError,
  bulkhead,
  ExponentialBackoff,
  fullJitterGenerator,
  handleWhen,
  retry,
} from 'cockatiel';
import { type Deadline, deadlineIn, raceDeadline } from './deadline.ts';
import { FeedrankError } from './errors.ts';
import { Breaker, type BreakerState } from './resilience/breaker.ts';
import { LoopStalls } from './resilience/loop-stalls.ts';
import { RetryBudget } from './resilience/retry-budget.ts';
import { steadyNow } from './steady-clock.ts';

/** Kinds of work that must not take each other's places at a dependency. */
export type Lane = 'feed' | 'ingestion' | 'admin' | 'offline';

export interface MethodRule {
  lane: Lane;
  /** True for reads and for writes that may be repeated. */
  retry: boolean;
}

/** `open`: refused by the breaker; `shed`: its lane was full; `late`: not answered by the deadline. */
export type CallOutcome = 'ok' | 'failed' | 'late' | 'open' | 'shed';

export interface PolicyOptions {
  dependency: string;
  /** By method name; the last argument of each is its deadline. Other methods pass through. */
  methods: Readonly<Record<string, MethodRule>>;
  /** Calls in flight, of each lane; more wait, and beyond LANE_QUEUE are refused. */
  lanes: Readonly<Record<Lane, number>>;
  /**
   * A call that takes longer than this counts against the dependency although it is answered, and so does a probe: it
   * would keep feeds waiting that cannot wait. Absent: only its callers' deadlines say what is late.
   */
  slowMs?: number;
  onCall?: (outcome: CallOutcome) => void;
  onRetry?: () => void;
}

interface Pingable {
  ping(deadline: Deadline): Promise<void>;
}

const LANE_QUEUE = 512;
const RETRIES = 2;
/** A retry must leave the call as much time as it usually takes over loopback or one rack. */
const RETRY_NEEDS_MS = 20;
/** A dependency that was given less has not been seen to hang. */
const FAIR_MS = 20;
/** A timer this late tells of a busy event loop, not of the dependency: its answer may lie unread in the socket. */
const STALLED_MS = 25;

/** A timer may fire a moment before the time that it was set for. */
const PASSED = deadlineIn(0);

export class Policy {
  readonly dependency: string;
  readonly #options: PolicyOptions;
  readonly #lanes: Record<Lane, BulkheadPolicy>;
  readonly #budget = new RetryBudget();
  readonly #excused = new WeakSet<object>();
  readonly #stalls: LoopStalls | undefined;
  #breaker: Breaker | undefined;

  constructor(options: PolicyOptions) {
    const { lanes } = options;
    this.dependency = options.dependency;
    this.#options = options;
    if (options.slowMs !== undefined) this.#stalls = new LoopStalls();
    this.#lanes = {
      feed: bulkhead(lanes.feed, LANE_QUEUE),
      ingestion: bulkhead(lanes.ingestion, LANE_QUEUE),
      admin: bulkhead(lanes.admin, LANE_QUEUE),
      offline: bulkhead(lanes.offline, LANE_QUEUE),
    };
  }

  get state(): BreakerState {
    return this.#breaker?.state ?? 'closed';
  }

  /** Why the breaker is not closed, for /health/ready; null while it is. */
  get trouble(): string | null {
    if (this.state === 'closed') return null;
    return `${this.dependency} is not asked: ${this.#breaker?.reason ?? ''}`;
  }

  ruleOf(method: string): MethodRule | undefined {
    return this.#options.methods[method];
  }

  /** The dependency's own check, by which the breaker closes again. */
  probeBy(probe: (deadline: Deadline) => Promise<void>): void {
    this.#breaker?.close();
    const { dependency } = this;
    const probeMs = this.#options.slowMs;
    this.#breaker = new Breaker({ dependency, probe, probeMs, isOutage: (error) => this.#isOutage(error) });
  }

  /** @throws FeedrankError `timeout` at the deadline, `unavailable`, `overloaded`, or what `work` throws. */
  async call<T>(rule: MethodRule, deadline: Deadline, work: () => Promise<T>): Promise<T> {
    // A call that the breaker refuses reaches nobody and earns no retry.
    if (this.state === 'closed') this.#budget.call();
    let tries = 0;
    const again = (error: unknown) =>
      rule.retry &&
      tries++ < RETRIES &&
      isTransient(error) &&
      this.state === 'closed' &&
      deadline.remainingMs() > RETRY_NEEDS_MS &&
      this.#budget.take();
    const policy = retry(handleWhen(again), { maxAttempts: RETRIES, backoff: BACKOFF });
    return policy.execute(({ attempt }) => {
      if (attempt > 0 && this.state === 'closed') this.#options.onRetry?.();
      return this.#attempt(rule.lane, deadline, work);
    });
  }

  close(): void {
    this.#breaker?.close();
    this.#stalls?.close();
  }

  async #attempt<T>(lane: Lane, deadline: Deadline, work: () => Promise<T>): Promise<T> {
    const { onCall } = this.#options;
    const refused = this.state !== 'closed';
    try {
      const value = await (refused ? this.#guard(lane, deadline, work) : this.#inLane(lane, deadline, work));
      onCall?.('ok');
      return value;
    } catch (error) {
      const full = error instanceof BulkheadRejectedError;
      onCall?.(refused ? 'open' : full ? 'shed' : isLate(error) ? 'late' : 'failed');
      if (!full) throw error;
      const { dependency } = this;
      throw new FeedrankError('overloaded', `${dependency}: too much ${lane} work`, { retryAfterSeconds: 1 });
    }
  }

  async #inLane<T>(name: Lane, deadline: Deadline, work: () => Promise<T>): Promise<T> {
    const lane = this.#lanes[name];
    const waits = lane.executionSlots === 0;
    let isLate = false;
    const run = lane.execute(() => this.#guard(name, isLate ? PASSED : deadline, work));
    if (!waits) return run;
    // What waits past its deadline is answered for here, and finds no time left when its turn comes.
    run.catch(() => {});
    return raceDeadline(run, deadline, this.dependency).finally(() => {
      isLate = true;
    });
  }

  #guard<T>(lane: Lane, deadline: Deadline, work: () => Promise<T>): Promise<T> {
    const givenMs = deadline.remainingMs();
    if (givenMs <= 0) {
      return Promise.reject(new FeedrankError('timeout', `${this.dependency}: no time left`));
    }
    if (!this.#breaker) return raceDeadline(work(), deadline, this.dependency);
    const run = this.#breaker.run(async () => {
      const startedAtMs = performance.now();
      const pending = work();
      // It may fail after the deadline has answered for it.
      pending.catch(() => {});
      try {
        const value = await raceDeadline(pending, deadline, this.dependency);
        if (!this.#isSlow(lane, startedAtMs)) return value;
        throw new SlowAnswer(value);
      } catch (error) {
        if (isLate(error) && (givenMs < FAIR_MS || lateBy(deadline) > STALLED_MS)) {
          this.#excused.add(error as object);
        }
        throw error;
      }
    });
    return run.catch((error) => {
      if (error instanceof SlowAnswer) return error.value as T;
      throw error;
    });
  }

  /** Bulk writes may take long. */
  #isSlow(lane: Lane, startedAtMs: number): boolean {
    const { slowMs } = this.#options;
    if (slowMs === undefined || lane === 'offline') return false;
    return performance.now() - startedAtMs > slowMs && !this.#stalls?.since(startedAtMs);
  }

  #isOutage(error: unknown): boolean {
    if (error instanceof SlowAnswer) return true;
    return (isTransient(error) || isLate(error)) && !this.#excused.has(error as object);
  }
}

/** Carries an answer past the breaker, to which it counts as a failure. */
class SlowAnswer extends Error {
  readonly value: unknown;

  constructor(value: unknown) {
    super('answers too slowly');
    this.value = value;
  }
}

const BACKOFF = new ExponentialBackoff({ generator: fullJitterGenerator, initialDelay: 10, maxDelay: 100 });

/**
 * The port with its policy around each method that the policy names; the rest of it (kind, close, scans) passes
 * through. The port's `ping` is the breaker's probe.
 */
export function guarded<T extends Pingable & object>(port: T, policy: Policy): T {
  policy.probeBy((deadline) => port.ping(deadline));
  const wrapped = new Map<PropertyKey, unknown>();
  return new Proxy(port, {
    get(target, key) {
      const known = wrapped.get(key);
      if (known) return known;
      const value = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      const method = value.bind(target) as (...args: unknown[]) => Promise<unknown>;
      const rule = typeof key === 'string' ? policy.ruleOf(key) : undefined;
      const guard = rule
        ? (...args: unknown[]) => policy.call(rule, args.at(-1) as Deadline, () => method(...args))
        : method;
      wrapped.set(key, guard);
      return guard;
    },
  });
}

/** A call that ended before the dependency could answer, or with its word that it cannot now. */
function isTransient(error: unknown): boolean {
  return error instanceof FeedrankError && error.code === 'unavailable';
}

function isLate(error: unknown): boolean {
  return error instanceof FeedrankError && error.code === 'timeout';
}

function lateBy(deadline: Deadline): number {
  return steadyNow() - deadline.atMs;
}
