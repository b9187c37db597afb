// Traffic of a scenario: the load test's open-loop generators and answer checker against one address, and the figures
// of any stretch of it. Called by the scenarios.
import { Campaign } from '../load-test/campaign.ts';
import { GeneratorPool, type PhaseOutcome } from '../load-test/generator-pool.ts';
import { KINDS, Tally } from '../load-test/interval.ts';
import { loopbackTarget } from '../load-test/loopback.ts';
import { DEFAULT_LIMITS } from '../load-test/phase-report.ts';
import { preflight } from '../load-test/preflight.ts';
import { type Criterion, equals } from './criterion.ts';
import type { ScenarioContext } from './scenario.ts';

export interface LoadOptions {
  /** Loopback only. */
  base: string;
  users: number;
  /** Share of requests that send an event; default 0. */
  eventShare?: number;
  /** Cores for the generator, as taskset takes them. */
  cores?: string;
  timeoutMs?: number;
  seed?: number;
  /** More of a feed's query. */
  feedQuery?: string;
}

export interface Run {
  /** Unix ms. */
  startAtMs: number;
  outcome: Promise<PhaseOutcome>;
}

/** Unix ms. */
export interface Stretch {
  fromMs: number;
  toMs: number;
}

const POSTS = 50;
/** Far above any deadline: what is not answered by then never will be. */
const TIMEOUT_MS = 10_000;
const PROFILES = 200;
/** Of the knee: the load of the fault table. */
export const LOAD_SHARE = 0.7;
/** In CI: far below the knee of any machine. */
const QUICK_RATE = 6;
const KNEE_P99_MS = 100;
const BLOCKS_UNREAD = /^wrong:.*\(.*user_edges_unavailable.*\)$/;

export class Load {
  readonly #pool: GeneratorPool;
  #runs = 0;

  private constructor(pool: GeneratorPool) {
    this.#pool = pool;
  }

  /** @throws Error when the service is not ready or its first feeds are not right. */
  static async open(options: LoadOptions): Promise<Load> {
    const target = loopbackTarget(options.base);
    const users = { prefix: 'u', count: options.users };
    const before = await preflight(target, { users, posts: POSTS, profiles: PROFILES });
    const pool = await GeneratorPool.start(
      {
        host: target.host,
        port: target.port,
        traffic: {
          authority: target.base.slice('http://'.length),
          eventShare: options.eventShare ?? 0,
          posts: POSTS,
          feedQuery: options.feedQuery,
          users,
          // Uniform: nobody asks so often that the world runs out of posts that were not seen.
          zipfExponent: 0,
          seed: options.seed ?? 1,
          profiles: before.profiles,
          served: before.served,
        },
        limits: { timeoutMs: options.timeoutMs ?? TIMEOUT_MS, maxInFlight: 2000, posts: POSTS },
      },
      { size: 1, cores: options.cores ?? null },
    );
    return new Load(pool);
  }

  get pool(): GeneratorPool {
    return this.#pool;
  }

  /** Poisson arrivals from now on; a load under way is not disturbed by another. */
  run(rate: number, seconds: number): Run {
    const plan = {
      rate,
      durationMs: seconds * 1000,
      arrivals: 'poisson' as const,
      burstSize: 1,
      seed: ++this.#runs,
    };
    return this.#pool.run(plan, () => {});
  }

  /** A short load whose figures nobody reads. */
  async warmUp(rate: number, seconds: number): Promise<void> {
    await this.run(rate, seconds).outcome;
  }

  /** The highest rate that is sustained with a p99 of 100 ms, by short steps. */
  async knee(): Promise<number> {
    const campaign = new Campaign(
      {
        load: { steps: { start: 15, factor: 1.5, max: 2000, list: null, refine: 1 } },
        durationMs: 4000,
        warmUpMs: 3000,
        holds: [],
        holdMs: 0,
        recoveryMs: 0,
        arrivals: 'poisson',
        burstSize: 1,
        seed: 7,
        limits: { ...DEFAULT_LIMITS, p99Ms: KNEE_P99_MS, acceptDegraded: false },
        maxRate: 2000,
      },
      { pool: this.#pool, servicePid: null, observer: { second: () => {}, phaseEnds: () => {} } },
    );
    const { knee } = await campaign.run();
    return knee?.rate ?? 10;
  }

  /** The rate of a scenario: a share of the knee, or a low one in CI. What is cold is warm afterwards. */
  async rate(context: ScenarioContext, share = LOAD_SHARE): Promise<number> {
    if (context.quick) {
      await this.warmUp(QUICK_RATE, 3);
      return QUICK_RATE;
    }
    const knee = await this.knee();
    context.note(`knee ${knee}/s, load ${(knee * share).toFixed(1)}/s`);
    return knee * share;
  }

  close(): void {
    this.#pool.close();
  }
}

/** The whole seconds of an outcome that lie between two times (Unix ms). */
export function between(outcome: PhaseOutcome, fromMs: number, toMs: number): Tally {
  const total = new Tally();
  outcome.seconds.forEach((second, i) => {
    const at = outcome.startedAtMs + i * 1000;
    if (at >= fromMs && at + 1000 <= toMs) addTally(total, second);
  });
  return total;
}

/** The same of several stretches together. */
export function within(outcome: PhaseOutcome, stretches: readonly Stretch[]): Tally {
  const total = new Tally();
  for (const { fromMs, toMs } of stretches) addTally(total, between(outcome, fromMs, toMs));
  return total;
}

function addTally(total: Tally, part: Tally): void {
  for (const kind of KINDS) {
    for (const fate of Object.keys(part.counts[kind]) as (keyof Tally['counts']['feed'])[]) {
      total.counts[kind][fate] += part.counts[kind][fate];
    }
  }
  for (const [cause, count] of Object.entries(part.causes)) {
    total.causes[cause] = (total.causes[cause] ?? 0) + count;
  }
  for (const name of Object.keys(part.histograms) as (keyof Tally['histograms'])[]) {
    total.histograms[name].add(part.histograms[name]);
  }
}

/** Answers with a status of 500 or more. */
export function serverErrors(tally: Tally): number {
  return Object.entries(tally.causes)
    .filter(([cause]) => /^5\d\d/.test(cause))
    .reduce((sum, [, count]) => sum + count, 0);
}

/** Requests without a good answer, of whatever kind, that nobody refused with a Retry-After. */
export function failures(tally: Tally): number {
  return tally.sum('failed', 'timedOut', 'wrong', 'unsent');
}

/** What was not of full quality in the last second that had such an answer, since `sinceMs`. */
export function lastCauses(outcome: PhaseOutcome, sinceMs: number): string {
  const last = outcome.seconds.findLast(
    (second, i) => outcome.startedAtMs + (i + 1) * 1000 > sinceMs && isBad(second),
  );
  return last ? causesOf(last) : 'none';
}

function isBad(second: Tally): boolean {
  return second.sum('degraded', 'refused', 'failed', 'timedOut', 'wrong') > 0;
}

/**
 * Seconds from `sinceMs` until the last second in which an answer was degraded, refused or failed is over; 0 when there
 * was none; null when the outcome ends with such a second.
 */
export function fullQualityAfter(outcome: PhaseOutcome, sinceMs: number): number | null {
  const asked = outcome.seconds.filter((second) => second.sum('offered') > 0);
  const last = asked.findLastIndex(isBad);
  if (last === asked.length - 1 && asked.length > 0) return null;
  return Math.max(0, (outcome.startedAtMs + (last + 1) * 1000 - sinceMs) / 1000);
}

export function causesOf(tally: Tally): string {
  return (
    Object.entries(tally.causes)
      .map(([cause, count]) => `${cause} ${count}`)
      .join(', ') || 'none'
  );
}

/**
 * No answer of 5xx, and none failed, wrong or late; with their causes where there are. An answer that says that the
 * user's blocks and mutes could not be read, and went against them, is counted by itself: a machine that is fast
 * enough reads them.
 */
export function clean(name: string, tally: Tally): Criterion[] {
  const wrong = Object.entries(tally.causes).filter(([cause]) => !cause.startsWith('degraded:'));
  const blind = wrong.filter(([cause]) => BLOCKS_UNREAD.test(cause));
  const causes = wrong.filter((one) => !blind.includes(one)).map(([cause, count]) => `${cause} ${count}`);
  const late = tally.sum('timedOut');
  if (late > 0) causes.push(`not answered ${late}`);
  const blindly = blind.reduce((sum, [, count]) => sum + count, 0);
  const found = failures(tally) - blindly;
  const criteria = [
    equals(`${name}: answers of 5xx`, serverErrors(tally), 0),
    {
      ...equals(`${name}: failed, wrong or late`, found, 0),
      value: `${found} of ${tally.sum('offered')}${causes.length > 0 ? ` (${causes.join(', ')})` : ''}`,
    },
  ];
  if (blindly > 0) {
    criteria.push(
      equals(`${name}: against a block or mute that could not be read`, blindly, 0, { timed: true }),
    );
  }
  return criteria;
}
