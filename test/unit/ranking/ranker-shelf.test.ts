import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { compilePlan } from '../../../src/features/feature-schema.ts';
import type { RankerSource } from '../../../src/ranking/model-registry.ts';
import type { OnnxRanker } from '../../../src/ranking/onnx-ranker.ts';
import { type RankerPlan, RankerShelf } from '../../../src/ranking/ranker-shelf.ts';
import { ValueModel } from '../../../src/ranking/value-model.ts';
import { HEADS } from '../../../src/vocabulary.ts';
import { CANDIDATES, CATALOGUE, inTime, QUERY } from './ranking-world.ts';
import { TINY_FEATURES, writeTinyModel } from './tiny-model.ts';

const VALUE = new ValueModel();
const NOTHING: RankerPlan = { serving: null, light: null, others: [] };
let dir: string;
let shelves: RankerShelf[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'feedrank-shelf-'));
  shelves = [];
});

afterEach(async () => {
  for (const shelf of shelves) await shelf.apply(NOTHING);
  await rm(dir, { recursive: true });
});

function shelfOf(source: Partial<RankerSource> = {}): RankerShelf {
  const shelf = new RankerShelf({ modelsDir: dir, provider: 'cpu', ...source });
  shelves.push(shelf);
  return shelf;
}

async function rank(shelf: RankerShelf, version?: string, light?: string) {
  const lease = shelf.lease(version, light);
  const outcome = await lease.ladder.rank(QUERY, CATALOGUE, CANDIDATES, inTime(), VALUE);
  lease.release();
  return outcome;
}

describe('ranker shelf', () => {
  it('ranks by retrieval where no model is open', async () => {
    const outcome = await rank(shelfOf());
    expect(outcome.ranked.model).toBe('retrieval');
    expect(outcome.degraded).toEqual(['ranker_missing', 'light_ranker_missing']);
  });

  it('serves the light model when the main one is corrupt, and says why', async () => {
    await writeFile(join(await writeTinyModel(dir), 'model.onnx'), 'not a model');
    await writeTinyModel(dir, { name: 'ranker-light' });
    const shelf = shelfOf();
    const report = await shelf.apply({ serving: '1', light: '1', others: [] });
    expect(report).toMatchObject({ open: [], light: '1', models: ['ranker-light@1 on cpu'] });
    expect(report.refused).toMatchObject([{ name: 'ranker', version: '1' }]);
    expect(report.refused[0].reason).toContain('model.onnx');
    expect((await rank(shelf)).ranked.model).toBe('ranker-light@1');
  });

  it('falls back to the light version that a request names, while it is on trial beside the one that serves', async () => {
    for (const version of ['1', '2']) await writeTinyModel(dir, { name: 'ranker-light', version });
    const shelf = shelfOf();
    const made = async (light?: string) => (await rank(shelf, undefined, light)).ranked.model;
    await shelf.apply({ serving: null, light: '1', lightTrial: '2', others: [] });
    expect([await made(), await made('2'), await made('9')]).toEqual(
      ['1', '2', '1'].map((version) => `ranker-light@${version}`),
    );
    await writeFile(
      join(await writeTinyModel(dir, { name: 'ranker-light', version: '3' }), 'model.onnx'),
      'torn',
    );
    const { refused } = await shelf.apply({ serving: null, light: '2', lightTrial: '3', others: [] });
    expect(refused).toMatchObject([{ name: 'ranker-light', version: '3' }]);
    expect([await made(), await made('1'), await made('3')]).toEqual(Array(3).fill('ranker-light@2'));
  });

  it('ranks each request by the version it names, several at once', async () => {
    for (const version of ['1', '2', '3']) await writeTinyModel(dir, { version });
    const shelf = shelfOf();
    const report = await shelf.apply({ serving: '1', light: null, others: ['2', '3'] });
    expect(report.open.sort()).toEqual(['1', '2', '3']);
    const models = await Promise.all(['3', '2', '1', undefined].map((version) => rank(shelf, version)));
    expect(models.map(({ ranked }) => ranked.model)).toEqual([
      'ranker@3',
      'ranker@2',
      'ranker@1',
      'ranker@1',
    ]);
  });

  it('ranks by what serves when the version named is gone', async () => {
    for (const version of ['1', '2']) await writeTinyModel(dir, { version });
    const shelf = shelfOf();
    await shelf.apply({ serving: '1', light: null, others: ['2'] });
    await shelf.apply({ serving: '1', light: null, others: [] });
    expect((await rank(shelf, '2')).ranked.model).toBe('ranker@1');
  });

  it('keeps a version that a request holds until the request is done', async () => {
    for (const version of ['1', '2']) await writeTinyModel(dir, { version });
    const shelf = shelfOf();
    await shelf.apply({ serving: '1', light: null, others: [] });
    const lease = shelf.lease();
    expect(lease.version).toBe('1');
    await shelf.apply({ serving: '2', light: null, others: [] });
    const { ranked, degraded } = await lease.ladder.rank(QUERY, CATALOGUE, CANDIDATES, inTime(), VALUE);
    expect([ranked.model, degraded]).toEqual(['ranker@1', []]);
    lease.release();
    lease.release();
    expect((await rank(shelf)).ranked.model).toBe('ranker@2');
  });

  it('lets the light model go first as the main one’s manifest says, or as configured', async () => {
    await writeTinyModel(dir, { preRank: 100 });
    await writeTinyModel(dir, { version: '2' });
    await writeTinyModel(dir, { name: 'ranker-light' });
    for (const [preRank, version, kept] of [
      [undefined, '1', 100],
      [undefined, '2', undefined],
      [0, '1', undefined],
      [50, '2', 50],
    ] as const) {
      const shelf = shelfOf({ preRank });
      await shelf.apply({ serving: '1', light: '1', others: ['2'] });
      const { ranked } = await rank(shelf, version);
      expect(ranked.preRanked?.kept).toBe(kept);
      expect(ranked.size).toBe(CANDIDATES.size);
    }
  });

  it('lends a model by its key, and keeps it open until it is given back', async () => {
    for (const version of ['1', '2']) await writeTinyModel(dir, { version });
    const shelf = shelfOf();
    await shelf.apply({ serving: '1', light: null, others: [] });
    const lease = shelf.lease();
    const key = (lease.ladder.models.main as OnnxRanker).shareKey;
    lease.release();
    const lent = shelf.lend(key)!;
    expect(shelf.lend(key + 1)).toBeNull();
    await shelf.apply({ serving: '2', light: null, others: [] });
    expect(shelf.lend(key)).toBeNull();
    const { width } = compilePlan(TINY_FEATURES);
    expect(await lent.run(new Float32Array(3 * width), 3, null)).toHaveLength(3 * HEADS.length);
    lent.release();
  });

  it('goes on with what serves when the next version cannot be opened', async () => {
    await writeTinyModel(dir, { version: '1' });
    await writeTinyModel(dir, { version: '2', golden: 0.123 });
    const shelf = shelfOf();
    await shelf.apply({ serving: '1', light: null, others: [] });
    const report = await shelf.apply({ serving: '2', light: null, others: [] });
    expect(report.refused).toMatchObject([
      { version: '2', reason: expect.stringContaining('golden output') },
    ]);
    expect(report.open).toEqual(['1']);
    expect((await rank(shelf)).ranked.model).toBe('ranker@1');
  });

  it('refuses a version that fails on real posts', async () => {
    for (const version of ['1', '2']) await writeTinyModel(dir, { version });
    const shelf = shelfOf();
    await shelf.apply({ serving: '1', light: null, others: [] });
    const report = await shelf.apply({ serving: '1', light: null, others: ['2'] }, async (version) => {
      throw new Error(`${version} gave NaN`);
    });
    expect(report.refused).toEqual([{ name: 'ranker', version: '2', reason: '2 gave NaN' }]);
    expect(report.open).toEqual(['1']);
  });

  it('falls down the ladder when the main model gives NaN', async () => {
    await writeTinyModel(dir, { weights: new Float32Array(12 * 6).fill(Number.NaN) });
    await writeTinyModel(dir, { name: 'ranker-light' });
    const shelf = shelfOf();
    await shelf.apply({ serving: '1', light: '1', others: [] });
    const { ranked, degraded } = await rank(shelf);
    expect([ranked.model, degraded]).toEqual(['ranker-light@1', ['ranker_failed']]);
  });

  it('names a provider that is missing and serves on the CPU', async () => {
    await writeTinyModel(dir);
    await writeTinyModel(dir, { name: 'ranker-light' });
    const { models, problems } = await shelfOf({ provider: 'cuda' }).apply({
      serving: '1',
      light: '1',
      others: [],
    });
    if (models[0] === 'ranker@1 on cuda') console.log('skipped: this machine has the CUDA provider');
    else {
      expect(models).toEqual(['ranker@1 on cpu', 'ranker-light@1 on cpu']);
      expect(problems).toHaveLength(1);
      expect(problems[0]).toMatch(/^execution provider cuda has no device for ranker@1/);
    }
  });

  it('serves a ranker of another post space with a warning, unless it reads single coordinates', async () => {
    await writeTinyModel(dir, { tower: 'post-tower@1' });
    const features = [...TINY_FEATURES, 'hadamard@1'];
    await writeTinyModel(dir, { name: 'ranker-light', tower: 'post-tower@1', features });
    const shelf = shelfOf({ tower: 'post-tower@2' });
    const { models, problems, refused } = await shelf.apply({ serving: '1', light: '1', others: [] });
    expect(models).toEqual(['ranker@1 on cpu']);
    expect(problems[0]).toContain('train it again');
    expect(refused).toMatchObject([{ name: 'ranker-light', reason: expect.stringContaining('not served') }]);
  });
});
