// The load test's flags, each within its bounds: whatever is asked for ends by itself. Called by scripts/load-test.ts.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Flags, type FlagValues, integerFlag, textFlag, UsageError } from '../import/command.ts';
import type { CampaignOptions } from './campaign.ts';
import { MAX_GENERATORS } from './generator-pool.ts';
import type { StepPlan } from './knee-search.ts';
import { loopbackTarget, type Target } from './loopback.ts';
import { DEFAULT_LIMITS } from './phase-report.ts';
import { type Pinning, pinningOf } from './pinning.ts';
import { ARRIVAL_KINDS, type ArrivalKind } from './schedule.ts';
import type { UserNames } from './traffic.ts';

export const LOAD_TEST_HELP = `
usage: npm run load-test -- (--url URL | --start embedded|servers --data-dir DIR) [flags]

Loads a service on this machine in an open loop: requests go out on schedule whatever the service does, latency
counts from the moment a request was due, every answer is checked. It writes to the service's stores (seen posts,
serving log, events): point it at a copy. Without --rate it searches for the knee, holds 2× and 5× of it, and watches
the recovery.

  --url URL            a running service, loopback only (start it with RATE_LIMIT_PER_MINUTE=0 and
                       USER_RATE_LIMIT_PER_MINUTE=0)
  --start KIND         start the service itself: embedded, or servers (DATABASE_URL and REDIS_URL, or throw-away
                       Postgres and Redis filled from --data-dir)
  --data-dir DIR       the world that --start serves; made by npm run demo -- --once --data-dir DIR
  --pin CORES          auto, or SERVICE:GENERATORS as taskset takes them (0-2:3); the service only with --start
  --service-pid PID    with --url: whose CPU time and memory to report
  --api-key KEY        with --url: sent with every request, scopes feed:read and events:write (default:
                       FEEDRANK_API_KEY, which other users of this machine do not see)

  --rate R             one rate, requests a second (at most 20000)
  --steps LIST         rates to try, rising: 50,100,200; or START:FACTOR:MAX (default 20:1.5:20000)
  --refine N           steps between the last good and the first bad rate (default 2)
  --hold LIST          multiples of the knee to hold, or none (default 2,5)
  --duration S         seconds of each rate, step and hold (default 10, at most 600)
  --warm-up S          seconds before, not judged (default 3)
  --recovery S         seconds at half the knee after each hold (default 5)
  --p99 MS             the knee's limit of feeds' p99 (default 100)
  --accept-degraded    count degraded answers as goodput

  --arrivals KIND      poisson, burst or constant (default poisson)
  --burst N            requests of one burst (default 20)
  --mix SHARES         feed=.9,events=.1 (default feed=1)
  --limit N            posts of a feed (default 50)
  --users N            users, named u0 to u<N-1> (default: the world's, else 1000)
  --user-prefix P      another name than u
  --user-ids FILE      ids, one a line, in place of --users
  --zipf S             exponent of the users' popularity, 0 = uniform (default 1)
  --profiles N         most asked-for users whose blocks and mutes are checked (default 200)
  --seed S             (default 1)
  --workers N          generator processes (default 1)
  --timeout MS         until a request is given up (default 2000)
  --max-in-flight N    more are not sent, and counted as unsent (default 2000)
  --json FILE          every figure
  --html FILE          the report with plots
  --help

Ends with 1 when the run is void (the generators were later than ${DEFAULT_LIMITS.latenessMs} ms at p99) or interrupted; the report says why.
Ctrl-C stops the load and still writes the report.
`;

export const LOAD_TEST_FLAGS: Flags = {
  url: { type: 'string' },
  start: { type: 'string' },
  'data-dir': { type: 'string' },
  pin: { type: 'string' },
  'service-pid': { type: 'string' },
  'api-key': { type: 'string' },
  rate: { type: 'string' },
  steps: { type: 'string' },
  refine: { type: 'string' },
  hold: { type: 'string' },
  duration: { type: 'string' },
  'warm-up': { type: 'string' },
  recovery: { type: 'string' },
  p99: { type: 'string' },
  'accept-degraded': { type: 'boolean' },
  arrivals: { type: 'string' },
  burst: { type: 'string' },
  mix: { type: 'string' },
  limit: { type: 'string' },
  users: { type: 'string' },
  'user-prefix': { type: 'string' },
  'user-ids': { type: 'string' },
  zipf: { type: 'string' },
  profiles: { type: 'string' },
  seed: { type: 'string' },
  workers: { type: 'string' },
  timeout: { type: 'string' },
  'max-in-flight': { type: 'string' },
  html: { type: 'string' },
};

export interface LoadTestOptions {
  service: { target: Target; pid: number | null } | { start: 'embedded' | 'servers'; dataDir: string };
  pinning: Pinning | null;
  campaign: CampaignOptions;
  eventShare: number;
  posts: number;
  users: UserNames;
  zipfExponent: number;
  profiles: number;
  workers: number;
  timeoutMs: number;
  maxInFlight: number;
  /** Sent as a bearer credential; absent: none is. */
  apiKey: string | undefined;
  html: string | undefined;
}

const MAX_RATE = 20_000;
const MAX_SECONDS = 600;
const MAX_STEPS = 40;
const MAX_HOLDS = 5;
/** Requests of one phase: keeps the time that late answers are waited for, and the reports, bounded. */
const MAX_PHASE_REQUESTS = 5_000_000;

/** @throws UsageError naming the flag. */
export function readLoadTestOptions(flags: FlagValues): LoadTestOptions {
  const seconds = (name: string, fallback: number, min: number) =>
    numberFlag(flags, name, fallback, min, MAX_SECONDS) * 1000;
  const pin = textFlag(flags, 'pin');
  const durationMs = seconds('duration', 10, 0.5);
  const campaign: CampaignOptions = {
    load: loadOf(flags),
    durationMs,
    warmUpMs: seconds('warm-up', 3, 0),
    holds: holdsOf(textFlag(flags, 'hold')),
    holdMs: durationMs,
    recoveryMs: seconds('recovery', 5, 0),
    arrivals: arrivalsOf(textFlag(flags, 'arrivals')),
    burstSize: integerFlag(flags, 'burst', 20, 1, 10_000),
    seed: integerFlag(flags, 'seed', 1, 0, 1_000_000),
    limits: {
      ...DEFAULT_LIMITS,
      p99Ms: numberFlag(flags, 'p99', 100, 0.1, 60_000),
      acceptDegraded: flags['accept-degraded'] === true,
    },
    maxRate: Math.min(MAX_RATE, MAX_PHASE_REQUESTS / (durationMs / 1000)),
  };
  const service = serviceOf(flags);
  return {
    service,
    pinning: pin === undefined ? null : pinningOf(pin),
    campaign,
    eventShare: eventShareOf(textFlag(flags, 'mix')),
    posts: integerFlag(flags, 'limit', 50, 1, 100),
    users: usersOf(flags, 'dataDir' in service ? service.dataDir : undefined),
    zipfExponent: numberFlag(flags, 'zipf', 1, 0, 5),
    profiles: integerFlag(flags, 'profiles', 200, 0, 10_000),
    workers: integerFlag(flags, 'workers', 1, 1, MAX_GENERATORS),
    timeoutMs: integerFlag(flags, 'timeout', 2000, 10, 60_000),
    maxInFlight: integerFlag(flags, 'max-in-flight', 2000, 1, 20_000),
    apiKey: apiKeyFlag(flags),
    html: textFlag(flags, 'html'),
  };
}

/** What would end the header that it is put into is refused. */
function apiKeyFlag(flags: FlagValues): string | undefined {
  const key = textFlag(flags, 'api-key') ?? (process.env.FEEDRANK_API_KEY || undefined);
  if (key !== undefined && !/^[\x21-\x7e]{1,4096}$/.test(key))
    throw new UsageError('--api-key must be visible ASCII characters');
  return key;
}

function serviceOf(flags: FlagValues): LoadTestOptions['service'] {
  const url = textFlag(flags, 'url');
  const start = textFlag(flags, 'start');
  const dataDir = textFlag(flags, 'data-dir');
  if ((url === undefined) === (start === undefined)) throw new UsageError('give either --url or --start');
  if (url !== undefined) {
    if (dataDir !== undefined) throw new UsageError('--data-dir goes with --start');
    const pid = integerFlag(flags, 'service-pid', 0, 1, 2 ** 22);
    return { target: loopbackTarget(url), pid: pid === 0 ? null : pid };
  }
  if (start !== 'embedded' && start !== 'servers') {
    throw new UsageError(`--start must be embedded or servers, not "${start}"`);
  }
  if (dataDir === undefined) throw new UsageError('--start needs --data-dir');
  if (flags['service-pid'] !== undefined) throw new UsageError('--service-pid goes with --url');
  return { start, dataDir };
}

function loadOf(flags: FlagValues): CampaignOptions['load'] {
  const steps = textFlag(flags, 'steps');
  if (flags.rate !== undefined) {
    if (steps !== undefined) throw new UsageError('give either --rate or --steps');
    return { rate: numberFlag(flags, 'rate', 0, 0.1, MAX_RATE) };
  }
  const refine = integerFlag(flags, 'refine', 2, 0, 6);
  return { steps: stepsOf(steps ?? '20:1.5:20000', refine) };
}

function stepsOf(text: string, refine: number): StepPlan {
  if (text.includes(':')) {
    const [start, factor, max, ...rest] = text.split(':').map(numberOf);
    const good = start >= 0.1 && factor >= 1.05 && max >= start && max <= MAX_RATE && rest.length === 0;
    if (!good) {
      throw new UsageError(`--steps must be START:FACTOR:MAX with a factor from 1.05, not "${text}"`);
    }
    if (Math.log(max / start) / Math.log(factor) > MAX_STEPS) {
      throw new UsageError(`--steps ${text} makes more than ${MAX_STEPS} steps`);
    }
    return { start, factor, max, list: null, refine };
  }
  const list = text.split(',').map(numberOf);
  const rising = list.every((rate, i) => rate >= 0.1 && rate <= MAX_RATE && (i === 0 || rate > list[i - 1]));
  if (!rising || list.length > MAX_STEPS) {
    throw new UsageError(
      `--steps must be at most ${MAX_STEPS} rising rates up to ${MAX_RATE}, not "${text}"`,
    );
  }
  return { start: list[0], factor: 2, max: list[list.length - 1], list, refine };
}

function holdsOf(text = '2,5'): number[] {
  if (text === 'none') return [];
  const holds = text.split(',').map(numberOf);
  if (holds.length > MAX_HOLDS || holds.some((factor) => !(factor > 0 && factor <= 20))) {
    throw new UsageError(`--hold must be none or at most ${MAX_HOLDS} factors up to 20, not "${text}"`);
  }
  return holds;
}

function arrivalsOf(text = 'poisson'): ArrivalKind {
  const kind = ARRIVAL_KINDS.find((known) => known === text);
  if (kind === undefined)
    throw new UsageError(`--arrivals must be ${ARRIVAL_KINDS.join(', ')}, not "${text}"`);
  return kind;
}

/** Share of events; the shares are taken relative to their sum. */
function eventShareOf(text = 'feed=1'): number {
  const shares: Record<string, number> = {};
  for (const part of text.split(',')) {
    const [name, share] = part.split('=');
    if (!['feed', 'events'].includes(name) || name in shares || !(numberOf(share ?? '') >= 0)) {
      throw new UsageError(
        `--mix must name shares of feed and events, such as feed=.9,events=.1, not "${text}"`,
      );
    }
    shares[name] = numberOf(share);
  }
  const { feed = 0, events = 0 } = shares;
  if (feed <= 0) throw new UsageError('--mix needs a share of feed');
  return events / (feed + events);
}

function usersOf(flags: FlagValues, dataDir: string | undefined): UserNames {
  const file = textFlag(flags, 'user-ids');
  if (file !== undefined) {
    if (flags.users !== undefined) throw new UsageError('give either --users or --user-ids');
    if (!existsSync(file)) throw new UsageError(`--user-ids: there is no file ${file}`);
    const ids = readFileSync(file, 'utf8')
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
    if (ids.length === 0) throw new UsageError(`--user-ids: ${file} has no ids`);
    return { ids };
  }
  const count = integerFlag(flags, 'users', worldUsers(dataDir) ?? 1000, 1, 100_000_000);
  return { prefix: textFlag(flags, 'user-prefix') ?? 'u', count };
}

/** How many users a demo's data folder was made with. */
function worldUsers(dataDir: string | undefined): number | undefined {
  const path = dataDir === undefined ? undefined : join(dataDir, 'world.json');
  if (path === undefined || !existsSync(path)) return undefined;
  const { users } = JSON.parse(readFileSync(path, 'utf8')) as { users?: number };
  return users;
}

function numberFlag(flags: FlagValues, name: string, fallback: number, min: number, max: number): number {
  const text = textFlag(flags, name);
  if (text === undefined) return fallback;
  const value = numberOf(text);
  if (!(value >= min && value <= max)) {
    throw new UsageError(`--${name} must be a number from ${min} to ${max}, not "${text}"`);
  }
  return value;
}

function numberOf(text: string): number {
  return /^(\d+(\.\d*)?|\.\d+)$/.test(text) ? Number(text) : Number.NaN;
}
