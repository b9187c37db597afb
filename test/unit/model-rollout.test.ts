// Two replicas' coordinators over one registry, without workers: a shelf in this thread stands for them.
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FeedAnswer, ServedPost } from '../../src/contracts.ts';
import { ExperimentsFile } from '../../src/experiments-file.ts';
import { compilePlan } from '../../src/features/feature-schema.ts';
import { ModelChoices } from '../../src/model-choice.ts';
import { ModelRollout, type ModelRolloutOptions } from '../../src/model-rollout.ts';
import { parseRolloutConfig } from '../../src/ranking/lifecycle/rollout-config.ts';
import { compareShadow } from '../../src/ranking/lifecycle/shadow-comparison.ts';
import { type RankerPlan, RankerShelf } from '../../src/ranking/ranker-shelf.ts';
import { DEFAULT_WEIGHTS } from '../../src/ranking/value-model.ts';
import { createRolloutMetrics } from '../../src/rollout-metrics.ts';
import { ServingModels } from '../../src/serving-models.ts';
import { VersionChecks } from '../../src/version-checks.ts';
import { HEADS } from '../../src/vocabulary.ts';
import { TINY_FEATURES, writeTinyModel } from './ranking/tiny-model.ts';

let dir: string;
let replicas: { rollout: ModelRollout; shelf: RankerShelf }[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'feedrank-rollout-'));
  replicas = [];
  await writeTinyModel(dir, { name: 'ranker-light' });
  await writeTinyModel(dir);
});

afterEach(async () => {
  for (const { rollout, shelf } of replicas) {
    await rollout.close();
    await shelf.apply({ serving: null, light: null, others: [] });
  }
  await rm(dir, { recursive: true });
});

async function replica(options: Partial<ModelRolloutOptions> = {}) {
  const shelf = new RankerShelf({ modelsDir: dir, provider: 'cpu' });
  const pool = {
    broadcast: async (_kind: string, plan: unknown) => [await shelf.apply(plan as RankerPlan)],
    background: () => null,
  };
  const models = new ServingModels(pool);
  const experiments = new ExperimentsFile(undefined);
  const metrics = createRolloutMetrics(new Registry());
  const choices: ModelChoices = new ModelChoices({
    models,
    experiments,
    weights: DEFAULT_WEIGHTS,
    pool,
    metrics,
    authorOf: () => null,
    onFailure: () => {},
  });
  const rollout = new ModelRollout({
    modelsDir: dir,
    dataDir: join(dir, 'data'),
    mode: 'manual',
    config: parseRolloutConfig({ schedule: { minStageMs: 0 } }),
    models,
    choices,
    checks: new VersionChecks(dir, { rows: 1000, budgetMs: 60_000 }),
    experiments,
    metrics,
    // The tests look when they want to.
    pollMs: 3_600_000,
    refusals: () => [],
    log: () => {},
    ...options,
  });
  await rollout.open();
  replicas.push({ rollout, shelf });
  return { rollout, choices, models };
}

/** An answer of the ladder after the main ranker gave NaN. */
const FAILED = {
  model: 'ranker-light@1',
  degraded: ['ranker_failed'],
  failures: ['ranker@2 gave NaN for click'],
  stageMs: {},
  counts: {},
} as unknown as FeedAnswer;

/** A request that both models rank alike. */
const agreeing = () =>
  compareShadow(
    { scores: Float32Array.of(1, 2, 3), probabilities: new Float32Array(3 * HEADS.length), msPerRow: 1 },
    { scores: Float32Array.of(1, 2, 3), probabilities: new Float32Array(3 * HEADS.length), msPerRow: 1 },
  );

describe('model rollout', () => {
  it('starts with the best version that opens, and records why a higher one does not', async () => {
    await writeFile(join(await writeTinyModel(dir, { version: '2' }), 'model.onnx'), 'torn');
    const { rollout, models } = await replica();
    expect(models.serving).toBe('1');
    expect((await rollout.history(10))[0]).toMatchObject({ version: '2', action: 'refused' });
    expect(rollout.status().versions[0].refused).toContain('model.onnx');
    const restarted = await replica();
    expect(restarted.models.serving).toBe('1');
    expect(restarted.rollout.status().versions[0].refused, 'the reason survives a restart').toContain(
      'model.onnx',
    );
  });

  it('notes what was refused of an index beside the data, once, and leaves the registry alone', async () => {
    const dataDir = join(dir, 'data');
    await mkdir(dataDir);
    const refusals = [{ kind: 'index' as const, name: 'index', version: 'v1', reason: 'torn' }];
    const { rollout } = await replica({ refusals: () => refusals });
    await rollout.check();
    await rollout.check();
    expect(await rollout.history(10)).toMatchObject([{ kind: 'index', version: 'v1', reason: 'torn' }]);
    expect(await readdir(dataDir)).toEqual(['history.jsonl']);
    expect((await readdir(dir)).sort()).toEqual(['data', 'ranker', 'ranker-light']);
  });

  it('checks what it starts with in auto mode, like any other version', async () => {
    const width = compilePlan(TINY_FEATURES).width;
    await writeTinyModel(dir, { version: '2', weights: new Float32Array(width * HEADS.length) });
    const { rollout, models } = await replica({ mode: 'auto' });
    expect(models.serving).toBe('1');
    expect((await rollout.history(1))[0].reason).toContain('gives every candidate the same probabilities');
  });

  it('starts without its state when that is damaged, and says so', async () => {
    await writeFile(join(dir, 'rollout.json'), '{"revision":');
    const { rollout, models } = await replica();
    expect(models.serving).toBe('1');
    expect(rollout.problems.join()).toContain('rollout.json');
  });

  it('does not take a newcomer for what is promoted, however high its number', async () => {
    const { rollout, models } = await replica();
    await writeTinyModel(dir, { version: '7' });
    await rollout.check();
    expect(models.serving).toBe('1');
    expect(rollout.status().versions).toEqual([{ version: '7', refused: null }]);
  });

  it('agrees with the other replicas of the registry', async () => {
    await writeTinyModel(dir, { version: '2' });
    await writeFile(join(dir, 'ranker', 'current'), '1\n');
    const [a, b] = [await replica(), await replica()];
    await a.rollout.move({ action: 'canary', version: '2', share: 0.3 });
    await b.rollout.check();
    const users = Array.from({ length: 200 }, (_, i) => `user-${i}`);
    const versions = (one: typeof a) =>
      users.map((user) => {
        const choice = one.choices.choose(user);
        choice.done();
        return `${choice.version}+${choice.arm}`;
      });
    expect(versions(b)).toEqual(versions(a));
    expect(new Set(versions(a))).toEqual(new Set(['1+null', '2+canary']));
    await b.rollout.move({ action: 'promote', version: '2' });
    await a.rollout.check();
    expect([a.models.serving, b.models.serving]).toEqual(['2', '2']);
    await a.rollout.move({ action: 'rollback', reason: 'no' });
    await b.rollout.check();
    expect([a.models.serving, b.models.serving]).toEqual(['1', '1']);
  });

  it('rolls a canary back when its answers fail, and refuses it from then on', async () => {
    await writeTinyModel(dir, { version: '2' });
    await writeFile(join(dir, 'ranker', 'current'), '1\n');
    const { rollout, choices } = await replica();
    await rollout.move({ action: 'canary', version: '2', share: 0.5 });
    for (let i = 0; i < 20; i++) {
      const choice = choices.choose(`user-${i}`);
      if (choice.group === 'canary') choices.answered(choice, FAILED);
      choice.done();
    }
    await rollout.check();
    expect(rollout.status()).toMatchObject({ trial: null, serving: { ranker: '1' } });
    expect((await rollout.history(1))[0].reason).toMatch(/errors.*gave NaN/);
    expect(choices.choose('user-1').version).toBe('1');
  });

  it('goes on with what it saw of a canary after a restart, and forgets it with its stage', async () => {
    await writeTinyModel(dir, { version: '2' });
    await writeFile(join(dir, 'ranker', 'current'), '1\n');
    const before = await replica();
    await before.rollout.move({ action: 'canary', version: '2', share: 0.5 });
    const answer = {
      model: 'ranker@2',
      counts: {},
      degraded: [],
      failures: [],
      stageMs: { encode: 2, rank: 3 },
    };
    const probabilities = Object.fromEntries(HEADS.map((head) => [head, 0.1])) as ServedPost['probabilities'];
    for (let i = 0; i < 60; i++) {
      const choice = before.choices.choose(`user-${i}`);
      before.choices.answered(choice, answer as unknown as FeedAnswer);
      choice.done();
      const model = choice.group === 'canary' ? 'ranker@2+canary' : 'ranker@1';
      const posts = ['a', 'b', `post ${i}`].map(
        (postId, position): ServedPost => ({
          postId,
          token: '',
          position,
          score: 1,
          propensity: 1,
          sources: ['nearest'],
          probabilities,
        }),
      );
      before.choices.served({ requestId: `request ${i}`, userId: `user-${i}`, model, posts });
    }
    const seen = before.choices.trial?.figures();
    expect(seen?.canary?.slates).toBeGreaterThan(10);
    expect(seen?.canary?.authorConcentration).toBeGreaterThan(0);
    await before.rollout.close();
    const after = await replica();
    await after.rollout.check();
    expect(after.choices.trial?.figures()).toEqual(seen);
    await after.rollout.move({ action: 'canary', version: '2', share: 0.3 });
    expect(after.choices.trial?.figures().canary?.slates).toBe(0);
    await after.rollout.close();
    for (const name of await readdir(join(dir, 'evidence')))
      await writeFile(join(dir, 'evidence', name), '{"torn');
    const warnings: string[] = [];
    const third = await replica({
      log: (level, _details, message) => level === 'warn' && warnings.push(message),
    });
    await third.rollout.check();
    expect(third.choices.trial?.figures().canary?.slates).toBe(0);
    expect(warnings).toContain('the evidence of a trial is not kept or not shared');
  });

  it('judges a canary by what all replicas saw, and the first of them to act decides', async () => {
    await writeTinyModel(dir, { version: '2' });
    await writeFile(join(dir, 'ranker', 'current'), '1\n');
    const schedule = { canaryShares: [0.5], canarySlates: 40, shadowSamples: 50, minStageMs: 0 };
    const config = parseRolloutConfig({ schedule, gates: { minEngagement: 0.001 } });
    const both = [await replica({ mode: 'auto', config }), await replica({ mode: 'auto', config })];
    await both[0].rollout.move({ action: 'canary', version: '2', share: 0.5 });
    await both[1].rollout.check();
    const answer = { model: '', counts: {}, degraded: [], failures: [], stageMs: { encode: 2, rank: 3 } };
    // Each replica alone sees too few feeds of both groups to decide.
    for (const [at, { choices, rollout }] of both.entries()) {
      for (let i = 0; i < 60; i++) {
        const userId = `user-${at}-${i}`;
        const choice = choices.choose(userId);
        choices.answered(choice, answer as unknown as FeedAnswer);
        choice.done();
        const model = choice.group === 'canary' ? 'ranker@2+canary' : 'ranker@1';
        choices.served({ requestId: userId, userId, model, posts: [] });
      }
      const { canary, control } = choices.trial?.figures() ?? {};
      expect(Math.min(canary?.slates ?? 0, control?.slates ?? 0)).toBeLessThan(40);
      for (let i = 0; i < 40; i++) choices.trial?.shadow.add(agreeing());
      await rollout.check();
      expect(rollout.status().trial?.version).toBe('2');
    }
    for (const { rollout } of both) await rollout.shareEvidence();
    await both[0].rollout.shareEvidence();
    const figures = both.map(({ choices }) => choices.trial?.figures());
    expect(figures[0]?.canary).toEqual(figures[1]?.canary);
    expect((figures[0]?.canary?.slates ?? 0) + (figures[0]?.control?.slates ?? 0)).toBe(120);
    await Promise.all(both.map(({ rollout }) => rollout.check()));
    await Promise.all(both.map(({ rollout }) => rollout.check()));
    expect(both.map(({ models }) => models.serving)).toEqual(['2', '2']);
    const moves = (await both[0].rollout.history(10)).map(({ action, by }) => `${action} ${by}`);
    expect(moves.filter((one) => one.startsWith('promoted'))).toEqual(['promoted auto']);
  });

  describe('a new light ranker', () => {
    const schedule = { canaryShares: [0.4], shadowSamples: 20, minStageMs: 0 };
    const config = parseRolloutConfig({ schedule });
    const actions = async ({ rollout }: Awaited<ReturnType<typeof replica>>) =>
      (await rollout.history(10))
        .filter(({ name }) => name === 'ranker-light')
        .map(({ version, action }) => `${version} ${action}`);
    async function onTrial() {
      const one = await replica({ mode: 'auto', config });
      await writeTinyModel(dir, { name: 'ranker-light', version: '2' });
      // Looked at twice, so that a copy that is under way is left alone.
      await one.rollout.check();
      await one.rollout.check();
      expect(one.rollout.status()).toMatchObject({
        serving: { light: '1' },
        lightTrial: { version: '2', stage: 'shadow' },
      });
      return one;
    }
    const lightOf = ({ choices }: { choices: ModelChoices }, userId: string) => {
      const choice = choices.choose(userId);
      choice.done();
      return choice.light ?? null;
    };
    const users = Array.from({ length: 200 }, (_, i) => `user-${i}`);

    it('goes through shadow and a sticky share of the users to everybody', async () => {
      const one = await onTrial();
      expect(users.map((user) => lightOf(one, user))).toEqual(users.map(() => null));
      for (let i = 0; i < 20; i++) one.choices.light.trial?.shadow.add({ ...agreeing(), topOverlap: 1 });
      await one.rollout.check();
      const canaries = users.filter((user) => lightOf(one, user) === '2');
      expect(canaries.length / users.length).toBeCloseTo(0.4, 0.5);
      for (let i = 0; i < 20; i++) one.choices.light.trial?.shadow.add({ ...agreeing(), topOverlap: 0.95 });
      await one.rollout.check();
      expect(one.rollout.status()).toMatchObject({ serving: { light: '2' }, lightTrial: null });
      expect(await actions(one)).toEqual(['2 promoted', '2 canary', '2 shadow']);
    });

    it('that is further from the main ranker than the one that serves goes back, for good', async () => {
      const one = await onTrial();
      for (let i = 0; i < 20; i++) one.choices.light.trial?.shadow.add({ ...agreeing(), topOverlap: 0.8 });
      await one.rollout.check();
      await one.rollout.check();
      expect(one.rollout.status()).toMatchObject({ serving: { light: '1' }, lightTrial: null });
      expect((await one.rollout.history(1))[0].reason).toMatch(/^agreement: -0\.2/);
      expect((await replica({ mode: 'auto', config })).models.light, 'also after a restart').toBe('1');
    });

    it('that fails where it has something to do goes back, whatever little that is', async () => {
      const one = await onTrial();
      for (let i = 0; i < 20; i++) one.choices.light.trial?.shadow.add({ ...agreeing(), topOverlap: 1 });
      await one.rollout.check();
      const fallback = { ...FAILED, counts: {}, degraded: ['ranker_late', 'light_ranker_failed'] };
      const asked = users.filter((user) => lightOf(one, user) === '2').slice(0, 3);
      for (const user of asked) {
        const choice = one.choices.choose(user);
        one.choices.answered(choice, fallback as unknown as FeedAnswer);
        choice.done();
      }
      await one.rollout.check();
      expect(one.rollout.status()).toMatchObject({ serving: { light: '1' }, lightTrial: null });
      expect(await actions(one)).toEqual(['2 rolled_back', '2 canary', '2 shadow']);
    });
  });

  it('goes back from a promoted version that fails on probation', async () => {
    await writeTinyModel(dir, { version: '2' });
    await writeFile(join(dir, 'ranker', 'current'), '1\n');
    const { rollout, choices, models } = await replica();
    await rollout.move({ action: 'promote', version: '2' });
    for (let i = 0; i < 5; i++) {
      const choice = choices.choose(`user-${i}`);
      choices.answered(choice, FAILED);
      choice.done();
    }
    await rollout.check();
    expect(models.serving).toBe('1');
    expect((await rollout.history(1))[0]).toMatchObject({ version: '2', action: 'rolled_back', by: 'auto' });
  });

  it('keeps a feed on the version that began it while that is open', async () => {
    await writeTinyModel(dir, { version: '2' });
    await writeFile(join(dir, 'ranker', 'current'), '1\n');
    const { rollout, choices } = await replica();
    await rollout.move({ action: 'promote', version: '2' });
    const chosen = (preferred?: string) => {
      const choice = choices.choose('reader', preferred);
      choice.done();
      return choice.version;
    };
    expect([chosen(), chosen('ranker@1'), chosen('ranker@9'), chosen('trending')]).toEqual([
      '2',
      '1',
      '2',
      '2',
    ]);
  });

  it('puts what served back when a version that cannot serve is promoted by hand', async () => {
    const { rollout, models } = await replica();
    await cp(join(dir, 'ranker', '1'), join(dir, 'ranker', '2'), { recursive: true });
    await writeFile(join(dir, 'ranker', 'current'), '2\n');
    await rollout.check();
    expect(models.serving).toBe('1');
    expect((await rollout.history(1))[0]).toMatchObject({
      version: '2',
      action: 'refused',
      reason: expect.stringContaining('its manifest is that of ranker@1'),
    });
    await expect(rollout.move({ action: 'promote', version: '2' })).rejects.toMatchObject({
      code: 'conflict',
    });
    await writeFile(join(dir, 'ranker', 'current'), '2\n');
    await rollout.check();
    expect((await readFile(join(dir, 'ranker', 'current'), 'utf8')).trim(), 'however often').toBe('1');
    expect((await replica()).models.serving).toBe('1');
  });
});
