// A replay's figures as a page of HTML: nothing on it was typed by hand. Called by the replay command.
import type { Machine } from '../bench/machine.ts';
import { REPORT_STYLE } from '../load-test/report-style.ts';
import { escapeHtml, svgPlot } from '../load-test/svg-plot.ts';
import type { ReplayResult } from './run.ts';

export interface ReplayReport {
  at: string;
  machine: Machine;
  /** What was replayed, and how. */
  options: { format: string; speed: number; feedsPerSecond: number; service: string };
  replay: ReplayResult;
  /** Events in the store and in the counters; null where the service is somebody else's. */
  stored: number | null;
  counted: number | null;
  /** Every event sent was accepted, is stored once and was counted once. */
  same: boolean;
}

export function replayPage(report: ReplayReport): string {
  const { at, machine, options, replay, stored, counted, same } = report;
  const { sent, feeds, freshness } = replay;
  const facts: [string, string][] = [
    ['replayed', `${options.format} at ${options.speed} times real time for ${replay.seconds} s`],
    ['service', options.service],
    ['machine', `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Node ${machine.node}`],
    ['events sent', `${sent.events} (${replay.eventsPerSecond}/s accepted)`],
    [
      'events accepted',
      `${sent.acceptedEvents}, ${sent.rejected} rejected, ${sent.repeats} requests repeated`,
    ],
    ['events stored', stored === null ? 'not asked' : String(stored)],
    ['events counted', counted === null ? 'not asked' : String(counted)],
    ['articles', `${sent.acceptedPosts} of ${sent.posts} accepted`],
    ['longest lag', `${replay.longestLagMs} ms`],
    ['feeds', `${feeds.feeds}, ${feeds.repeated} asked of another replica, ${feeds.failed} failed`],
    [
      'feed latency',
      `p50 ${feeds.latencyMs.p50} ms, p99 ${feeds.latencyMs.p99} ms, max ${feeds.latencyMs.max} ms`,
    ],
    [
      'new post retrievable',
      `p50 ${freshness.same.p50} ms, p99 ${freshness.same.p99} ms of ${freshness.same.count}`,
    ],
    ['degraded answers', causes(feeds.degraded)],
    ['failures', causes(feeds.failures)],
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Replay</title><style>${REPORT_STYLE}</style></head><body>
<h1>Replay of ${escapeHtml(options.format)}</h1>
<p class="${same ? 'good' : 'bad'}">${same ? 'Events sent = accepted = stored = counted.' : 'The counts of events differ.'}</p>
<p>${escapeHtml(at)}</p>
<table class="facts">${facts.map(([name, value]) => `<tr><th>${escapeHtml(name)}</th><td>${escapeHtml(value)}</td></tr>`).join('\n')}</table>
<figure>${memoryPlot(replay)}</figure>
</body></html>
`;
}

function memoryPlot({ memory }: ReplayResult): string {
  return svgPlot({
    title: 'Resident memory',
    x: { label: 'seconds' },
    y: { label: 'MiB', from: 0 },
    series: memory.map(({ process, slope, samples }, style) => ({
      name: `${process} (${slope} MiB/min)`,
      style,
      points: samples,
    })),
  });
}

export function causes(counts: Record<string, number>): string {
  const parts = Object.entries(counts).map(([cause, count]) => `${cause} ${count}`);
  return parts.length > 0 ? parts.join(', ') : 'none';
}
