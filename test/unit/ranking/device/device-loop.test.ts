import { afterEach, describe, expect, it } from 'vitest';
import { type Batch, type DeviceEvent, DeviceLoop } from '../../../../src/ranking/device/device-loop.ts';
import { DeviceMemory, SLOT, stateIn } from '../../../../src/ranking/device/device-memory.ts';
import { rowBuckets } from '../../../../src/ranking/device/row-buckets.ts';
import { HEADS } from '../../../../src/vocabulary.ts';

const ROWS = 40;
const COLUMNS = 3;
const loops: DeviceLoop[] = [];

/** Every head of a row is its sum, and that of the user's columns where there are some. */
async function sums({ features, rows, columns, users, userColumns }: Batch): Promise<Float32Array> {
  const output = new Float32Array(rows * HEADS.length);
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let c = 0; c < columns; c++) sum += features[row * columns + c];
    for (let c = 0; c < userColumns; c++) sum += users[row * userColumns + c];
    output.fill(sum, row * HEADS.length, (row + 1) * HEADS.length);
  }
  return output;
}

function world(run: (model: number, batch: Batch) => Promise<Float32Array> = (_, batch) => sums(batch)) {
  const memory = DeviceMemory.create(8, ROWS, COLUMNS, rowBuckets(96));
  const events: DeviceEvent[] = [];
  const batches: { model: number; rows: number; features: Float32Array }[] = [];
  const loop = new DeviceLoop(
    memory,
    async (model, batch) => {
      batches.push({ model, rows: batch.rows, features: batch.features.slice() });
      return run(model, batch);
    },
    (event) => events.push(event),
  );
  loops.push(loop);
  const queue = (
    slot: number,
    rows: number,
    options: { model?: number; leftMs?: number; user?: number } = {},
  ) => {
    const { model = 1, leftMs = 60_000, user } = options;
    const word = memory.claim(slot)!;
    for (let i = 0; i < rows * COLUMNS; i++) memory.featuresOf(slot)[i] = slot + 1;
    if (user !== undefined) memory.userOf(slot)[0] = user;
    const userColumns = user === undefined ? 0 : 1;
    memory.describe(slot, { model, rows, columns: COLUMNS, userColumns, deadlineAtMs: Date.now() + leftMs });
    const queued = memory.move(slot, word, SLOT.queued)!;
    memory.ring();
    return queued;
  };
  const stateOf = (slot: number) => stateIn(memory.read(slot));
  return { memory, loop, events, batches, queue, stateOf };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
async function until(done: () => boolean): Promise<void> {
  while (!done()) await turn();
}

afterEach(() => {
  for (const loop of loops.splice(0)) loop.stop();
});

describe('device loop', () => {
  it('joins what waits into one padded batch and gives every request its own rows back', async () => {
    const { memory, loop, batches, queue, stateOf, events } = world();
    queue(0, 10, { user: 100 });
    queue(3, 40, { user: 200 });
    queue(5, 1, { user: 300 });
    void loop.serve();
    await until(() => [0, 3, 5].every((slot) => stateOf(slot) === SLOT.done));
    expect(batches.map(({ rows }) => rows)).toEqual([64]);
    expect(batches[0].features.subarray(51 * COLUMNS)).toEqual(new Float32Array(13 * COLUMNS));
    for (const [slot, rows, user] of [
      [0, 10, 100],
      [3, 40, 200],
      [5, 1, 300],
    ]) {
      const expected = new Float32Array(rows * HEADS.length).fill((slot + 1) * COLUMNS + user);
      expect(memory.outputOf(slot).slice(0, rows * HEADS.length)).toEqual(expected);
    }
    expect(events).toMatchObject([{ kind: 'batch', requests: 3, rows: 51, bucket: 64, queued: 0 }]);
  });

  it('runs at once what comes while it is idle, and batches only what came while it was busy', async () => {
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { loop, batches, queue, stateOf } = world(async (_, batch) => {
      await gate;
      return sums(batch);
    });
    void loop.serve();
    await turn();
    queue(0, 32);
    await until(() => stateOf(0) === SLOT.running);
    for (const slot of [1, 2]) queue(slot, 20);
    release();
    await until(() => [0, 1, 2].every((slot) => stateOf(slot) === SLOT.done));
    expect(batches.map(({ rows }) => rows)).toEqual([32, 48]);
  });

  it('keeps models apart, the earlier deadline first', async () => {
    const { loop, batches, queue, stateOf } = world();
    queue(0, 4, { model: 1, leftMs: 50_000 });
    queue(1, 4, { model: 2, leftMs: 40_000 });
    queue(2, 4, { model: 1, leftMs: 60_000 });
    void loop.serve();
    await until(() => [0, 1, 2].every((slot) => stateOf(slot) === SLOT.done));
    expect(batches.map(({ model }) => model)).toEqual([2, 1]);
  });

  it('refuses what would be late by what the bucket is known to cost', async () => {
    const { memory, loop, batches, queue, stateOf, events } = world();
    memory.setCostMs(1, 4, 5000);
    queue(0, 4, { leftMs: 1000 });
    queue(1, 4, { leftMs: 30_000 });
    void loop.serve();
    await until(() => stateOf(1) === SLOT.done);
    expect(stateOf(0)).toBe(SLOT.late);
    expect(batches).toHaveLength(1);
    expect(events[0]).toMatchObject({ kind: 'refused', reason: 'late' });
  });

  it('frees what was given up before and while it ran, and answers the others', async () => {
    const given = world(async (_, batch) => {
      given.memory.move(1, given.memory.read(1), SLOT.abandoned);
      return sums(batch);
    });
    const { memory, loop, queue, stateOf, batches } = given;
    memory.move(0, queue(0, 4), SLOT.abandoned);
    queue(1, 4);
    queue(2, 4);
    void loop.serve();
    await until(() => stateOf(2) === SLOT.done);
    expect(batches).toHaveLength(1);
    queue(3, 4);
    await until(() => stateOf(3) === SLOT.done);
    expect([0, 1].map(stateOf)).toEqual([SLOT.free, SLOT.free]);
  });

  it('answers a failed batch with failed, names why, and goes on', async () => {
    let fails = true;
    const { loop, queue, stateOf, events } = world(async (_, batch) => {
      if (fails) throw new Error('out of memory');
      return sums(batch);
    });
    queue(0, 4);
    void loop.serve();
    await until(() => stateOf(0) === SLOT.failed);
    expect(events).toMatchObject([{ kind: 'failed', requests: 1, error: { message: 'out of memory' } }]);
    fails = false;
    queue(1, 4);
    await until(() => stateOf(1) === SLOT.done);
  });

  it('lets nobody change a slot that was used again since', () => {
    const { memory, queue } = world();
    const first = queue(0, 1);
    const done = memory.move(0, first, SLOT.done)!;
    memory.move(0, done, SLOT.free);
    const second = queue(0, 1);
    expect(memory.move(0, first, SLOT.abandoned)).toBe(null);
    expect(memory.read(0)).toBe(second);
  });

  it('answers what still waits with failed when it stops', async () => {
    const { loop, queue, stateOf } = world();
    const serving = loop.serve();
    await turn();
    loop.stop();
    queue(0, 4);
    await serving;
    expect(stateOf(0)).toBe(SLOT.failed);
  });
});
