import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { openResilience } from '../../../src/composition/resilience.ts';
import { readConfig } from '../../../src/config.ts';
import { deadlineIn } from '../../../src/deadline.ts';
import { FeedrankError } from '../../../src/errors.ts';
import { guarded } from '../../../src/resilience.ts';

const down = () => Promise.reject(new FeedrankError('unavailable', 'connection refused'));

async function reading(registry: Registry, series: string): Promise<number | undefined> {
  const line = (await registry.metrics()).split('\n').find((text) => text.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.split(' ').at(-1));
}

describe('what compose wires to stay up', () => {
  it('shows an open breaker and hanging workers in health and metrics, with the reason', async () => {
    const registry = new Registry();
    const resilience = openResilience(readConfig({ FEED_WORKERS: '2' }), registry);
    const pool = { lost: 0, silentMs: 0 };
    resilience.watchPool(pool);
    expect(resilience.problems()).toEqual([]);
    expect(await reading(registry, 'feedrank_breaker_state{dependency="user store"}')).toBe(0);
    const state = guarded({ getState: down, ping: down }, resilience.policies.state);
    const read = state.getState as unknown as (id: string, tower: string, deadline: unknown) => Promise<void>;
    for (let i = 0; i < 8; i++) await read('u', 't', deadlineIn(1000)).catch(() => {});
    expect(resilience.problems()).toEqual(['user store is not asked: connection refused']);
    expect(await reading(registry, 'feedrank_breaker_state{dependency="user store"}')).toBe(2);
    const failed = 'feedrank_dependency_calls_total{dependency="user store",outcome="failed"}';
    expect(await reading(registry, failed)).toBeGreaterThanOrEqual(5);
    pool.lost = 1;
    resilience.onWorkerLost();
    expect(resilience.problems()).toContain('1 feed workers hang');
    expect(await reading(registry, 'feedrank_workers_hung')).toBe(1);
    expect(await reading(registry, 'feedrank_workers_hung_total')).toBe(1);
    resilience.close();
  });

  it('counts who was let in and who was not, and with what share of the candidates', async () => {
    const registry = new Registry();
    const resilience = openResilience(readConfig({ FEED_WORKERS: '1' }), registry);
    resilience.watchPool({ lost: 0, silentMs: 0 });
    const held = Promise.withResolvers<void>();
    const asked = Array.from({ length: 30 }, () =>
      resilience.admission.run('prefetch', () => held.promise).catch(() => {}),
    );
    expect(await reading(registry, 'feedrank_admission_in_flight{priority="prefetch"}')).toBe(12);
    const series = 'feedrank_admission_total{priority="prefetch",decision="refused"}';
    expect(await reading(registry, series)).toBe(18);
    expect(await reading(registry, 'feedrank_quality_factor_count')).toBe(12);
    expect(await reading(registry, 'feedrank_admission_limit')).toBe(24);
    held.resolve();
    await Promise.all(asked);
    resilience.close();
  });
});
