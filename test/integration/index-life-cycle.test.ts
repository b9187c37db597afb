// Index versions in the composed service, with readers at work: one whose vectors are other posts' goes back by itself,
// though its files are whole and its search finds what it must; a good one goes to everybody.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildIndex, changeVectors, copyIndex, publishIndex, served } from '../fault/models/index-fault.ts';
import { type ModelService, startModelService, startReaders, until } from '../fault/models/model-service.ts';

const LONG = 120_000;
const DIM = 64;

describe('a published index', { timeout: LONG }, () => {
  let world: ModelService;
  let first: string;
  const schedule = {
    shadowSampleShare: 1,
    shadowSamples: 15,
    canaryShares: [0.3, 0.5],
    canarySlates: 10,
    minStageMs: 0,
  };
  const history = async () =>
    (await world.history(100))
      .filter(({ kind }) => kind === 'index')
      .map(({ version, action, share }) => [version, action, share]);

  beforeAll(async () => {
    // Times are the machine's affair here, and few readers differ by chance.
    const index = {
      maxLatencyRatio: 50,
      maxOutOfNetworkChange: 1,
      minCoverage: 0.1,
      maxAuthorConcentration: 5,
    };
    const environment = { CANDIDATES: '50' };
    world = await startModelService({ mode: 'auto', rollout: { schedule, index }, posts: 400, environment });
    first = await buildIndex(world);
    await served(world, first);
  }, LONG);

  afterAll(() => world.close());

  it('serves at once where none served before it', async () => {
    expect(await until(async () => (await history()).length > 0)).toBe(true);
    expect(await history()).toEqual([[first, 'promoted', undefined]]);
  });

  it('with the vectors of other posts is whole and finds what it must, and is rolled back in shadow', async () => {
    const version = copyIndex(world, first, 'v20990101T000000000Z-abcdef');
    changeVectors(join(world.dataDir, 'index', version), (vectors) => {
      const half = (vectors.length / DIM) >> 1;
      const moved = vectors.slice(0, half * DIM);
      vectors.copyWithin(0, half * DIM, 2 * half * DIM);
      vectors.set(moved, half * DIM);
    });
    const strangers: string[] = [];
    const readers = startReaders(world, {
      clients: 2,
      pages: 1,
      check: ({ index }) => {
        if (index !== first) strangers.push(index);
        return null;
      },
    });
    publishIndex(world, version);
    const isOver = async () => (await history())[0][1] === 'rolled_back';
    expect(await until(isOver, 30_000)).toBe(true);
    await readers.stop();
    expect(readers.failures).toEqual([]);
    expect(strangers).toEqual([]);
    const [entry] = await world.history(1);
    expect(entry).toMatchObject({ kind: 'index', version, by: 'auto' });
    expect(entry.reason).toMatch(/^(overlap|similarity_drift): /);
    expect(world.service.generations).toMatchObject({ current: { id: first }, trial: null });
    const { body } = await world.call('GET', '/health/ready');
    expect((body as { degraded: string[] }).degraded).toContainEqual(
      expect.stringContaining(`index ${version}`),
    );
  });

  it('that is sound answers a share of the users, then everybody, and no request fails', async () => {
    const version = copyIndex(world, first, 'v20990102T000000000Z-abcdef');
    const seen = new Set<string>();
    const readers = startReaders(world, {
      clients: 2,
      pages: 2,
      check: ({ index }) => {
        seen.add(index);
        return index === first || index === version ? null : `an answer of ${index}`;
      },
    });
    publishIndex(world, version);
    const onCanary = () => world.service.generations.trial === version && seen.has(version);
    expect(await until(onCanary, 30_000)).toBe(true);
    expect(world.service.generations.current.id).toBe(first);
    const { payload } = await world.service.app.inject({ method: 'GET', url: '/metrics' });
    expect(payload).toContain(`feedrank_index_stage{version="${version}",stage="canary"} 1`);
    await served(world, version);
    await readers.stop();
    expect(readers.failures).toEqual([]);
    expect((await history()).slice(0, 4)).toEqual([
      [version, 'promoted', undefined],
      [version, 'canary', 0.5],
      [version, 'canary', 0.3],
      [version, 'shadow', undefined],
    ]);
    const inUse = readFileSync(join(world.dataDir, 'index', 'in-use'), 'utf8')
      .trim()
      .split('\n');
    expect(inUse).toEqual([version, first]);
    // What an operator publishes again is the way back, at once.
    publishIndex(world, first);
    expect(await until(() => world.service.generations.current.id === first)).toBe(true);
    expect((await world.feed('someone')).index).toBe(first);
  });
});
