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

  it('takes a job that nobody waits for out of the queue, and finishes one that runs', async () => {
    const workers = start(1);
    const gone = new AbortController();
    const running = workers.run('busy', 30, soon(), 0, gone.signal);
    const waiting = workers.run('echo', 'unwanted', soon(), 0, gone.signal);
    const other = workers.run('echo', 'wanted', soon());
    expect(workers.queued).toBe(2);
    gone.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'unavailable' });
    expect(workers.queued).toBe(1);
    await expect(workers.run('echo', 0, soon(), 0, gone.signal)).rejects.toMatchObject({
      code: 'unavailable',
    });
    await running;
    await expect(other).resolves.toBe('wanted');
  });

  it('rejects with `timeout` at the deadline and gives the place of a worker that hangs to another', async () => {
    const workers = start(1);
    await workers.broadcast('set', 'kept', 'setting');
    await expect(workers.run('busy', 1500, Date.now() + 20)).rejects.toMatchObject({ code: 'timeout' });
    await expect.poll(() => workers.lost).toBe(1);
    await expect.poll(() => workers.available, { timeout: 5000 }).toBe(1);
    await expect(workers.run('get', null, soon())).resolves.toBe('kept');
    // Settings do not wait for it.
    await expect(workers.broadcast('set', 'new', 'setting')).resolves.toEqual(['new']);
    // It comes back to find its place taken, and ends.
    await expect.poll(() => workers.lost, { timeout: 5000 }).toBe(0);
    expect(workers.available).toBe(1);
  });

  it('starts one more worker at most while others hang, and refuses at once when all do', async () => {
    let hangs = 0;
    pool = new WorkerPool({
      script,
      size: 2,
      workerData: null,
      hangMs: 20,
      onWorkerLost: () => hangs++,
    });
    await Promise.all([1, 2].map((i) => pool?.run('echo', i, soon())));
    const busy = [1, 2].map(() => pool?.run('busy', 3000, Date.now() + 20).catch((error) => error.code));
    expect(await Promise.all(busy)).toEqual(['timeout', 'timeout']);
    await expect.poll(() => hangs).toBe(2);
    await expect.poll(() => pool?.available, { timeout: 5000 }).toBe(1);
    await expect(pool.run('busy', 3000, Date.now() + 20)).rejects.toMatchObject({ code: 'timeout' });
    await expect.poll(() => hangs).toBe(3);
    expect(pool.available).toBe(0);
    await expect(pool.run('echo', 0, soon())).rejects.toMatchObject({ code: 'unavailable' });
    // Those that come back take their places, or end where they are one too many.
    await expect.poll(() => pool?.available, { timeout: 10_000 }).toBe(2);
    await expect.poll(() => pool?.lost, { timeout: 10_000 }).toBe(0);
  });

  it('replaces a worker that ran out of memory', async () => {
    const failures: (string | undefined)[] = [];
    pool = new WorkerPool({
      script,
      size: 1,
      workerData: null,
      heapMb: 32,
      onWorkerExit: (error) => failures.push((error as NodeJS.ErrnoException)?.code),
    });
    await pool.broadcast('set', 'kept', 'setting');
    await expect(pool.run('fill-memory', null, soon())).rejects.toMatchObject({ code: 'unavailable' });
    await expect(pool.run('get', null, soon())).resolves.toBe('kept');
    expect(failures).toEqual(['ERR_WORKER_OUT_OF_MEMORY']);
  });

  it('refuses at once what could not be started in time', async () => {
    const workers = start(1);
    for (let i = 0; i < 3; i++) await workers.run('busy', 50, soon());
    const running = [1, 2, 3].map(() => workers.run('busy', 50, soon()));
    const startedAt = performance.now();
    await expect(workers.run('busy', 50, Date.now() + 100)).rejects.toMatchObject({ code: 'overloaded' });
    expect(performance.now() - startedAt).toBeLessThan(50);
    await Promise.all(running);
  });

  it('runs what is more urgent first, whatever its deadline', async () => {
    const workers = start(1);
    const order: string[] = [];
    const first = workers.run('busy', 30, soon());
    const note = (name: string) => (value: unknown) => order.push(`${name} ${value}`);
    const later = workers.run('echo', 1, Date.now() + 3000, 1).then(note('prefetch'));
    const urgent = workers.run('echo', 2, Date.now() + 4000, 0).then(note('reader'));
    await Promise.all([first, later, urgent]);
    expect(order).toEqual(['reader 2', 'prefetch 1']);
  });

  it('does not keep a setting that a worker refused', async () => {
    const workers = start(1);
    await workers.broadcast('set', 'good', 'setting');
    await expect(workers.broadcast('fail', null, 'setting')).rejects.toMatchObject({ message: 'as told' });
    await expect(workers.run('die', null, soon())).rejects.toMatchObject({ code: 'unavailable' });
    await expect(workers.run('get', null, soon())).resolves.toBe('good');
  });

  it('tells workers in turn, so that one of two goes on with the jobs', async () => {
    const workers = start(2);
    await Promise.all([workers.run('echo', 1, soon()), workers.run('echo', 2, soon())]);
    const told = workers.broadcast('busy', 800, null, true);
    const available: number[] = [];
    for (let i = 0; i < 5; i++) {
      available.push(workers.available);
      await workers.run('echo', i, soon());
    }
    expect(available).toEqual([1, 1, 1, 1, 1]);
    expect(await told).toEqual(['done', 'done']);
    expect(workers.available).toBe(2);
  });

  it('sends background work to an idle worker only, and a job is not kept waiting for the worker', async () => {
    const workers = start(1);
    await workers.run('echo', 'warm', soon());
    const running = workers.run('busy', 50, soon());
    expect(workers.background('echo', 1)).toBeNull();
    await running;
    const work = workers.background('echo', 'in the background');
    await expect(workers.run('echo', 'a job', soon())).resolves.toBe('a job');
    expect(await work).toBe('in the background');
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
