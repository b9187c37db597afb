// What a generator reports each second, and how the seconds of several generators become one. Counts and histograms
// only ever add up. Called by phase-run.ts (writes), generator-pool.ts and phase-report.ts (read).
import type { Verdict } from './answer-checker.ts';
import { LatencyHistogram } from './latency-histogram.ts';

/** Fates of the requests of one kind; `offered` is what fell due, and all others but `sent` add up to it. */
export type Fate = Verdict | 'timedOut' | 'unsent' | 'abandoned';
export type Counts = Record<Fate | 'offered' | 'sent', number>;

export const KINDS = ['feed', 'event'] as const;
export type Kind = (typeof KINDS)[number];

/**
 * feed, event: from the intended time to the answer; a timeout counts as the time until then. sinceSend: the feeds
 * from the actual send. refused: both kinds from the intended time. lateness: intended to actual send.
 */
export const HISTOGRAMS = ['feed', 'event', 'sinceSend', 'refused', 'lateness'] as const;
export type HistogramName = (typeof HISTOGRAMS)[number];

export interface Interval {
  counts: Record<Kind, Counts>;
  causes: Record<string, number>;
  /** Encoded; absent = empty. */
  histograms: Partial<Record<HistogramName, string>>;
  inFlight: number;
}

function zeroCounts(): Counts {
  return {
    offered: 0,
    sent: 0,
    good: 0,
    degraded: 0,
    short: 0,
    wrong: 0,
    refused: 0,
    failed: 0,
    timedOut: 0,
    unsent: 0,
    abandoned: 0,
  };
}

/** Adds up; `encode` empties a recorder, a total is kept whole. */
export class Tally {
  counts: Record<Kind, Counts> = { feed: zeroCounts(), event: zeroCounts() };
  causes: Record<string, number> = {};
  inFlight = 0;
  readonly histograms: Record<HistogramName, LatencyHistogram> = {
    feed: new LatencyHistogram(),
    event: new LatencyHistogram(),
    sinceSend: new LatencyHistogram(),
    refused: new LatencyHistogram(),
    lateness: new LatencyHistogram(),
  };

  cause(name: string): void {
    this.causes[name] = (this.causes[name] ?? 0) + 1;
  }

  add(interval: Interval): void {
    for (const kind of KINDS) {
      const total = this.counts[kind];
      for (const [fate, count] of Object.entries(interval.counts[kind])) total[fate as keyof Counts] += count;
    }
    for (const [cause, count] of Object.entries(interval.causes)) {
      this.causes[cause] = (this.causes[cause] ?? 0) + count;
    }
    for (const [name, text] of Object.entries(interval.histograms)) {
      this.histograms[name as HistogramName].add(LatencyHistogram.decode(text));
    }
    this.inFlight += interval.inFlight;
  }

  /** Everything since the last call, which it forgets. */
  encode(inFlight: number): Interval {
    const histograms: Interval['histograms'] = {};
    for (const name of HISTOGRAMS) {
      const histogram = this.histograms[name];
      if (histogram.count === 0) continue;
      histograms[name] = histogram.encode();
      histogram.reset();
    }
    const { counts, causes } = this;
    this.counts = { feed: zeroCounts(), event: zeroCounts() };
    this.causes = {};
    return { counts, causes, histograms, inFlight };
  }

  /** Of both kinds. */
  sum(...fates: (keyof Counts)[]): number {
    return fates.reduce((sum, fate) => sum + this.counts.feed[fate] + this.counts.event[fate], 0);
  }
}
