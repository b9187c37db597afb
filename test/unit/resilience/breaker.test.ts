import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FeedrankError } from '../../../src/errors.ts';
import { Breaker } from '../../../src/resilience/breaker.ts';

const down = () => Promise.reject(new FeedrankError('unavailable', 'connection refused'));
const up = async () => 'answer';

let breaker: Breaker;
let probes: number;
let isBack: boolean;

beforeEach(() => {
  vi.useFakeTimers();
  probes = 0;
  isBack = false;
  breaker = new Breaker({
    dependency: 'store',
    probe: async () => {
      probes++;
      if (!isBack) await down();
    },
    isOutage: (error) => error instanceof FeedrankError && error.code === 'unavailable',
  });
});
afterEach(() => {
  breaker.close();
  vi.useRealTimers();
});

async function breakIt(): Promise<void> {
  for (let i = 0; i < 5; i++) await breaker.run(down).catch(() => {});
}

describe('Breaker', () => {
  it('opens after five failures in a row and then refuses without a call, with the reason at hand', async () => {
    await breakIt();
    const work = vi.fn(up);
    await expect(breaker.run(work)).rejects.toMatchObject({ code: 'unavailable', retryAfterSeconds: 1 });
    expect(work).not.toHaveBeenCalled();
    expect(breaker.state).toBe('open');
    expect(breaker.reason).toBe('connection refused');
  });

  it('stays closed while failures are fewer than half and never five in a row', async () => {
    for (let i = 0; i < 200; i++) await breaker.run(i % 5 < 2 ? down : up).catch(() => {});
    expect(breaker.state).toBe('closed');
  });

  it('opens when more than half of the calls fail, though never five in a row', async () => {
    for (let i = 0; i < 60; i++) await breaker.run(i % 5 < 4 ? down : up).catch(() => {});
    expect(breaker.state).toBe('open');
  });

  it('does not count what says nothing of the dependency', async () => {
    const refused = () => Promise.reject(new FeedrankError('invalid_input', 'bad key'));
    for (let i = 0; i < 100; i++) await breaker.run(refused).catch(() => {});
    expect(breaker.state).toBe('closed');
  });

  it('closes by its own probe, without any request, within two seconds of the return', async () => {
    await breakIt();
    await vi.advanceTimersByTimeAsync(30_000);
    expect(breaker.state).toBe('open');
    isBack = true;
    await vi.advanceTimersByTimeAsync(2000);
    expect(breaker.state).toBe('closed');
    expect(breaker.reason).toBe('');
    await expect(breaker.run(up)).resolves.toBe('answer');
  });

  it('probes at jittered times, soon at first, later at least every second and at most every half', async () => {
    await breakIt();
    await vi.advanceTimersByTimeAsync(250);
    expect(probes).toBe(1);
    await vi.advanceTimersByTimeAsync(10_000);
    const before = probes;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(probes - before).toBeGreaterThanOrEqual(60);
    expect(probes - before).toBeLessThanOrEqual(121);
  });

  it('lets nobody wait for a probe that hangs: requests are refused at once meanwhile', async () => {
    breaker.close();
    const hanging = new Breaker({
      dependency: 'store',
      probe: () => new Promise(() => {}),
      isOutage: () => true,
    });
    for (let i = 0; i < 5; i++) await hanging.run(down).catch(() => {});
    await vi.advanceTimersByTimeAsync(260);
    expect(hanging.state).toBe('half_open');
    await expect(hanging.run(up)).rejects.toMatchObject({ code: 'unavailable' });
    // The probe has a deadline of its own, and the next one comes.
    await vi.advanceTimersByTimeAsync(500);
    expect(hanging.state).toBe('open');
    hanging.close();
  });

  it.each([1, 60, 3600])(
    'is closed within two seconds of the return of a dependency that hung for %i s, without any request',
    async (seconds) => {
      breaker.close();
      const stopped = new Breaker({
        dependency: 'store',
        probe: () => (isBack ? Promise.resolve() : new Promise(() => {})),
        isOutage: () => true,
      });
      for (let i = 0; i < 5; i++) await stopped.run(down).catch(() => {});
      await vi.advanceTimersByTimeAsync(seconds * 1000);
      expect(stopped.state).not.toBe('closed');
      isBack = true;
      await vi.advanceTimersByTimeAsync(2000);
      expect(stopped.state).toBe('closed');
      stopped.close();
    },
  );

  it('closes again also when the wall clock was set back or forward by an hour meanwhile', async () => {
    for (const jumpMs of [-3_600_000, 3_600_000]) {
      isBack = false;
      await breakIt();
      expect(breaker.state).toBe('open');
      vi.setSystemTime(Date.now() + jumpMs);
      isBack = true;
      await vi.advanceTimersByTimeAsync(2000);
      expect(breaker.state).toBe('closed');
    }
  });

  it('ignores failures of calls that began before it opened', async () => {
    let fail: (error: Error) => void = () => {};
    const slow = breaker.run(() => new Promise((_, reject) => (fail = reject)));
    await breakIt();
    isBack = true;
    await vi.advanceTimersByTimeAsync(250);
    expect(breaker.state).toBe('closed');
    fail(new FeedrankError('unavailable', 'long ago'));
    await slow.catch(() => {});
    expect(breaker.state).toBe('closed');
  });
});
