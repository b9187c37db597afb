// One replay: clicks sent when they are due, feeds read at a rate, freshness probed, memory watched, with a line of
// progress. Called by the replay command and by the soak.
import { ClickSender, type ClickSenderOptions, type SenderTally } from './click-sender.ts';
import { FeedReaders, type ReadersReport } from './feed-readers.ts';
import { FreshnessProbe, type FreshnessReport } from './freshness-probe.ts';
import { type MemoryReport, MemoryTrend } from './memory-trend.ts';

export interface ReplayOptions extends ClickSenderOptions {
  durationMs: number;
  feedsPerSecond: number;
  /** By name of the process; empty where the service is somebody else's. */
  pids: Record<string, () => number>;
  /** As in FreshnessProbeOptions. */
  disturbed?: () => boolean;
  /** Runs beside the replay, and may end before or after it. */
  beside?: (replay: { seconds(): number }) => Promise<void>;
  onProgress?: (line: string) => void;
}

export interface ReplayResult {
  seconds: number;
  sent: SenderTally;
  /** Events a second that were accepted. */
  eventsPerSecond: number;
  /** Posts written by the probe besides. */
  probes: number;
  longestLagMs: number;
  feeds: ReadersReport;
  freshness: FreshnessReport;
  memory: MemoryReport[];
}

const PROGRESS_MS = 5000;

export async function runReplay(options: ReplayOptions): Promise<ReplayResult> {
  const { bases, prefix, durationMs, feedsPerSecond, pids, asked, disturbed, beside } = options;
  const sender = new ClickSender(options);
  const reader = () => sender.reader(Math.random);
  const readers = new FeedReaders({ bases, perSecond: feedsPerSecond, reader });
  const probe = new FreshnessProbe({ bases, prefix, asked, disturbed });
  const memory = new MemoryTrend(pids);
  const startedAt = Date.now();
  let longestLagMs = 0;
  const watch = setInterval(() => {
    longestLagMs = Math.max(longestLagMs, sender.lagMs);
  }, 200);
  const progress = setInterval(
    () => options.onProgress?.(progressLine(sender, readers, Date.now() - startedAt, durationMs)),
    PROGRESS_MS,
  );
  memory.start();
  readers.start();
  probe.start();
  try {
    await Promise.all([sender.run(durationMs), beside?.({ seconds: () => memory.seconds })]);
  } finally {
    sender.stop();
    clearInterval(watch);
    clearInterval(progress);
    memory.stop();
    await Promise.all([readers.stop(), probe.stop()]);
  }
  const seconds = (Date.now() - startedAt) / 1000;
  return {
    seconds: Number(seconds.toFixed(1)),
    sent: sender.tally,
    eventsPerSecond: Number((sender.tally.acceptedEvents / seconds).toFixed(1)),
    probes: probe.written,
    longestLagMs: Math.round(longestLagMs),
    feeds: readers.report,
    freshness: probe.report,
    memory: memory.report,
  };
}

function progressLine(sender: ClickSender, readers: FeedReaders, elapsedMs: number, ofMs: number): string {
  const { events, acceptedEvents, posts } = sender.tally;
  const { feeds, failed, latencyMs } = readers.report;
  const seconds = elapsedMs / 1000;
  const leftSeconds = Math.max(0, Math.round((ofMs - elapsedMs) / 1000));
  return (
    `${Math.round(seconds)} s, ${leftSeconds} s left | ${acceptedEvents} of ${events} events accepted, ` +
    `${(acceptedEvents / seconds).toFixed(0)}/s, ${posts} articles, ${(sender.lagMs / 1000).toFixed(1)} s behind | ` +
    `${feeds} feeds, ${failed} failed, p99 ${latencyMs.p99 ?? '–'} ms`
  );
}
