// The pages and numbers of a replay, from figures alone.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { machine } from '../../../../scripts/bench/machine.ts';
import type { FeatureDiff } from '../../../../scripts/features/diff.ts';
import { execute } from '../../../../scripts/import/command.ts';
import { LatencyHistogram } from '../../../../scripts/load-test/latency-histogram.ts';
import { liveDataPage } from '../../../../scripts/replay/live-data-page.ts';
import { trendOf } from '../../../../scripts/replay/memory-trend.ts';
import { type ReplayReport, replayPage } from '../../../../scripts/replay/replay-report.ts';
import type { ReplayResult } from '../../../../scripts/replay/run.ts';
import type { SoakReport } from '../../../../scripts/replay/soak.ts';
import { replayCommand } from '../../../../scripts/replay.ts';

function summary(...ms: number[]) {
  const histogram = new LatencyHistogram();
  for (const one of ms) histogram.record(one);
  return histogram.summary();
}

const replay: ReplayResult = {
  seconds: 60,
  sent: {
    events: 1000,
    posts: 30,
    acceptedEvents: 1000,
    acceptedPosts: 30,
    duplicates: 4,
    rejected: 0,
    repeats: 2,
    answers: { '200': 90, 'no answer': 2 },
  },
  eventsPerSecond: 16.7,
  probes: 20,
  longestLagMs: 120,
  feeds: {
    feeds: 500,
    failed: 1,
    repeated: 2,
    failures: { '503': 1 },
    degraded: { changes_late: 3 },
    posts: 10_000,
    latencyMs: summary(10, 12),
  },
  freshness: { same: summary(5), others: summary(80, 90), disturbed: summary(4000), late: 0, unwritten: 0 },
  memory: [
    {
      process: 'replica <1>',
      first: 300,
      last: 330,
      mean: 325,
      slope: 2.5,
      samples: [
        [0, 300],
        [60, 330],
      ],
    },
  ],
};

const features: FeatureDiff = {
  requests: 40,
  rows: 700,
  skew: [{ feature: 'user_mix@1', values: 10, max: 0.5, mean: 0.1, unequal: 0.125 }],
  unequal: [],
  inFlight: { rows: 20, unequal: 0.01 },
  leftOut: 0,
  userVectors: { compared: 30, smallestCosine: 0.999 },
  changes: 5000,
};

const report: SoakReport = {
  at: '2026-01-02T03:04:05.000Z',
  machine: machine(),
  options: {
    ...{ speed: 100, accounts: 3000, feedsPerSecond: 10, minutes: 1, pauseSeconds: 30 },
    ...{ posts: 3000, users: 400, sessionMinutes: 1, streamEntries: 1000, cachedPosts: 2000 },
  },
  foreignShare: 0.25,
  replay,
  stored: 1000,
  counted: 999,
  kills: 20,
  pause: { seconds: 30, caughtUpSeconds: 1.5, flagged: 3, silent: 0 },
  settledSeconds: 1,
  rebuilt: { users: 900, different: 0, examples: [], vectorsMissing: 0, smallestCosine: 0.9999 },
  features,
  featuresAfterKills: { ...features, unequal: ['user_mix@1'] },
  criteria: [
    { name: 'held', limit: '= 1', value: '1', pass: true, timed: false },
    { name: 'events counted, of those sent', limit: '= 1000', value: '999', pass: false, timed: false },
  ],
};

describe('the soak’s page', () => {
  it('says when, on what and how long, and names what failed first', () => {
    const page = liveDataPage(report);
    expect(page).toContain('2026-01-02 03:04 UTC');
    expect(page).toContain(machine().cpu);
    expect(page).toContain('for 1.0 minutes');
    expect(page).toContain('**1 of 2 criteria failed**');
    expect(page.indexOf('events counted')).toBeLessThan(page.indexOf('| held'));
    expect(page).toContain('Others took 25 %');
    expect(page).toContain('| 40 | 700 | 1: user_mix@1 12.5 % | 20 | 1.00 % differ |');
    expect(page).toContain('1000 sent, 1000 accepted (16.7/s), 1000 stored, 999 counted');
  });
});

describe('npm run replay -- --soak --from', () => {
  const dir = mkdtempSync(join(tmpdir(), 'feedrank-soak-page-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('writes the page from figures that are there, and refuses what holds none', async () => {
    const [figures, page] = [join(dir, 'figures.json'), join(dir, 'page.md')];
    writeFileSync(figures, JSON.stringify(report));
    const said: string[] = [];
    const io = { out: () => {}, error: (text: string) => void said.push(text) };
    const flags = ['--soak', '--markdown', page, '--from'];
    expect(await execute(replayCommand, [...flags, figures], io)).toBe(0);
    expect(readFileSync(page, 'utf8')).toBe(liveDataPage(report));
    expect(await execute(replayCommand, [...flags, page], io)).toBe(2);
    expect(said.join('')).toMatch(/^--from: .* holds no figures/);
  });
});

describe('the replay’s page', () => {
  const replayed: ReplayReport = {
    at: '2026-01-02T03:04:05.000Z',
    machine: machine(),
    options: { format: 'globo', speed: 60, feedsPerSecond: 10, service: 'own, embedded stores' },
    replay,
    stored: 1000,
    counted: 1000,
    same: true,
  };

  it('holds its figures and nothing that is markup in them', () => {
    const page = replayPage(replayed);
    expect(page).toContain('sent = accepted = stored = counted');
    expect(page).toContain('changes_late 3');
    expect(page).not.toContain('<1>');
    expect(replayPage({ ...replayed, same: false, counted: 999 })).toContain('differ');
  });
});

describe('the memory trend', () => {
  it('is the slope a minute of the second half', () => {
    const grows = Array.from(
      { length: 61 },
      (_, i) => [i * 2, i < 30 ? 100 : 100 + (i - 30)] as [number, number],
    );
    expect(trendOf(grows)).toEqual({ first: 100, last: 130, mean: 115, slope: 30 });
    const flat = Array.from({ length: 40 }, (_, i) => [i, i < 10 ? 50 : 200] as [number, number]);
    expect(trendOf(flat).slope).toBe(0);
    expect(trendOf([])).toEqual({ first: 0, last: 0, mean: 0, slope: 0 });
  });
});
