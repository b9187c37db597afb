// A circuit breaker that no request ever waits for: while it is not closed every call is refused at once, and a probe
// of its own, at jittered times, finds out whether the dependency is back. Built by resilience.ts, one a dependency.
import {
  CircuitState,
  ConsecutiveBreaker,
  CountBreaker,
  circuitBreaker,
  handleWhen,
  type IBreaker,
} from 'cockatiel';
import { deadlineIn, raceDeadline } from '../deadline.ts';
import { FeedrankError } from '../errors.ts';

export type BreakerState = 'closed' | 'open' | 'half_open';

export interface BreakerOptions {
  dependency: string;
  /** Resolves when the dependency answers. */
  probe: (deadline: ReturnType<typeof deadlineIn>) => Promise<void>;
  /** How soon an answer to the probe must come; default 500 ms. */
  probeMs?: number;
  /** Whether an error says that the dependency is down or hangs; others leave the count as it is. */
  isOutage: (error: unknown) => boolean;
}

/** Failures in a row: at 70 requests a second a dead dependency is left alone after .1 s, a hung one after .2 s. */
const DEAD_AFTER = 5;
/** Half of the newest calls: a dependency that fails now and then. */
const FAILING = { threshold: 0.5, size: 40, minimumNumberOfCalls: 20 };
const PROBE_MS = 500;
const FIRST_PROBE_MS = 250;
/** With the store's own reconnects (.5 s at most) a dependency is in use again some two seconds after its return. */
const LAST_PROBE_MS = 1000;
/** One that broke again so soon after a good probe answers probes, but not its work: it is not probed as if all were new. */
const STEADY_MS = 5000;

export class Breaker {
  readonly #options: BreakerOptions;
  readonly #circuit: ReturnType<typeof circuitBreaker>;
  #timer: NodeJS.Timeout | undefined;
  #probes = 0;
  /** On performance.now()'s clock. */
  #closedAtMs = Number.NEGATIVE_INFINITY;
  #closed = false;
  #reason = '';

  constructor(options: BreakerOptions) {
    this.#options = options;
    this.#circuit = circuitBreaker(handleWhen(options.isOutage), {
      // The timer below says when to probe: cockatiel would ask the wall clock, which may be set back by an hour.
      halfOpenAfter: Number.NEGATIVE_INFINITY,
      breaker: new EitherBreaker(new ConsecutiveBreaker(DEAD_AFTER), new CountBreaker(FAILING)),
    });
    this.#circuit.onBreak((reason) => {
      this.#reason = 'error' in reason ? reason.error.message : '';
      if (performance.now() - this.#closedAtMs > STEADY_MS) this.#probes = 0;
      this.#closedAtMs = Number.POSITIVE_INFINITY;
      this.#probeLater();
    });
    this.#circuit.onReset(() => {
      this.#closedAtMs = performance.now();
      this.#reason = '';
    });
  }

  get state(): BreakerState {
    if (this.#circuit.state === CircuitState.Closed) return 'closed';
    return this.#circuit.state === CircuitState.HalfOpen ? 'half_open' : 'open';
  }

  /** What opened it; empty while it is closed. */
  get reason(): string {
    return this.#reason;
  }

  /** @throws FeedrankError `unavailable` at once while it is not closed; whatever `work` throws. */
  run<T>(work: () => Promise<T>): Promise<T> {
    if (this.state !== 'closed') {
      const { dependency } = this.#options;
      return Promise.reject(
        new FeedrankError('unavailable', `${dependency}: not asked, it did not answer before`, {
          retryAfterSeconds: 1,
        }),
      );
    }
    return this.#circuit.execute(work);
  }

  /** Ends the probing. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  /** Exponential, with equal jitter, so that replicas do not come back in step and none comes back at once. */
  #probeLater(): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    const ceiling = Math.min(LAST_PROBE_MS, FIRST_PROBE_MS * 2 ** this.#probes++);
    this.#timer = setTimeout(() => this.#probe(), (ceiling * (1 + Math.random())) / 2);
    this.#timer.unref();
  }

  #probe(): void {
    const { probe, dependency, probeMs = PROBE_MS } = this.#options;
    const deadline = deadlineIn(probeMs);
    // A failure opens the circuit anew, and that sets the next timer.
    this.#circuit.execute(() => raceDeadline(probe(deadline), deadline, dependency)).catch(() => {});
  }
}

/** Opens when one of the two does. */
class EitherBreaker implements IBreaker {
  readonly #one: IBreaker;
  readonly #other: IBreaker;

  constructor(one: IBreaker, other: IBreaker) {
    this.#one = one;
    this.#other = other;
  }

  get state(): unknown {
    return [this.#one.state, this.#other.state];
  }

  set state(value: unknown) {
    [this.#one.state, this.#other.state] = value as [unknown, unknown];
  }

  success(state: CircuitState): void {
    // Neither forgets by itself what came before a probe that succeeded.
    this.#one.success(state);
    this.#other.success(state);
  }

  failure(state: CircuitState): boolean {
    const one = this.#one.failure(state);
    return this.#other.failure(state) || one;
  }
}
