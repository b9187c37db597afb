import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CacheOutcome } from '../../../../src/cache-outcome.ts';
import type { Change, UserState } from '../../../../src/contracts.ts';
import { deadlineIn } from '../../../../src/deadline.ts';
import { FeedrankError } from '../../../../src/errors.ts';
import { type OnlineStore, openStateStore } from '../../../../src/features/store/state-store.ts';
import { UserStateCache } from '../../../../src/features/store/user-state-cache.ts';
import { packHashes } from '../../../../src/hashing.ts';
import { freshFolder, soon } from '../../../setup/test-servers.ts';

const TOWER = 'tower@1';
const profile = { user: { id: 'u', createdAt: 1 } };

let folder: ReturnType<typeof freshFolder>;
let store: OnlineStore;
let reads: number;
/** Held by a test: reads wait for it. */
let gate: Promise<void>;
let outcomes: CacheOutcome[];

beforeEach(async () => {
  folder = freshFolder();
  reads = 0;
  gate = Promise.resolve();
  outcomes = [];
  store = await openStateStore({ dataDir: folder.path });
});
afterEach(async () => {
  await store.close();
  folder.remove();
});

function cacheOf(ttlMs = 60_000): UserStateCache {
  const watched = Object.create(store, {
    getState: {
      value: async (...args: Parameters<OnlineStore['getState']>) => {
        reads++;
        const state = await store.getState(...args);
        await gate;
        return state;
      },
    },
    putState: { value: (...args: Parameters<OnlineStore['putState']>) => store.putState(...args) },
    putStates: { value: (...args: Parameters<OnlineStore['putStates']>) => store.putStates(...args) },
    eraseState: { value: (...args: Parameters<OnlineStore['eraseState']>) => store.eraseState(...args) },
  }) as OnlineStore;
  return new UserStateCache({ store: watched, ttlMs, onRequest: (outcome) => outcomes.push(outcome) });
}

const seenBy = (state: UserState | null) => state?.seen.length;

describe('the cache of user states', () => {
  it('reads once for requests at once and after one another, whatever tower the later one names', async () => {
    await store.putState('u', profile, soon());
    const cache = cacheOf();
    await Promise.all([cache.getState('u', TOWER, soon()), cache.getState('u', TOWER, soon())]);
    await cache.getState('u', '', soon());
    expect(reads).toBe(1);
    expect(outcomes).toEqual(['miss', 'hit', 'hit']);
    await cache.getState('u', 'tower@2', soon());
    expect(reads).toBe(2);
  });

  it('sees every write that goes through it, also one that ran beside a read', async () => {
    await store.putState('u', profile, soon());
    const cache = cacheOf();
    await cache.getState('u', TOWER, soon());
    await cache.putState('u', { seen: { postIds: ['a'], atMs: Date.now() } }, soon());
    expect(seenBy(await cache.getState('u', TOWER, soon()))).toBe(2);
    let open = () => {};
    gate = new Promise((resolve) => {
      open = resolve;
    });
    cache.onChange({ kind: 'user', user: profile.user });
    const early = cache.getState('u', TOWER, soon());
    await expect.poll(() => reads).toBe(3);
    await cache.putState('u', { seen: { postIds: ['b'], atMs: Date.now() } }, soon());
    open();
    expect(seenBy(await early)).toBe(2);
    expect((await cache.getState('u', TOWER, soon()))?.seen).toEqual(packHashes(['a', 'b']));
    await cache.eraseState('u', soon());
    expect(await cache.getState('u', TOWER, soon())).toBeNull();
  });

  it('drops a user whom a change names, and is read past by what computes from a state', async () => {
    await store.putState('u', profile, soon());
    const cache = cacheOf();
    const edge = { userId: 'u', kind: 'block' as const, target: 'a', createdAt: 1 };
    const event = { id: 'e', userId: 'u', postId: 'p', type: 'like' as const, at: 1 };
    const changes: Change[] = [
      { kind: 'user', user: profile.user },
      { kind: 'edge', edge, on: true },
      { kind: 'event', event },
      { kind: 'user_erased', userId: 'u' },
    ];
    for (const change of changes) {
      await cache.getState('u', TOWER, soon());
      const before = reads;
      cache.onChange({ ...change });
      await cache.getState('u', TOWER, soon());
      expect(reads, change.kind).toBe(before + 1);
    }
    await store.putState('u', { seen: { postIds: ['elsewhere'], atMs: Date.now() } }, soon());
    expect(seenBy(await cache.getState('u', TOWER, soon()))).toBe(0);
    expect(seenBy(await cache.direct.getState('u', TOWER, soon()))).toBe(2);
    await cache.direct.putState('u', { history: [] }, soon());
    expect(seenBy(await cache.getState('u', TOWER, soon()))).toBe(2);
  });

  it('remembers no unknown user and no failure, and ends with its time', async () => {
    const cache = cacheOf();
    expect(await cache.getState('u', TOWER, soon())).toBeNull();
    await store.putState('u', profile, soon());
    expect(await cache.getState('u', TOWER, soon())).not.toBeNull();
    gate = Promise.reject(new FeedrankError('unavailable', 'down'));
    gate.catch(() => {});
    await expect(cache.getState('v', TOWER, soon())).rejects.toMatchObject({ code: 'unavailable' });
    gate = Promise.resolve();
    expect(await cache.getState('v', TOWER, soon())).toBeNull();
    const brief = cacheOf(1);
    await brief.getState('u', TOWER, soon());
    await new Promise((resolve) => setTimeout(resolve, 5));
    reads = 0;
    await brief.getState('u', TOWER, soon());
    expect(reads).toBe(1);
  });

  it('gives a patient request its own read where the one it waited for had no time', async () => {
    await store.putState('u', profile, soon());
    const cache = cacheOf();
    let open = () => {};
    gate = new Promise((resolve) => {
      open = resolve;
    });
    const hasty = cache.getState('u', TOWER, deadlineIn(0));
    const patient = cache.getState('u', TOWER, soon());
    await expect(hasty).rejects.toMatchObject({ code: 'timeout' });
    open();
    expect((await patient)?.user).toEqual(profile.user);
  });
});
