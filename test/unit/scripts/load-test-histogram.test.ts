import fc from 'fast-check';
import { decodeFromCompressedBase64 } from 'hdr-histogram-js';
import { describe, expect, test } from 'vitest';
import { Tally } from '../../../scripts/load-test/interval.ts';
import { LatencyHistogram } from '../../../scripts/load-test/latency-histogram.ts';

function of(values: readonly number[]): LatencyHistogram {
  const histogram = new LatencyHistogram();
  for (const value of values) histogram.record(value);
  return histogram;
}

describe('LatencyHistogram', () => {
  test('merging parts is the same as recording everything in one', () => {
    const values = fc.array(fc.double({ min: 0.001, max: 100_000, noNaN: true }), { maxLength: 200 });
    fc.assert(
      fc.property(values, values, (a, b) => {
        const merged = new LatencyHistogram();
        for (const part of [a, b]) merged.add(LatencyHistogram.decode(of(part).encode()));
        expect(merged.summary()).toEqual(of([...a, ...b]).summary());
      }),
      { numRuns: 60 },
    );
  });

  test('percentiles are within .1 % of the exact ones', () => {
    const values = Array.from({ length: 10_000 }, (_, i) => 0.5 * 1.001 ** i);
    const histogram = of(values);
    for (const percentile of [1, 50, 90, 99, 99.9]) {
      const exact = values[Math.ceil((percentile / 100) * values.length) - 1];
      expect(Math.abs(histogram.at(percentile)! / exact - 1)).toBeLessThan(0.002);
    }
  });

  test('nothing recorded is null, and values beyond the range count as its ends', () => {
    expect(new LatencyHistogram().summary()).toEqual({
      count: 0,
      mean: null,
      p50: null,
      p90: null,
      p99: null,
      p999: null,
      max: null,
    });
    const { count, max } = of([-1, 0, 1e9]).summary();
    expect(count).toBe(3);
    expect(Math.abs(max! - 120_000)).toBeLessThan(120);
  });

  test('the encoded form is one that other HdrHistogram tools read', () => {
    const plain = decodeFromCompressedBase64(of([1, 2, 3]).encode());
    expect([plain.totalCount, plain.getValueAtPercentile(50)]).toEqual([3, 2000]);
  });

  test('the distribution rises, and goes as far as the count resolves', () => {
    const points = of(Array.from({ length: 1000 }, (_, i) => i + 1)).distribution();
    expect(points[0][0]).toBe(0);
    expect(points.at(-1)![0]).toBeGreaterThanOrEqual(99.8);
    expect(points.at(-1)![0]).toBeLessThanOrEqual(99.9);
    expect(points.every(([, ms], i) => i === 0 || ms >= points[i - 1][1])).toBe(true);
  });
});

describe('Tally', () => {
  test('the seconds of several generators add up to the whole, and nothing is told twice', () => {
    const total = new Tally();
    for (const generator of [1, 2]) {
      const tally = new Tally();
      for (let second = 0; second < 3; second++) {
        tally.counts.feed.offered += 10;
        tally.counts.feed.good += 9;
        tally.counts.event.refused += generator;
        tally.cause('503 overloaded');
        tally.histograms.feed.record(second + generator);
        total.add(JSON.parse(JSON.stringify(tally.encode(0))));
      }
    }
    expect(total.counts.feed).toMatchObject({ offered: 60, good: 54, refused: 0 });
    expect(total.sum('refused')).toBe(9);
    expect(total.causes).toEqual({ '503 overloaded': 6 });
    expect(total.histograms.feed.count).toBe(6);
    expect(total.histograms.feed.summary().max).toBeCloseTo(4, 1);
  });
});
