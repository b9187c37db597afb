// What every StateStore and SessionStore must do. Run over each adapter by lmdb.test.ts and redis.test.ts.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HistoryEntry } from '../../src/contracts.ts';
import { deadlineIn } from '../../src/deadline.ts';
import { decodeEmbedding, encodeEmbedding } from '../../src/features/store/state-codec.ts';
import {
  type OnlineStore,
  openStateStore,
  type StateStoreOptions,
} from '../../src/features/store/state-store.ts';
import { packHashes } from '../../src/hashing.ts';
import { DIM, HISTORY_LIMIT, SEEN_LIMIT, SEEN_TTL_MS } from '../../src/vocabulary.ts';
import { freshFolder, soon, unique } from '../setup/test-servers.ts';

const TOWER = 'tower@1';

function entry(postId: string, change: Partial<HistoryEntry> = {}): HistoryEntry {
  return { postId, authorId: 'author', topic: 77, type: 'like', at: 1_000, dwellMs: 0, ...change };
}

function vectorOf(seed: number): Float32Array {
  return Float32Array.from({ length: DIM }, (_, i) => Math.sin(seed + i) / 6);
}

/** What 16 bits a component keep of a vector: within 1 ÷ 65534 of its largest component, held by the codec's test. */
function kept(vector: Float32Array): Float32Array | null {
  return decodeEmbedding(encodeEmbedding(vector));
}

/** `open` gives the options; called again, it opens a second store over the same data. */
export function stateStoreContract(options: (folder: string) => Partial<StateStoreOptions>): void {
  const folder = freshFolder();
  const open = (more: Partial<StateStoreOptions> = {}) =>
    openStateStore({ dataDir: folder.path, ...options(folder.path), ...more });
  let store: OnlineStore;

  beforeAll(async () => {
    store = await open();
  });
  afterAll(async () => {
    await store?.close();
    folder.remove();
  });

  describe('user state', () => {
    it('knows nothing of an unknown user', async () => {
      expect(await store.getState(unique('nobody'), TOWER, soon())).toBeNull();
    });

    it('gives back each part as stored, and leaves absent parts as they are', async () => {
      const userId = unique('user/😀 {u:x}');
      const user = { id: userId, createdAt: 7, languages: ['en'], topics: ['é', '"q"'], showSensitive: true };
      const edges = [
        { userId, kind: 'follow' as const, target: 'author 😀', createdAt: 1 },
        { userId, kind: 'mute_word' as const, target: 'word', createdAt: 2.5 },
      ];
      await store.putState(userId, { user }, soon());
      expect(await store.getState(userId, TOWER, soon())).toEqual({
        version: expect.any(Number),
        embedding: null,
        history: [],
        seen: new Uint32Array(0),
        user,
        edges: [],
      });
      const history = [entry('p 😀', { dwellMs: 12_000, at: 1_700_000_000_000, topic: 0 })];
      await store.putState(userId, { edges, history }, soon());
      await store.putState(userId, { embedding: { tower: TOWER, vector: vectorOf(1) } }, soon());
      await store.putState(userId, { seen: { postIds: ['p', 'q'], atMs: Date.now() } }, soon());
      expect(await store.getState(userId, TOWER, soon())).toEqual({
        version: expect.any(Number),
        embedding: kept(vectorOf(1)),
        history,
        seen: packHashes(['p', 'q']),
        user,
        edges,
      });
      await store.putState(userId, { edges: [] }, soon());
      expect((await store.getState(userId, TOWER, soon()))?.edges).toEqual([]);
    });

    it('keeps vectors of several towers apart', async () => {
      const userId = unique('user');
      await store.putState(userId, { embedding: { tower: 'a', vector: vectorOf(1) } }, soon());
      await store.putState(userId, { embedding: { tower: 'b', vector: vectorOf(2) } }, soon());
      expect((await store.getState(userId, 'a', soon()))?.embedding).toEqual(kept(vectorOf(1)));
      expect((await store.getState(userId, 'b', soon()))?.embedding).toEqual(kept(vectorOf(2)));
      expect((await store.getState(userId, 'c', soon()))?.embedding).toBeNull();
    });

    it('says of a vector that the history has changed since, until it is computed again', async () => {
      const userId = unique('user');
      const like = (postId: string) => ({
        postId,
        authorId: 'author',
        topic: 1,
        type: 'like' as const,
        at: 1,
        dwellMs: 0,
      });
      const lagging = async () =>
        Promise.all(
          ['a', 'b'].map(
            async (tower) => (await store.getState(userId, tower, soon()))?.embeddingLags === true,
          ),
        );
      const history = [like('first')];
      await store.putState(userId, { history, embedding: { tower: 'a', vector: vectorOf(1) } }, soon());
      await store.putState(userId, { embedding: { tower: 'b', vector: vectorOf(2) } }, soon());
      expect(await lagging()).toEqual([false, false]);
      await store.putState(userId, { history: [like('second')] }, soon());
      expect(await lagging()).toEqual([true, true]);
      await store.putState(userId, { embedding: { tower: 'a', vector: vectorOf(3) } }, soon());
      expect(await lagging()).toEqual([false, true]);
      // What is known already changes nothing.
      const seen = { postIds: ['second'], atMs: Date.now() };
      await store.putState(userId, { history: [like('second')], seen }, soon());
      expect(await lagging()).toEqual([false, true]);
    });

    it('keeps the vectors of two towers, so that the next is filled beside the one that serves', async () => {
      const userId = unique('user');
      for (const tower of ['a', 'b', 'a', 'c']) {
        await store.putState(userId, { embedding: { tower, vector: vectorOf(1) } }, soon());
      }
      const has = async (tower: string) => (await store.getState(userId, tower, soon()))?.embedding !== null;
      expect([await has('a'), await has('b'), await has('c')]).toEqual([true, false, true]);
    });

    it('fills users that are there already without losing what only they know', async () => {
      const prefix = unique('refill');
      const ids = Array.from({ length: 1_200 }, (_, i) => `${prefix}-${i}`);
      const now = Date.now();
      await store.putStates(
        ids.map((userId) => ({ userId, history: [entry('own', { at: 5 })] })),
        soon(),
      );
      await store.putState(ids[7], { seen: { postIds: ['served'], atMs: now } }, soon());
      const before = (await store.getState(ids[7], TOWER, soon()))!.version;
      await store.putStates(
        ids.map((userId) => ({
          userId,
          history: [entry('built', { at: 3 })],
          seen: { postIds: ['old'], atMs: now - 5_000 },
          embedding: { tower: TOWER, vector: vectorOf(3) },
        })),
        soon(),
      );
      const state = (await store.getState(ids[7], TOWER, soon()))!;
      expect(state.history.map((each) => each.postId)).toEqual(['own', 'built']);
      expect(state.seen).toEqual(packHashes(['old', 'served']));
      expect(state.version).toBeGreaterThan(before);
      expect((await store.getState(ids[1_199], TOWER, soon()))?.history).toHaveLength(2);
    });

    it('counts its version up when posts were only seen', async () => {
      const userId = unique('user');
      await store.putState(userId, { history: [entry('p')], user: { id: userId, createdAt: 1 } }, soon());
      const before = (await store.getState(userId, TOWER, soon()))!;
      await store.putState(userId, { seen: { postIds: ['x'], atMs: Date.now() } }, soon());
      const after = (await store.getState(userId, TOWER, soon()))!;
      expect(after.version).toBeGreaterThan(before.version);
      expect(after).toEqual({ ...before, version: after.version, seen: packHashes(['x']) });
    });

    it('counts its version up with every write, across an erasure too', async () => {
      const userId = unique('user');
      const versions: number[] = [];
      for (let i = 0; i < 3; i++) {
        await store.putState(userId, { history: [entry(`p${i}`)] }, soon());
        versions.push((await store.getState(userId, TOWER, soon()))!.version);
      }
      await store.eraseState(userId, soon());
      expect(await store.getState(userId, TOWER, soon())).toBeNull();
      await store.putState(userId, { history: [entry('p')] }, soon());
      versions.push((await store.getState(userId, TOWER, soon()))!.version);
      for (let i = 1; i < versions.length; i++) expect(versions[i]).toBeGreaterThanOrEqual(versions[i - 1]);
      expect(new Set(versions.slice(0, 3)).size).toBe(3);
    });

    it('merges history: newest first, one entry per (post, type), bounded, the same when repeated', async () => {
      const userId = unique('user');
      const first = [entry('a', { at: 10 }), entry('a', { at: 20, type: 'click' }), entry('b', { at: 15 })];
      for (let i = 0; i < 2; i++) await store.putState(userId, { history: first }, soon());
      const get = async () => (await store.getState(userId, TOWER, soon()))!.history;
      expect((await get()).map((each) => each.at)).toEqual([20, 15, 10]);
      await store.putState(userId, { history: [entry('a', { at: 5 }), entry('b', { at: 30 })] }, soon());
      expect((await get()).map((each) => [each.postId, each.type, each.at])).toEqual([
        ['b', 'like', 30],
        ['a', 'click', 20],
        ['a', 'like', 10],
      ]);
      await store.putState(userId, { forget: [{ postId: 'a', type: 'like' }] }, soon());
      expect((await get()).map((each) => each.postId)).toEqual(['b', 'a']);
      const many = Array.from({ length: HISTORY_LIMIT + 20 }, (_, i) => entry(`m${i}`, { at: 1_000 + i }));
      await store.putState(userId, { history: many }, soon());
      const kept = await get();
      expect(kept).toHaveLength(HISTORY_LIMIT);
      expect(kept[0].at).toBe(1_000 + HISTORY_LIMIT + 19);
      expect(kept[HISTORY_LIMIT - 1].at).toBe(1_020);
    });

    it('merges seen posts: newest last, each once, bounded, expired ones gone', async () => {
      const userId = unique('user');
      const get = async () => (await store.getState(userId, TOWER, soon()))!.seen;
      const now = Date.now();
      await store.putState(userId, { seen: { postIds: ['old'], atMs: now - SEEN_TTL_MS - 1000 } }, soon());
      await store.putState(userId, { seen: { postIds: ['a', 'b', 'a'], atMs: now - 60_000 } }, soon());
      await store.putState(userId, { seen: { postIds: ['c'], atMs: now } }, soon());
      await store.putState(userId, { seen: { postIds: ['a'], atMs: now } }, soon());
      expect(await get()).toEqual(packHashes(['b', 'c', 'a']));
      await store.putState(userId, { seen: { postIds: ['b'], atMs: now - 3_600_000 } }, soon());
      expect(await get()).toEqual(packHashes(['b', 'c', 'a']));
      const ids = Array.from({ length: SEEN_LIMIT + 10 }, (_, i) => `s${i}`);
      await store.putState(userId, { seen: { postIds: ids, atMs: now + 1_000 } }, soon());
      expect(await get()).toEqual(packHashes(ids.slice(10)));
    });

    it('loses nothing of concurrent patches from two processes’ stores', async () => {
      const other = await open();
      try {
        const userId = unique('user');
        const now = Date.now();
        await Promise.all(
          Array.from({ length: 40 }, (_, i) =>
            (i % 2 ? store : other).putState(
              userId,
              { seen: { postIds: [`s${i}`], atMs: now }, history: [entry(`h${i}`, { at: i })] },
              soon(),
            ),
          ),
        );
        const state = (await store.getState(userId, TOWER, soon()))!;
        expect(state.seen).toHaveLength(80);
        expect(state.history.map((each) => each.at)).toEqual(Array.from({ length: 40 }, (_, i) => 39 - i));
        expect((await other.getState(userId, TOWER, soon()))?.version).toBe(state.version);
      } finally {
        await other.close();
      }
    });

    it('writes many users at once, several patches of one user in order', async () => {
      const prefix = unique('bulk');
      const patches = Array.from({ length: 3_000 }, (_, i) => ({
        userId: `${prefix}-${i % 2_000}`,
        embedding: { tower: TOWER, vector: vectorOf(i) },
        history: [entry(`p${i}`)],
      }));
      await store.putStates(patches, soon());
      const twice = (await store.getState(`${prefix}-5`, TOWER, soon()))!;
      expect(twice.embedding).toEqual(kept(vectorOf(2_005)));
      expect(twice.history).toHaveLength(2);
      expect((await store.getState(`${prefix}-1999`, TOWER, soon()))?.embedding).toEqual(
        kept(vectorOf(1_999)),
      );
    });

    it('forgets a user some time after the last write', async () => {
      const brief = await open({ ttlMs: 300 });
      try {
        const userId = unique('brief');
        await brief.putState(userId, { history: [entry('p')] }, soon());
        expect((await brief.getState(userId, TOWER, soon()))?.history).toHaveLength(1);
        await new Promise((resolve) => setTimeout(resolve, 350));
        expect(await brief.getState(userId, TOWER, soon())).toBeNull();
        await brief.putState(userId, { seen: { postIds: ['x'], atMs: Date.now() } }, soon());
        expect((await brief.getState(userId, TOWER, soon()))?.history).toEqual([]);
      } finally {
        await brief.close();
      }
    });

    it('refuses bad input by field and keeps what was there', async () => {
      const userId = unique('user');
      await store.putState(userId, { history: [entry('p')] }, soon());
      const embedding = (vector: unknown) => ({
        embedding: { tower: TOWER, vector: vector as Float32Array },
      });
      const bad: [Parameters<OnlineStore['putState']>[1], string][] = [
        [embedding(new Float32Array(DIM - 1)), 'embedding.vector'],
        [embedding(new Float32Array(0)), 'embedding.vector'],
        [embedding(null), 'embedding.vector'],
        [embedding(new Float32Array(DIM).fill(Number.NaN)), 'embedding.vector'],
        [embedding(new Float32Array(DIM).fill(Number.POSITIVE_INFINITY)), 'embedding.vector'],
        [{ embedding: { tower: '', vector: vectorOf(1) } }, 'embedding.tower'],
        [{ embedding: { tower: 'x'.repeat(300), vector: vectorOf(1) } }, 'embedding.tower'],
        [{ history: [entry('p'), entry('')] }, 'history[1].postId'],
        [{ history: [entry('p', { type: 'love' as 'like' })] }, 'history[0].type'],
        [{ history: [entry('p', { at: Number.NaN })] }, 'history[0].at'],
        [{ seen: { postIds: ['x'], atMs: Number.NaN } }, 'seen.atMs'],
        [{ seen: { postIds: ['\ud800'], atMs: 1 } }, 'seen.postIds[0]'],
      ];
      for (const [patch, field] of bad) {
        const refusal = { code: 'invalid_input', fields: [{ field }] };
        await expect(store.putState(userId, patch, soon())).rejects.toMatchObject(refusal);
        await expect(store.putStates([{ ...patch, userId }], soon())).rejects.toMatchObject({
          code: 'invalid_input',
          fields: [{ field: `states[0].${field}` }],
        });
      }
      const refusal = { code: 'invalid_input', fields: [{ field: 'userId' }] };
      for (const id of ['', 'a\0', 'x'.repeat(10_000)]) {
        await expect(store.getState(id, TOWER, soon())).rejects.toMatchObject(refusal);
        await expect(store.putState(id, {}, soon())).rejects.toMatchObject(refusal);
      }
      expect((await store.getState(userId, TOWER, soon()))?.history).toEqual([entry('p')]);
    });

    it('gives up at once when no time is left', async () => {
      await expect(store.getState('u', TOWER, deadlineIn(0))).rejects.toMatchObject({ code: 'timeout' });
      await expect(store.putState('u', {}, deadlineIn(0))).rejects.toMatchObject({ code: 'timeout' });
    });
  });

  describe('sessions', () => {
    it('gives back the bytes until they expire', async () => {
      const key = unique('session');
      const bytes = Uint8Array.of(0, 255, 10, 13, 128);
      expect(await store.get(key, soon())).toBeNull();
      await store.set(key, bytes, 60_000, soon());
      expect(await store.get(key, soon())).toEqual(bytes);
      await store.set(key, new Uint8Array(0), 60_000, soon());
      expect(await store.get(key, soon())).toEqual(new Uint8Array(0));
      await store.set(key, bytes, 100, soon());
      await new Promise((resolve) => setTimeout(resolve, 150));
      expect(await store.get(key, soon())).toBeNull();
    });

    it('keeps sessions and user states of one name apart', async () => {
      const key = unique('both');
      await store.set(key, Uint8Array.of(1), 60_000, soon());
      expect(await store.getState(key, TOWER, soon())).toBeNull();
      await store.putState(key, { history: [entry('p')] }, soon());
      expect(await store.get(key, soon())).toEqual(Uint8Array.of(1));
    });
  });

  it('answers a ping while open', async () => {
    await store.ping(soon());
  });
}
