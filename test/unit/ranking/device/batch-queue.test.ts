import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BatchQueue, type Waiting } from '../../../../src/ranking/device/batch-queue.ts';
import { bucketOf, rowBuckets } from '../../../../src/ranking/device/row-buckets.ts';

const MAX_ROWS = 64;
const LIMIT = 6;
/** 2 ms a batch and .25 ms a row; model 2 is four times as slow. */
const costMs = (model: number, rows: number) => (2 + rows * 0.25) * (model === 2 ? 4 : 1);

const newQueue = () => new BatchQueue({ limit: LIMIT, maxRows: MAX_ROWS, costMs });

const request = fc.record({
  model: fc.integer({ min: 0, max: 2 }),
  rows: fc.integer({ min: 1, max: MAX_ROWS }),
  leftMs: fc.integer({ min: 0, max: 200 }),
});
/** What happens one after the other: a request comes, or the device becomes idle some time later. */
const history = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: request.map((one) => ({ kind: 'offer' as const, ...one })) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 40 }).map((ms) => ({ kind: 'take' as const, ms })) },
  ),
  { maxLength: 60 },
);

function replay(events: readonly Event[], look: Look): void {
  const queue = newQueue();
  const waiting = new Map<number, Waiting>();
  let now = 1000;
  let id = 0;
  for (const event of events) {
    if (event.kind === 'offer') {
      const { model, rows, leftMs } = event;
      const one = { id: id++, model, rows, deadlineAtMs: now + leftMs };
      const refusal = queue.offer(one, now, now);
      look.offered?.(one, refusal, [...waiting.values()], now);
      if (refusal === null) waiting.set(one.id, one);
    } else {
      now += event.ms;
      const before = [...waiting.values()];
      const { batch, late } = queue.take(now);
      for (const gone of [...batch, ...late]) waiting.delete(gone.id);
      look.taken?.(batch, late, before, now);
    }
    expect(queue.length).toBe(waiting.size);
  }
  while (queue.length > 0) {
    const { batch, late } = queue.take(now);
    for (const gone of [...batch, ...late]) expect(waiting.delete(gone.id)).toBe(true);
  }
  expect(waiting.size).toBe(0);
}

type Event = { kind: 'offer'; model: number; rows: number; leftMs: number } | { kind: 'take'; ms: number };

interface Look {
  offered?(one: Waiting, refusal: 'full' | 'late' | null, before: Waiting[], now: number): void;
  taken?(batch: Waiting[], late: Waiting[], before: Waiting[], now: number): void;
}

const rowsOf = (requests: readonly Waiting[]) => requests.reduce((sum, { rows }) => sum + rows, 0);

describe('batch queue', () => {
  it('hands out every request that it took in exactly once, in a batch or as late', () => {
    fc.assert(
      fc.property(history, (events) => {
        const seen = new Set<number>();
        replay(events, {
          taken(batch, late, before) {
            for (const { id } of [...batch, ...late]) {
              expect(seen.has(id)).toBe(false);
              expect(before.some((one) => one.id === id)).toBe(true);
              seen.add(id);
            }
          },
        });
      }),
    );
  });

  it('keeps its bounds: requests that wait, rows of a batch, one model a batch', () => {
    fc.assert(
      fc.property(history, (events) => {
        replay(events, {
          offered(_one, refusal, before) {
            expect(before.length).toBeLessThanOrEqual(LIMIT);
            if (before.length === LIMIT) expect(refusal).toBe('full');
            else expect(refusal).not.toBe('full');
          },
          taken(batch) {
            expect(rowsOf(batch)).toBeLessThanOrEqual(MAX_ROWS);
            expect(new Set(batch.map(({ model }) => model)).size).toBeLessThanOrEqual(1);
          },
        });
      }),
    );
  });

  it('never leaves an idle device without work, and calls late only what cannot finish in time', () => {
    fc.assert(
      fc.property(history, (events) => {
        replay(events, {
          taken(batch, late, before, now) {
            for (const { model, rows, deadlineAtMs } of late) {
              expect(now + costMs(model, rows)).toBeGreaterThan(deadlineAtMs);
            }
            if (before.length > late.length) expect(batch.length).toBeGreaterThan(0);
          },
        });
      }),
    );
  });

  it('begins with the earliest deadline, and joins what fits by deadline without making any of them late', () => {
    fc.assert(
      fc.property(history, (events) => {
        replay(events, {
          taken(batch, late, before, now) {
            const left = before.filter((one) => !batch.includes(one) && !late.includes(one));
            for (const one of left) {
              expect(one.deadlineAtMs).toBeGreaterThanOrEqual(batch[0].deadlineAtMs);
              if (one.model !== batch[0].model) continue;
              // Whoever was left out would not have fitted beside those that go before it.
              const ahead = batch.filter(({ deadlineAtMs }) => deadlineAtMs <= one.deadlineAtMs);
              const joined = rowsOf(ahead) + one.rows;
              const harms = now + costMs(one.model, rowsOf(batch) + one.rows) > batch[0].deadlineAtMs;
              expect(joined > MAX_ROWS || rowsOf(batch) + one.rows > MAX_ROWS || harms).toBe(true);
            }
            for (const { model, deadlineAtMs } of batch) {
              expect(now + costMs(model, rowsOf(batch))).toBeLessThanOrEqual(deadlineAtMs);
            }
            expect(batch.map(({ deadlineAtMs }) => deadlineAtMs)).toEqual(
              batch.map(({ deadlineAtMs }) => deadlineAtMs).sort((a, b) => a - b),
            );
          },
        });
      }),
    );
  });

  it('refuses at once what would finish after its deadline behind those that go before it', () => {
    const queue = newQueue();
    const offer = (id: number, model: number, rows: number, leftMs: number, idleInMs = 0) =>
      queue.offer({ id, model, rows, deadlineAtMs: 1000 + leftMs }, 1000, 1000 + idleInMs);
    expect(offer(0, 0, 40, 11)).toBe('late');
    expect(offer(1, 0, 40, 12)).toBe(null);
    // Its own 4 ms behind 12 of another model, or behind a batch that is in progress.
    expect(offer(2, 1, 8, 15)).toBe('late');
    expect(offer(3, 1, 8, 16)).toBe(null);
    expect(offer(4, 1, 8, 30, 20)).toBe('late');
    expect(queue.length).toBe(2);
  });

  it('takes out what was given up', () => {
    const queue = newQueue();
    for (let id = 0; id < 4; id++) queue.offer({ id, model: 0, rows: 4, deadlineAtMs: 9000 }, 0, 0);
    expect(queue.remove(({ id }) => id % 2 === 1).map(({ id }) => id)).toEqual([1, 3]);
    expect(queue.take(0).batch.map(({ id }) => id)).toEqual([0, 2]);
  });
});

describe('row buckets', () => {
  it('hold every number of rows, with at most a third of a bucket empty beyond the smallest', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20_000 }), fc.integer({ min: 1, max: 20_000 }), (a, b) => {
        const [rows, most] = a < b ? [a, b] : [b, a];
        const buckets = rowBuckets(most);
        const height = buckets[bucketOf(buckets, rows)];
        expect(height).toBeGreaterThanOrEqual(rows);
        if (rows > buckets[0]) expect(height - rows).toBeLessThanOrEqual(height / 3);
        expect(buckets.length).toBeLessThan(22);
      }),
    );
  });
});
