// Rules in the composed service, with readers at work: a harmful file goes back by itself, a harmless one to everybody.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RulesStatus } from '../../src/rules-status.ts';
import { type ModelService, startModelService, startReaders, until } from '../fault/models/model-service.ts';

const LONG = 120_000;

describe('a changed rules file', { timeout: LONG }, () => {
  let world: ModelService;
  const schedule = { shadowSampleShare: 0, canaryShares: [0.5], canarySlates: 15, minStageMs: 0 };
  const write = (rules: object) => writeFileSync(join(world.dataDir, 'rules.json'), JSON.stringify(rules));
  const status = async () => (await world.call('GET', '/admin/rules')).body as RulesStatus;

  beforeAll(async () => {
    // Times are the machine's affair here.
    const rules = { maxLatencyRatio: 20, maxLateShare: 1 };
    world = await startModelService({ mode: 'auto', rollout: { schedule, rules }, rules: {} });
    // Someone who writes more than others: by the rules in force they get two places in ten.
    const posts = Array.from({ length: 30 }, (_, i) => ({
      id: `loud-${i}`,
      authorId: 'author-7',
      createdAt: Date.now() - i * 60_000,
      title: `My view of the matter, part ${i}`,
      topic: 'music',
      language: 'en',
    }));
    expect((await world.call('POST', '/posts', { posts })).status).toBe(200);
  }, LONG);

  afterAll(() => world.close());

  it('that gives one author every place is rolled back by itself, with the reason', async () => {
    const { serving } = await status();
    const readers = startReaders(world, { clients: 2, pages: 1 });
    write({
      boosts: [{ name: 'mine', when: { authors: ['author-7'] }, multiply: 1000 }],
      authorCap: { perWindow: null, decay: 1, floor: 1 },
      network: { minAuthorDistance: 1 },
      diversity: { method: 'none' },
    });
    expect(await until(async () => (await status()).refused.length > 0, 25_000)).toBe(true);
    await readers.stop();
    expect(readers.failures).toEqual([]);
    const after = await status();
    expect(after).toMatchObject({ serving, trial: null });
    const [{ version, reason }] = after.refused;
    expect(reason).toMatch(/^(author_concentration|coverage): /);
    expect((await world.history(1))[0]).toMatchObject({
      kind: 'rules',
      version,
      action: 'rolled_back',
      by: 'auto',
      reason,
    });
    const { body } = await world.call('GET', '/health/ready');
    expect((body as { degraded: string[] }).degraded).toContainEqual(expect.stringContaining(reason));
    const { payload } = await world.service.app.inject({ method: 'GET', url: '/metrics' });
    expect(payload).toContain(`feedrank_rules_stage{version="${serving}",stage="promoted"} 1`);
  });

  it('that changes little is promoted by itself', async () => {
    const before = await status();
    const readers = startReaders(world, { clients: 2, pages: 1 });
    write({ freshSlots: { every: 9 } });
    const isPromoted = async () => (await status()).serving !== before.serving;
    expect(await until(isPromoted, 25_000)).toBe(true);
    await readers.stop();
    expect(readers.failures).toEqual([]);
    const { serving, file, problems } = await status();
    expect(file).toBe(serving);
    expect(file).not.toBe(before.file);
    expect(problems).toEqual([]);
    expect((await world.history(2)).map(({ version, action }) => [version, action])).toEqual([
      [serving, 'promoted'],
      [serving, 'canary'],
    ]);
  });

  it('that an operator promotes is for everybody at once, and goes back when they say so', async () => {
    const { serving } = await status();
    write({ pins: [{ postId: 'post-200', position: 0 }] });
    expect(await until(async () => (await status()).trial !== null)).toBe(true);
    const promoted = await world.call('POST', '/admin/rules', { action: 'promote', reason: 'a campaign' });
    expect([promoted.status, promoted.body]).toMatchObject([200, { previous: serving, trial: null }]);
    for (const user of ['one', 'two', 'three', 'four'])
      expect((await world.feed(user)).posts[0].id).toBe('post-200');
    const back = await world.call('POST', '/admin/rules', { action: 'rollback', reason: 'it is over' });
    expect([back.status, back.body]).toMatchObject([200, { serving, trial: null }]);
    expect((await world.feed('five')).posts[0].id).not.toBe('post-200');
    expect((await world.call('POST', '/admin/rules', { action: 'rollback' })).status).toBe(409);
    expect((await world.call('POST', '/admin/rules', { action: 'shadow' })).status).toBe(400);
  });
});
