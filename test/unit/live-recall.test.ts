import { Histogram, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { LiveRecall } from '../../src/live-recall.ts';
import type { RecallJob } from '../../src/worker.ts';

const VECTOR = new Float32Array(64).fill(0.125);

function measured(share: number, answer: (job: RecallJob) => Promise<unknown> | null) {
  const registers = [new Registry()];
  const recall = new Histogram({ name: 'recall', help: 'of the test', buckets: [0.9, 1], registers });
  const asked: RecallJob[] = [];
  const background = (_kind: string, payload: unknown) => {
    asked.push(payload as RecallJob);
    return answer(payload as RecallJob);
  };
  const live = new LiveRecall({ pool: { background }, share, recall, random: () => 0.5 });
  const count = async () =>
    (await recall.get()).values.find(({ metricName }) => metricName === 'recall_count')?.value ?? 0;
  return { live, asked, count };
}

describe('live recall', () => {
  it('measures one sampled request at a time, and what it was asked for', async () => {
    let finish = (_share: number): void => {};
    const { live, asked, count } = measured(0.6, () => new Promise((resolve) => (finish = resolve)));
    live.sample('g1', VECTOR, 1000);
    live.sample('g1', VECTOR, 1000);
    expect(asked).toEqual([{ generation: 'g1', vector: VECTOR, k: 1000 }]);
    finish(0.97);
    await new Promise(setImmediate);
    expect(await count()).toBe(1);
    live.sample('g2', VECTOR, 500);
    expect(asked).toHaveLength(2);
  });

  it('leaves alone what is not sampled, and counts nothing without an idle worker or an answer', async () => {
    const rare = measured(0.4, () => Promise.resolve(1));
    rare.live.sample('g1', VECTOR, 1000);
    expect(rare.asked).toEqual([]);
    const failed = () => Promise.reject(new Error('closed'));
    for (const answer of [() => null, () => Promise.resolve(null), failed]) {
      const { live, count } = measured(1, answer);
      live.sample('g1', VECTOR, 1000);
      await new Promise(setImmediate);
      expect(await count()).toBe(0);
    }
  });
});
