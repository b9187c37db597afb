// Reads as users do them behind a load balancer, by the rules of deploy/haproxy.cfg: replicas whose checks fail get
// nothing, and what one of them did not answer is asked of another, once. Called by feed-readers.ts.
import { type Answer, callApi } from './api-client.ts';

/** Times and counts of `backend reads` in deploy/haproxy.cfg. */
const CHECK_EVERY_MS = 500;
const CHECK_MS = 1000;
const FALL = 3;
const RISE = 2;
const SERVER_MS = 2000;
/** What the second replica is given: nobody is asked after it. */
const LAST_MS = 3000;
const REPEATED_STATUSES = [502, 503];

interface Replica {
  base: string;
  inRotation: boolean;
  /** Checks in a row that speak against where it is. */
  against: number;
  inFlight: number;
}

export interface BalancedAnswer {
  /** null when neither replica answered. */
  answer: Answer | null;
  /** Asked of a second replica. */
  repeated: boolean;
  /** From the first request to the last byte. */
  ms: number;
}

export class Balancer {
  readonly #replicas: Replica[];
  #timer: NodeJS.Timeout | undefined;
  #turn = 0;

  constructor(bases: readonly string[]) {
    this.#replicas = bases.map((base) => ({ base, inRotation: true, against: 0, inFlight: 0 }));
  }

  /** Bases that get requests now. */
  get inRotation(): string[] {
    return this.#replicas.filter(({ inRotation }) => inRotation).map(({ base }) => base);
  }

  start(): void {
    this.#timer = setInterval(() => {
      for (const replica of this.#replicas) void this.#check(replica);
    }, CHECK_EVERY_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Never rejects. */
  async get(path: string): Promise<BalancedAnswer> {
    const startedAt = performance.now();
    const first = this.#choose(null);
    const isOnly = this.#replicas.length === 1;
    let answer = await ask(first, path, isOnly ? LAST_MS : SERVER_MS);
    const repeated = !isOnly && (answer === null || REPEATED_STATUSES.includes(answer.status));
    if (repeated) answer = await ask(this.#choose(first), path, LAST_MS);
    return { answer, repeated, ms: performance.now() - startedAt };
  }

  /** The one with the fewest requests under way, in turn among equals; any where all are out. */
  #choose(not: Replica | null): Replica {
    const others = this.#replicas.filter((replica) => replica !== not);
    const up = others.filter(({ inRotation }) => inRotation);
    const candidates = up.length > 0 ? up : others;
    const fewest = Math.min(...candidates.map(({ inFlight }) => inFlight));
    const equals = candidates.filter(({ inFlight }) => inFlight === fewest);
    return equals[this.#turn++ % equals.length];
  }

  async #check(replica: Replica): Promise<void> {
    const answer = await callApi(replica.base, 'GET', '/health/ready', undefined, CHECK_MS).catch(() => null);
    const agrees = (answer?.status === 200) === replica.inRotation;
    replica.against = agrees ? 0 : replica.against + 1;
    if (replica.against < (replica.inRotation ? FALL : RISE)) return;
    replica.inRotation = !replica.inRotation;
    replica.against = 0;
  }
}

async function ask(replica: Replica, path: string, timeoutMs: number): Promise<Answer | null> {
  replica.inFlight++;
  try {
    return await callApi(replica.base, 'GET', path, undefined, timeoutMs);
  } catch {
    return null;
  } finally {
    replica.inFlight--;
  }
}
