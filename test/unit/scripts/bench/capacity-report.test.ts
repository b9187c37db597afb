import { describe, expect, it } from 'vitest';
import type { CapacityResult } from '../../../../scripts/bench/capacity.ts';
import {
  capacitySection,
  costSection,
  isMet,
  printCapacity,
  targetsOf,
} from '../../../../scripts/bench/capacity-report.ts';

const THREADS = { main: 1, feedWorkers: 4, otherWorkers: 0.5, engine: 0.3, pool: 0.2 };

function loop(inFlight: number) {
  return {
    inFlight,
    feeds: 4000,
    perSecond: 400,
    p50Ms: 3,
    p99Ms: 8,
    degraded: 0,
    causes: {},
    clientCpuMs: 800,
    cpuMsPerFeed: 6,
    threads: THREADS,
    foreignCpu: 0.01,
  };
}

function result(change: Partial<CapacityResult> = {}): CapacityResult {
  return {
    posts: 1_000_000,
    ranker: 'ranker',
    model: 'ranker@2',
    search: 'ivf+exact',
    cores: 2,
    kernels: { searchMs: 0.5, runMs: 4.5, rows: 1000 },
    single: loop(1),
    eight: loop(8),
    knee: 380,
    openLoop: [
      { rate: 140, p50Ms: 5, p99Ms: 20, goodputShare: 1, degraded: 0, void: [] },
      { rate: 300, p50Ms: 9, p99Ms: 50, goodputShare: 0.99, degraded: 3, void: ['the generator was late'] },
    ],
    loopDelayAt70: { rate: 266, p50: 0.1, p99: 3 },
    cpuRatio: 1.2,
    otherCpuMs: 1,
    saturation: 0.9,
    clientCpuMsPerFeed: 0.2,
    rssMiB: 1000,
    ...change,
  };
}

describe('capacity figures against their targets', () => {
  it('names what was missed first, and what a void phase left unmeasured', () => {
    const missed = targetsOf(result()).filter((one) => !isMet(one));
    expect(missed.map(({ name }) => name)).toEqual(['event-loop delay p99 at 70 %']);
    const page = capacitySection(result());
    expect(page.indexOf('**missed**')).toBeLessThan(page.indexOf('| met |'));
    expect(page).toContain('1 of 8 targets missed');
    const light = targetsOf(result({ model: 'ranker-light@2' }));
    expect(light.find(({ name }) => name.startsWith('open loop'))?.measured).toBeNull();
    expect(printCapacity(result({ model: 'ranker-light@2' }))).toContain(
      '**not measured** open loop at 300/s',
    );
  });

  it('makes cost from the CPU time of a feed, the planned load and the prices', () => {
    const page = costSection([result()], [], { coreHour: 0.7, gibHour: 0, gpuHour: 1 });
    // 6 ms × 10⁶ ÷ 3600 s ÷ .7 = 2.38 core-hours.
    expect(page).toContain('| `ranker@2` | 1,000,000 | 6 | 2.38 | 1.667 |');
    // 1000 feeds/s × 6 ms ÷ .7 = 8.57 cores.
    expect(page).toMatch(/\| 5,000,000 \| 5,000,000 \| 1000 \| 9 \| 1 \|/);
    expect(costSection([], [], { coreHour: 1, gibHour: 1, gpuHour: 1 })).toBe('');
  });
});
