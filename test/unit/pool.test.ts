import { afterEach, describe, expect, it } from 'vitest';
import { WorkerPool } from '../../src/pool.ts';

const script = new URL('./workers/echo-worker.ts', import.meta.url);
let pool: WorkerPool | undefined;

function start(size: number, queueLimit?: number): WorkerPool {
  pool = new WorkerPool({ script, size, workerData: null, queueLimit, hangMs: 50 });
  return pool;
}

const soon = () => Date.now() + 5000;

afterEach(async () => {
  await pool?.close();
  pool = undefined;
});

describe('WorkerPool', () => {
  it('answers more jobs than it has workers', async () => {
    const workers = start(2);
    const values = await Promise.all(Array.from({ length: 20 }, (_, i) => workers.run('echo', i, soon())));
    expect(values).toEqual(Array.from({ length: 20 }, (_, i) => i));
  });

  it('runs the job with the nearest deadline first', async () => {
    const workers = start(1);
    const order: string[] = [];
    const first = workers.run('busy', 30, soon());
    const late = workers.run('echo', 'late', Date.now() + 9000).then((value) => order.push(String(value)));
    const early = workers.run('echo', 'early', Date.now() + 4000).then((value) => order.push(String(value)));
    await Promise.all([first, late, early]);
    expect(order).toEqual(['early', 'late']);
  });

  it('refuses with `overloaded` when the queue is full', async () => {
    const workers = start(1, 1);
    const running = workers.run('busy', 50, soon());
    const waiting = workers.run('echo', 1, soon());
    await expect(workers.run('echo', 2, soon())).rejects.toMatchObject({ code: 'overloaded' });
    await Promise.all([running, waiting]);
  });

  it('rejects with `timeout` at the deadline, quarantines the worker, and takes it back when it answers', async () => {
    const workers = start(1);
    await workers.run('echo', 'warm', soon());
    await expect(workers.run('busy', 400, Date.now() + 20)).rejects.toMatchObject({ code: 'timeout' });
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(workers.available).toBe(0);
    await expect(workers.run('echo', 'after', soon())).resolves.toBe('after');
    expect(workers.available).toBe(1);
  });

  it('replaces a worker that died, with the settings the others had', async () => {
    const workers = start(1);
    await workers.broadcast('set', 'old', 'setting');
    await workers.broadcast('set', 'new', 'setting');
    await expect(workers.run('die', null, soon())).rejects.toMatchObject({ code: 'unavailable' });
    await expect(workers.run('get', null, soon())).resolves.toBe('new');
  });

  it("passes a worker's error on with its code", async () => {
    await expect(start(1).run('fail', null, soon())).rejects.toMatchObject({
      code: 'internal',
      message: 'as told',
    });
  });

  it('refuses work after it was closed', async () => {
    const workers = start(1);
    await workers.close();
    await expect(workers.run('echo', 1, soon())).rejects.toMatchObject({ code: 'unavailable' });
  });
});
