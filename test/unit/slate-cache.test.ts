import { describe, expect, it } from 'vitest';
import type { SlateRequest, SlateResult } from '../../src/api/app-context.ts';
import type { CacheOutcome } from '../../src/cache-outcome.ts';
import type { Change, PackedUser } from '../../src/contracts.ts';
import { deadlineIn } from '../../src/deadline.ts';
import { FeedrankError } from '../../src/errors.ts';
import { packHashes } from '../../src/hashing.ts';
import { isSameReader, SlateCache, type SlateMakings } from '../../src/slate-cache.ts';
import { packedUser } from './candidates/test-world.ts';

const IDS = Array.from({ length: 10 }, (_, i) => `p${i}`);
const makings: SlateMakings = {
  generation: 'g1',
  rules: 'r1',
  choice: { version: '1', arm: null, weights: null },
};
const soon = () => deadlineIn(5000);

function request(change: Partial<SlateRequest> = {}): SlateRequest {
  const base = {
    userId: 'u',
    slateSize: 10,
    exclude: new Uint32Array(0),
    explain: 0,
    explore: false,
  } as const;
  return { requestId: 'r', ...base, ...change };
}

function made(change: Partial<SlateResult> = {}): SlateResult {
  const posts = IDS.map((postId) => ({
    postId,
    score: 1,
    propensity: 1,
    similarity: 1,
    sources: [],
    probabilities: null,
  }));
  return {
    posts,
    degraded: [],
    stageMs: { rank: 1 },
    requestId: 'first',
    ...change,
  } as unknown as SlateResult;
}

function cacheOf(ttlMs = 60_000) {
  const outcomes: CacheOutcome[] = [];
  const cache = new SlateCache({ ttlMs, onRequest: (outcome) => outcomes.push(outcome) });
  let makes = 0;
  const ask = (
    user: PackedUser = packedUser(),
    change: Partial<SlateRequest> = {},
    making: Partial<SlateMakings> = {},
    make: () => Promise<SlateResult> = async () => made(),
  ) =>
    cache.slate(request(change), user, { ...makings, ...making }, soon(), () => {
      makes++;
      return make();
    });
  return { cache, ask, outcomes, makes: () => makes };
}

const idsOf = (slate: SlateResult) => slate.posts.map(({ postId }) => postId);

describe('the cache of slates', () => {
  it('gives what is left of a slate: never what was seen or excluded since', async () => {
    const { ask, outcomes } = cacheOf();
    expect(await ask()).toMatchObject({ cache: 'miss', requestId: 'first' });
    const seen = packHashes(['p0', 'p1', 'other']);
    const next = await ask(packedUser({ seen }), { requestId: 'second', exclude: packHashes(['p5']) });
    expect(next).toMatchObject({ cache: 'hit', requestId: 'second', stageMs: {} });
    expect(idsOf(next)).toEqual(['p2', 'p3', 'p4', 'p6', 'p7', 'p8', 'p9']);
    expect(outcomes).toEqual(['miss', 'hit']);
  });

  it('makes a new slate where less than half is left', async () => {
    const { ask, makes } = cacheOf();
    await ask();
    expect(await ask(packedUser({ seen: packHashes(IDS.slice(0, 5)) }))).toMatchObject({ cache: 'hit' });
    expect(await ask(packedUser({ seen: packHashes(IDS.slice(0, 6)) }))).toMatchObject({ cache: 'miss' });
    expect(makes()).toBe(2);
  });

  it('makes a new slate when anything but the seen posts is new', async () => {
    const { ask } = cacheOf();
    const other: [Partial<PackedUser>, Partial<SlateRequest>, Partial<SlateMakings>][] = [
      [{ blockedAuthors: packHashes(['a']) }, {}, {}],
      [{ historyKeys: packHashes(['p1']) }, {}, {}],
      [{ embedding: new Float32Array(64) }, {}, {}],
      [{ embeddingKind: 'cold' }, {}, {}],
      [{ showSensitive: true }, {}, {}],
      [{}, { quality: 0.5 }, {}],
      [{}, { slateSize: 9 }, {}],
      [{}, {}, { generation: 'g2' }],
      [{}, {}, { rules: 'r2' }],
      [{}, {}, { choice: { ...makings.choice, version: '2' } }],
      [{}, {}, { choice: { ...makings.choice, arm: 'canary' } }],
    ];
    for (const [user, change, making] of other) {
      await ask(packedUser({ embeddingKind: 'stored' }), {}, {});
      const next = await ask(packedUser({ embeddingKind: 'stored', ...user }), change, making);
      expect(next.cache, JSON.stringify([Object.keys(user), change, making])).toBe('miss');
    }
    expect(isSameReader(packedUser(), packedUser({ seen: packHashes(['x']) }))).toBe(true);
  });

  it('neither keeps nor gives slates that are explored, explained, or of a feed that goes on', async () => {
    const { ask, outcomes } = cacheOf();
    await ask();
    for (const change of [{ explore: true }, { explain: 1 as const }, { model: 'ranker@1' }]) {
      expect(await ask(packedUser(), change, {}, async () => made({ posts: [] }))).toMatchObject({
        posts: [],
      });
    }
    expect(await ask()).toMatchObject({ cache: 'hit' });
    expect(outcomes).toEqual(['miss', 'bypass', 'bypass', 'bypass', 'hit']);
  });

  it('keeps no degraded slate and no failure', async () => {
    const { ask } = cacheOf();
    await ask(packedUser(), {}, {}, async () => made({ degraded: ['ranker_late'] }));
    expect(await ask()).toMatchObject({ cache: 'miss' });
    const failing = cacheOf();
    const down = () => Promise.reject(new FeedrankError('overloaded', 'full'));
    await expect(failing.ask(packedUser(), {}, {}, down)).rejects.toMatchObject({ code: 'overloaded' });
    expect(await failing.ask()).toMatchObject({ cache: 'miss' });
  });

  it('makes one slate for requests that come at once, and another where the first fails', async () => {
    const { ask, makes } = cacheOf();
    const all = await Promise.all([ask(), ask(), ask()]);
    expect(all.map(({ cache }) => cache)).toEqual(['miss', 'joined', 'joined']);
    expect(makes()).toBe(1);
    const failing = cacheOf();
    const first = failing.ask(packedUser(), {}, {}, () =>
      Promise.reject(new FeedrankError('timeout', 'late')),
    );
    const second = failing.ask();
    await expect(first).rejects.toMatchObject({ code: 'timeout' });
    expect(await second).toMatchObject({ cache: 'miss' });
  });

  it('drops a user’s slate when a change names the user, or one of the authors that they follow posts', async () => {
    const follower = packedUser({ follows: packHashes(['x', 'friend']) });
    const edge = { userId: 'u', kind: 'block' as const, target: 'a', createdAt: 1 };
    const post = { id: 'p', authorId: 'friend', createdAt: 1 };
    const drops: [Change, CacheOutcome][] = [
      [{ kind: 'edge', edge, on: true }, 'miss'],
      [{ kind: 'event', event: { id: 'e', userId: 'u', postId: 'p', type: 'click', at: 1 } }, 'miss'],
      [{ kind: 'user', user: { id: 'u', createdAt: 1 } }, 'miss'],
      [{ kind: 'user_erased', userId: 'u' }, 'miss'],
      [{ kind: 'post', post }, 'miss'],
      [{ kind: 'post', post: { ...post, authorId: 'stranger' } }, 'hit'],
      [{ kind: 'edge', edge: { ...edge, userId: 'v' }, on: true }, 'hit'],
    ];
    for (const [change, outcome] of drops) {
      const { cache, ask } = cacheOf();
      await ask(follower);
      cache.onChange(change);
      expect((await ask(follower)).cache, JSON.stringify(change)).toBe(outcome);
    }
  });

  it('ends with its time, and is off at 0', async () => {
    const brief = cacheOf(1);
    await brief.ask();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await brief.ask()).toMatchObject({ cache: 'miss' });
    const off = cacheOf(0);
    await off.ask();
    expect(await off.ask()).toMatchObject({ cache: 'bypass' });
  });
});
