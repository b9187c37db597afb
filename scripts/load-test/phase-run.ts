// One generator's part of a phase: sends what is due when it is due, whatever the server does, and judges and times
// every answer from the moment it was meant to be sent (no coordinated omission; Tene, 2013). Called by generator.ts.
import { Rng } from '../generate/rng.ts';
import { type Judgement, judgeEvent, judgeFeed } from './answer-checker.ts';
import type { HttpClient } from './http-client.ts';
import { type Fate, type Interval, Tally } from './interval.ts';
import { type ScheduleOptions, schedule } from './schedule.ts';
import type { Traffic, TrafficRequest } from './traffic.ts';

export interface PhaseSpec extends ScheduleOptions {
  /** Unix ms, fractional: all generators start together. */
  startAtMs: number;
  seed: number;
}

export interface PhaseLimits {
  /** A request without an answer is given up this long after it was sent. */
  timeoutMs: number;
  /** More requests are not sent, and counted. */
  maxInFlight: number;
  /** Posts asked for in a feed. */
  posts: number;
}

export interface PhaseParts {
  traffic: Traffic;
  client: HttpClient;
  limits: PhaseLimits;
  /** `second` counts from the start of the phase; the last may come more than a second after it. */
  report(second: number, interval: Interval): void;
}

const SECOND_MS = 1000;

export class PhaseRun {
  readonly #parts: PhaseParts;
  readonly #nextDue: () => number;
  /** On performance.now()'s clock. */
  readonly #startedAt: number;
  readonly #tally = new Tally();
  readonly #cancels = new Set<() => void>();
  readonly #finished = Promise.withResolvers<void>();
  #dueAt: number;
  #second = 0;
  #stopped = false;
  #ended = false;
  #timer: NodeJS.Timeout | undefined;
  #ticker: NodeJS.Timeout | undefined;

  constructor(spec: PhaseSpec, parts: PhaseParts) {
    this.#parts = parts;
    this.#nextDue = schedule(spec, new Rng(spec.seed, 'arrivals'));
    this.#startedAt = spec.startAtMs - performance.timeOrigin;
    this.#dueAt = this.#startedAt + this.#nextDue();
  }

  /** Resolves when the schedule is over and every request has its fate. */
  run(): Promise<void> {
    const first = this.#startedAt + SECOND_MS - performance.now();
    this.#ticker = setTimeout(() => this.#tick(), Math.max(0, first));
    this.#sendDue();
    return this.#finished.promise;
  }

  /** Sends no more; what is under way counts as abandoned. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const cancel of [...this.#cancels]) cancel();
    this.#finish();
  }

  #sendDue(): void {
    while (!this.#stopped && this.#dueAt <= performance.now()) {
      this.#send(this.#dueAt);
      this.#dueAt = this.#startedAt + this.#nextDue();
    }
    if (this.#stopped) return;
    if (this.#dueAt === Number.POSITIVE_INFINITY) this.#finishIfIdle();
    else this.#timer = setTimeout(() => this.#sendDue(), this.#dueAt - performance.now());
  }

  #send(intended: number): void {
    const { traffic, client, limits } = this.#parts;
    const request = traffic.next();
    const counts = this.#tally.counts[request.kind];
    counts.offered++;
    if (this.#cancels.size >= limits.maxInFlight) {
      counts.unsent++;
      return;
    }
    counts.sent++;
    const sent = performance.now();
    this.#tally.histograms.lateness.record(sent - intended);
    const settle = (fate: Fate, now: number) => {
      clearTimeout(timeout);
      this.#cancels.delete(cancel);
      this.#tally.counts[request.kind][fate]++;
      if (fate !== 'abandoned') this.#time(request, fate, now - intended, now - sent);
      if (this.#dueAt === Number.POSITIVE_INFINITY) this.#finishIfIdle();
    };
    const drop = client.send(request.text, {
      answered: (answer) => {
        const now = performance.now();
        const judgement =
          request.kind === 'feed'
            ? judgeFeed(answer, { ...request, posts: limits.posts })
            : judgeEvent(answer);
        this.#note(judgement);
        settle(judgement.verdict, now);
      },
      failed: (reason) => {
        this.#tally.cause(reason);
        settle('failed', performance.now());
      },
    });
    const cancel = () => {
      drop();
      settle('abandoned', performance.now());
    };
    const timeout = setTimeout(() => {
      drop();
      settle('timedOut', performance.now());
    }, limits.timeoutMs);
    this.#cancels.add(cancel);
  }

  #note({ causes, served }: Judgement): void {
    for (const cause of causes) this.#tally.cause(cause);
    if (served) this.#parts.traffic.remember(served);
  }

  #time({ kind }: TrafficRequest, fate: Fate, sinceIntendedMs: number, sinceSendMs: number): void {
    const { histograms } = this.#tally;
    if (fate === 'refused') histograms.refused.record(sinceIntendedMs);
    if (fate === 'refused' || fate === 'failed') return;
    histograms[kind].record(sinceIntendedMs);
    if (kind === 'feed') histograms.sinceSend.record(sinceSendMs);
  }

  #tick(): void {
    this.#parts.report(this.#second++, this.#tally.encode(this.#cancels.size));
    const due = this.#startedAt + (this.#second + 1) * SECOND_MS;
    this.#ticker = setTimeout(() => this.#tick(), Math.max(0, due - performance.now()));
  }

  #finishIfIdle(): void {
    if (this.#cancels.size === 0) this.#finish();
  }

  #finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#ticker);
    this.#parts.report(this.#second, this.#tally.encode(0));
    this.#finished.resolve();
  }
}
