// The life of rankers in the composed service, with readers at work all the time: bad versions, swaps, trials that move
// on and trials that go back, experiments, and the routes that drive them. The long forms are in test/fault/models.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runBadModels } from '../fault/models/bad-model-fault.ts';
import { copyVersion, writeBadModel } from '../fault/models/bad-models.ts';
import { runIndexFaults } from '../fault/models/index-fault.ts';
import { type ModelService, startModelService, startReaders, until } from '../fault/models/model-service.ts';
import { runModelSwaps } from '../fault/models/model-swap-fault.ts';

const LONG = 240_000;

describe('models under load', { timeout: LONG }, () => {
  it('turns away one bad model of each kind, with its reason, and serves the old one', async () => {
    const report = await runBadModels(10);
    for (const { kind, detail, action, reason } of report.results) {
      expect(['refused', 'rolled_back'], `${kind} (${detail})`).toContain(action);
      expect(reason, kind).not.toBe('');
    }
    expect(report.failures).toEqual([]);
    const models = Object.keys(report.byModel).filter((model) => model.startsWith('ranker@'));
    expect(models).toEqual([report.served]);
    expect(report.served).toBe('ranker@1');
  });

  it('swaps models without a failed request, one version an answer and a feed', async () => {
    const report = await runModelSwaps(5);
    expect(report.failures).toEqual([]);
    expect(report.answers).toBeGreaterThan(20);
    expect(Object.keys(report.byModel).length).toBeGreaterThanOrEqual(3);
  });

  it('refuses bad indexes by reason and swaps good ones without a failed request', async () => {
    const report = await runIndexFaults(4);
    for (const { kind, reason } of report.refused) expect(reason, kind).not.toBe('');
    expect(report.failures).toEqual([]);
    expect(report.strangers).toEqual([]);
    expect(report.refused.map(({ kind }) => kind)).toContain('torn');
  });
});

describe('a trial', { timeout: LONG }, () => {
  let world: ModelService;
  const schedule = {
    shadowSampleShare: 1,
    shadowSamples: 10,
    canaryShares: [0.5],
    canarySlates: 15,
    minStageMs: 0,
    calibrationEngagements: 5,
  };

  beforeAll(async () => {
    // Two versions of equal weights, so that only chance can tell them apart; times are the machine's affair.
    const gates = { maxLatencyRatio: 20, maxLateShare: 1 };
    world = await startModelService({ mode: 'auto', rollout: { schedule, gates } });
  });

  afterAll(() => world.close());

  it('goes from the registry through shadow and canary to promotion, with nobody at the wheel', async () => {
    const readers = startReaders(world, { clients: 2, clicksPerHundred: 10 });
    await copyVersion(world.goodFolder, world.modelsDir, '2');
    expect(await until(async () => (await world.status()).serving.ranker === '2', 60_000)).toBe(true);
    await readers.stop();
    expect(readers.failures).toEqual([]);
    expect(readers.byModel.get('ranker@2+canary')).toBeGreaterThan(0);
    const actions = (await world.history()).map(({ action }) => action).reverse();
    expect(actions).toEqual(['shadow', 'canary', 'promoted']);
    expect(await world.status()).toMatchObject({ previous: '1', trial: null });
  });

  it('of the light ranker goes the same way beside it, by its shadow where it has nothing to do', async () => {
    const readers = startReaders(world, { clients: 2, pages: 1 });
    const { light } = (await world.status()).serving;
    const next = String(Number(light) + 1);
    await copyVersion(
      join(world.modelsDir, 'ranker-light', light ?? ''),
      world.modelsDir,
      next,
      'ranker-light',
    );
    expect(await until(async () => (await world.status()).serving.light === next, 60_000)).toBe(true);
    await readers.stop();
    expect(readers.failures).toEqual([]);
    const moves = (await world.history()).filter(({ name }) => name === 'ranker-light').reverse();
    expect(moves.map(({ version, action, by }) => [version, action, by])).toEqual([
      [next, 'shadow', 'auto'],
      [next, 'canary', 'auto'],
      [next, 'promoted', 'auto'],
    ]);
    expect((await world.status()).serving.ranker).toBe('2');
  });

  it('that an operator puts before readers at once goes back by itself when it ranks otherwise', async () => {
    await writeBadModel(world.goodFolder, world.modelsDir, '3', 'worse', 7);
    // In auto mode the newcomer is in shadow, and out of it, before anyone can stage it.
    const readers = startReaders(world, { clients: 2 });
    const isBack = async () => {
      const [{ version, action }] = await world.history();
      return version === '3' && action === 'rolled_back';
    };
    await until(isBack, 60_000);
    expect((await world.stage({ action: 'canary', version: '3', share: 0.5 })).status).toBe(200);
    await until(isBack, 60_000);
    await readers.stop();
    const [last, before] = await world.history();
    // Two readers can be enough before the answer to the operator is sent.
    expect(before).toMatchObject({ version: '3', action: 'canary', share: 0.5, by: 'operator' });
    expect(last).toMatchObject({ version: '3', action: 'rolled_back', by: 'auto' });
    expect(last.reason).toMatch(/rank_correlation|score_drift/);
    expect((await world.status()).versions).toContainEqual({ version: '3', refused: last.reason });
    const { payload } = await world.service.app.inject({ method: 'GET', url: '/metrics' });
    expect(payload).toMatch(/feedrank_model_stage\{name="ranker",version="2",stage="promoted"\} 1/);
    expect(payload).toMatch(
      /feedrank_model_rollbacks_total\{reason="(rank_correlation|score_drift)"\} [1-9]/,
    );
    expect((await world.feed('after')).model).toBe('ranker@2');
  });

  it('goes back to the version before when an operator says so, and the same user gets the same model', async () => {
    expect((await world.stage({ action: 'rollback', reason: 'readers complain' })).status).toBe(200);
    expect((await world.status()).serving.ranker).toBe('1');
    expect((await world.feed('someone')).model).toBe('ranker@1');
    expect((await world.history())[0]).toMatchObject({
      version: '2',
      reason: 'readers complain',
      by: 'operator',
    });
  });

  it.each([
    [400, { action: 'shadow' }, 'version'],
    [400, { action: 'canary', version: '2' }, 'share'],
    [400, { action: 'canary', version: '2', share: 0.9 }, 'share'],
    [400, { action: 'promote', version: '../1' }, 'version'],
    [400, { action: 'destroy', version: '2' }, 'action'],
    [404, { action: 'shadow', version: '99' }, 'ranker@99'],
  ])('move that cannot be made is refused with %i: %o', async (expected, body, named) => {
    const answer = await world.stage(body);
    expect(answer.status).toBe(expected);
    expect(JSON.stringify(answer.body)).toContain(named);
  });

  it('is for this machine only while the service is open', async () => {
    for (const remoteAddress of ['10.1.2.3', '::ffff:192.168.0.9']) {
      const answer = await world.service.app.inject({ method: 'GET', url: '/admin/models', remoteAddress });
      expect(answer.statusCode).toBe(403);
    }
    const here = await world.service.app.inject({
      method: 'GET',
      url: '/admin/models',
      remoteAddress: '::1',
    });
    expect(here.statusCode).toBe(200);
  });
});

describe('an experiment', { timeout: LONG }, () => {
  let world: ModelService;

  beforeAll(async () => {
    world = await startModelService({
      experiments: {
        name: 'first',
        arms: [
          { name: 'likes', share: 0.4, weights: { click: 0, like: 50 } },
          { name: 'next', share: 0.4, ranker: '2' },
        ],
      },
    });
    await copyVersion(world.goodFolder, world.modelsDir, '2');
  });

  afterAll(() => world.close());

  it('gives each user one arm, which the answer names and its scores show', async () => {
    expect(
      await until(async () => (await world.status()).experiments?.arms.every(({ open }) => open) === true),
    ).toBe(true);
    const models = new Map<string, string>();
    for (let i = 0; i < 30; i++) models.set(`user-${i}`, (await world.feed(`user-${i}`)).model);
    expect(new Set(models.values())).toEqual(new Set(['ranker@1', 'ranker@1+likes', 'ranker@2+next']));
    for (const [user, model] of [...models].slice(0, 5)) expect((await world.feed(user)).model).toBe(model);
    const [liker] = [...models].find(([, model]) => model === 'ranker@1+likes')!;
    const page = await world.feed(liker, 'limit=3&explain=1');
    const weights = Object.fromEntries(
      page.posts[0].explain!.heads.map(({ head, weight }) => [head, weight]),
    );
    expect(weights).toMatchObject({ click: 0, like: 50, share: 3 });
  });

  it('keeps its arms when the file becomes bad, and says why', async () => {
    writeFileSync(
      join(world.dataDir, 'experiments.json'),
      '{"name":"first","arms":[{"name":"x","share":2}]}',
    );
    expect(await until(async () => (await world.status()).problems.join().includes('share'))).toBe(true);
    expect((await world.status()).experiments?.arms).toHaveLength(2);
    expect(await until(async () => (await world.history())[0]?.kind === 'experiments')).toBe(true);
  });
});
