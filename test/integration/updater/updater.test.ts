// The updater against a real PostgreSQL and Redis: killed, replaced, its slot and its stream taken away.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DATABASE_URL, REDIS_URL, titleOf, unique } from '../../setup/test-servers.ts';
import { Traffic } from './traffic.ts';
import { UpdaterWorld } from './updater-world.ts';

const available = DATABASE_URL !== undefined && REDIS_URL !== undefined;
const title = titleOf(titleOf('the updater', DATABASE_URL, 'TEST_DATABASE'), REDIS_URL, 'TEST_REDIS');
/** 20 in the long run: `UPDATER_KILLS=20`. */
const KILLS = Number(process.env.UPDATER_KILLS ?? 3);

describe.skipIf(!available)(title, { timeout: 120_000 + KILLS * 10_000 }, () => {
  let world: UpdaterWorld;
  let traffic: Traffic;
  let tower: string;

  beforeAll(async () => {
    world = await UpdaterWorld.open();
    const { modelTower } = await import('./model-tower.ts');
    tower = await modelTower();
    traffic = new Traffic(world.sql, unique('kill'));
    await traffic.begin();
  });
  afterAll(() => world?.close());

  it('killed −9 again and again while events flow, leaves exactly the state of a full rebuild', async () => {
    let flowing = true;
    const flow = (async () => {
      while (flowing) await traffic.round();
    })();
    for (let i = 0; i < KILLS; i++) {
      const updater = await world.start();
      await updater.leads;
      await new Promise((resolve) => setTimeout(resolve, 300 + (i % 4) * 250));
      await updater.kill('SIGKILL');
    }
    await world.start();
    await new Promise((resolve) => setTimeout(resolve, 300));
    flowing = false;
    await flow;
    await world.settled();
    await world.expectStatesOfRebuild(traffic.users, tower);
    const counted = await world.redis.hgetall(world.keys.counters);
    const sum = Object.values(counted).reduce((total, n) => total + Number(n), 0);
    expect(sum).toBe(traffic.stored);
    expect(sum).toBeGreaterThan(KILLS * 50);
  });
});
