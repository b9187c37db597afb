// What every ServingLog must do. Run over each adapter by pglite.test.ts and postgres.test.ts.
import { describe, expect, it } from 'vitest';
import type { ServingLog, ServingRecord } from '../../src/contracts.ts';
import type { Deadline } from '../../src/deadline.ts';
import { collect, soon, unique } from '../setup/test-servers.ts';

type TrimmableLog = ServingLog & { trimServingLog(beforeMs: number, deadline: Deadline): Promise<number> };

export function record(requestId: string, change: Partial<ServingRecord> = {}): ServingRecord {
  return {
    requestId,
    userId: 'user',
    at: Date.now(),
    model: 'ranker@1',
    index: 'generation',
    rules: 'rules',
    explored: false,
    degraded: [],
    watermark: '',
    posts: [],
    ...change,
  };
}

export function servingLogContract(store: () => TrimmableLog): void {
  describe('serving log', () => {
    it('keeps each record once and gives it back exactly, in order of time', async () => {
      const userId = unique('user');
      const records = [3, 1, 2].map((i) =>
        record(unique('request'), {
          userId,
          at: 10_000 + i,
          degraded: ['ranker_late'],
          posts: [
            {
              postId: 'post "😀"',
              token: 't',
              position: 0,
              score: 0.123456789012345,
              propensity: 1,
              sources: ['nearest'],
              probabilities: { click: 0.1, like: 0.2, reply: 0, share: 0, dwell: 1, negative: 1e-9 },
            },
          ],
        }),
      );
      await store().append(records, soon());
      await store().append([records[0]], soon());
      for (const batchSize of [1, 2, 100]) {
        const found = (await collect(store().scan(batchSize))).filter((each) => each.userId === userId);
        expect(found).toEqual([records[1], records[2], records[0]]);
      }
    });

    it('drops what was served before a time, and counts it', async () => {
      const userId = unique('user');
      const old = [1, 2].map((at) => record(unique('request'), { userId, at }));
      const kept = record(unique('request'), { userId, at: 500 });
      await store().append([...old, kept], soon());
      expect(await store().trimServingLog(500, soon())).toBe(2);
      expect((await collect(store().scan(100))).filter((each) => each.userId === userId)).toEqual([kept]);
    });
  });
}
