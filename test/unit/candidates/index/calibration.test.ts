import { describe, expect, it } from 'vitest';
import type { Measured } from '../../../../src/candidates/index/artifact-manifest.ts';
import { calibrate, cheapest, syntheticQueries } from '../../../../src/candidates/index/calibration.ts';
import { ExactIndex } from '../../../../src/candidates/index/exact-index.ts';
import { tableOf, vectorsOf } from './seeded-posts.ts';

const row = (kind: Measured['kind'], ef: number | null, recall: number, p50Ms: number): Measured => ({
  kind,
  ef,
  probes: null,
  recall,
  p50Ms,
  p99Ms: p50Ms * 2,
});
const measured = [
  row('exact', null, 0.9998, 3),
  row('hnsw', 1000, 0.93, 1.4),
  row('hnsw', 1500, 0.96, 2),
  row('hnsw', 2000, 0.99, 2.6),
];

describe('calibration', () => {
  it('chooses the cheapest search at or above the target', () => {
    expect(cheapest(measured, 0.95, 'auto')).toBe(measured[2]);
    expect(cheapest(measured, 0.9, 'auto')).toBe(measured[1]);
    expect(cheapest(measured, 0.995, 'auto')).toBe(measured[0]);
    expect(cheapest([row('exact', null, 1, 0.2), measured[1], measured[2]], 0.9, 'auto').kind).toBe('exact');
  });

  it('stays with the kind that was asked for, and takes its best where none reaches the target', () => {
    expect(cheapest(measured, 0.95, 'exact')).toBe(measured[0]);
    expect(cheapest(measured, 0.999, 'hnsw')).toBe(measured[3]);
    expect(cheapest(measured.slice(0, 1), 0.95, 'hnsw')).toBe(measured[0]);
  });

  it('measures the scan against plain float32 and cuts k to a small corpus', async () => {
    const table = tableOf(vectorsOf(300));
    const scan = await ExactIndex.open(table);
    const queries = vectorsOf(12, 9);
    const base = {
      table,
      scan,
      graph: null,
      lists: null,
      queriesFrom: 'users' as const,
      targetRecall: 0.95,
      prefer: 'auto' as const,
    };
    const { calibration, search } = calibrate({ ...base, queries, k: 1000 });
    expect(search).toEqual({ kind: 'exact', ef: null, probes: null });
    expect(calibration).toMatchObject({ k: 300, queries: 12, queriesFrom: 'users', targetRecall: 0.95 });
    expect(calibration.measured).toEqual([
      {
        kind: 'exact',
        ef: null,
        probes: null,
        recall: 1,
        p50Ms: expect.any(Number),
        p99Ms: expect.any(Number),
      },
    ]);
    expect(calibrate({ ...base, queries: [], k: 10 }).calibration.queriesFrom).toBe('none');
  });

  it('makes the same stand-in queries every time, of unit length', () => {
    const table = tableOf(vectorsOf(300));
    const queries = syntheticQueries(table, 40);
    expect(queries).toEqual(syntheticQueries(table, 40));
    for (const query of queries) expect(Math.hypot(...query)).toBeCloseTo(1, 5);
    expect(syntheticQueries(tableOf([]), 40)).toEqual([]);
  });
});
