import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UserHistories } from '../../scripts/build-index/user-histories.ts';
import { writeUsers } from '../../scripts/build-index/write-users.ts';
import type { PostTable } from '../../src/candidates/index/post-table.ts';
import type { EngagementEvent, Post, StateStore, User } from '../../src/contracts.ts';
import { deadlineIn } from '../../src/deadline.ts';
import { FeedrankError } from '../../src/errors.ts';
import { openStateStore } from '../../src/features/store/state-store.ts';
import { hash32, packHashes } from '../../src/hashing.ts';
import { type HydrateContext, historyFrom, UserHydrator } from '../../src/hydrate.ts';
import { UserEmbedder, type VectorLookup } from '../../src/user-embedder.ts';
import { UNDATED } from '../../src/vocabulary.ts';

const TOWER = 'post-tower@1';
const DIM = 64;

function axis(at: number): Float32Array {
  const vector = new Float32Array(DIM);
  vector[at] = 1;
  return vector;
}

/** A catalogue of one post, whatever its key. */
const lookup: VectorLookup = { dim: DIM, vectors: axis(3), rowOf: () => 0 };

const post: Post = { id: 'p', authorId: 'a', createdAt: 1, topic: 'cats' };
const like: EngagementEvent = { id: 'e', userId: 'u', postId: 'p', type: 'like', at: 1000 };

let dir: string;
let store: Awaited<ReturnType<typeof openStateStore>>;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'feedrank-hydrate-'));
  store = await openStateStore({ dataDir: dir });
});

afterAll(async () => {
  await store.close();
  rmSync(dir, { recursive: true, force: true });
});

function hydratorOf(
  over: Partial<HydrateContext> & {
    embedUsers?: () => Promise<Float32Array>;
    sql?: { user?: User; events?: EngagementEvent[] };
  } = {},
) {
  let sqlReads = 0;
  const state = over.state ?? store;
  const embedder = new UserEmbedder({
    state,
    tower: TOWER,
    lookup: () => lookup,
    embedUsers: over.embedUsers ?? (async () => axis(3)),
  });
  const hydrator = new UserHydrator({
    state,
    users: {
      getUser: async () => {
        sqlReads++;
        return over.sql?.user ? { user: over.sql.user, edges: [] } : null;
      },
    },
    events: { recentEvents: async () => over.sql?.events ?? [] },
    posts: { getPosts: async (ids) => ids.map(() => post) },
    embedder,
    tower: TOWER,
    coldStart: over.coldStart ?? (async () => axis(0)),
    coldVector: axis(0),
    embeddingWaitMs: over.embeddingWaitMs ?? 2000,
    ...('users' in over ? { users: over.users } : {}),
  } as HydrateContext);
  return { hydrator, embedder, sqlReads: () => sqlReads };
}

const broken: StateStore = {
  getState: async () => {
    throw new FeedrankError('unavailable', 'down');
  },
  putState: async () => {
    throw new FeedrankError('unavailable', 'down');
  },
  putStates: async () => {},
  eraseState: async () => {},
};

/** The profile that an index build writes for somebody of whom only an event is known. */
async function builtProfile(userId: string): Promise<User | undefined> {
  const written: (User | undefined)[] = [];
  const histories = new UserHistories(2000);
  histories.add({ ...like, userId }, 0);
  await writeUsers({
    table: { ...lookup } as unknown as PostTable,
    names: { postId: () => 'p', authorId: () => 'a', topic: () => hash32('cats') },
    histories,
    users: (async function* () {})(),
    state: { ...broken, putStates: async (patches) => void written.push(...patches.map(({ user }) => user)) },
    changes: null,
    tower: TOWER,
    embedUsers: async () => axis(3),
    nowMs: 2000,
    onProgress: () => {},
  });
  return written[0];
}

describe('UserHydrator', () => {
  it('serves a cold-start vector to a user nobody knows', async () => {
    const { packed, degraded } = await hydratorOf().hydrator.hydrate('stranger', deadlineIn(5000));
    expect(packed.embeddingKind).toBe('cold');
    expect(packed.embedding).toEqual(axis(0));
    expect(degraded).toEqual([]);
  });

  it('gives a user without a stored profile the account age that a build gives them', async () => {
    const { hydrator } = hydratorOf({ sql: { events: [{ ...like, userId: 'undated' }] } });
    const { packed } = await hydrator.hydrate('undated', deadlineIn(5000));
    expect(packed.accountCreatedAtMs).toBe(UNDATED);
    expect((await store.getState('undated', TOWER, deadlineIn(5000)))?.user).toEqual(
      await builtProfile('undated'),
    );
  });

  it('computes a vector that is older than the history again, and stores it', async () => {
    const history = [historyFrom([like], [post])[0]];
    const user = { id: 'lagging', createdAt: 1 };
    await store.putState('lagging', { user, embedding: { tower: TOWER, vector: axis(5) } }, deadlineIn(5000));
    await store.putState('lagging', { history }, deadlineIn(5000));
    const { hydrator } = hydratorOf();
    const first = await hydrator.hydrate('lagging', deadlineIn(5000));
    const next = await hydrator.hydrate('lagging', deadlineIn(5000));
    expect([first.packed.embeddingKind, next.packed.embeddingKind]).toEqual(['computed', 'stored']);
    expect([first.packed.embedding, next.packed.embedding]).toEqual([axis(3), axis(3)]);
    expect([...first.degraded, ...next.degraded]).toEqual([]);
  });

  it('serves the older vector where the new one is late', async () => {
    const history = [historyFrom([like], [post])[0]];
    const user = { id: 'slow', createdAt: 1 };
    await store.putState('slow', { user, embedding: { tower: TOWER, vector: axis(5) } }, deadlineIn(5000));
    await store.putState('slow', { history }, deadlineIn(5000));
    const { hydrator } = hydratorOf({ embedUsers: () => new Promise(() => {}), embeddingWaitMs: 20 });
    const { packed, degraded } = await hydrator.hydrate('slow', deadlineIn(5000));
    expect([packed.embeddingKind, packed.embedding, degraded]).toEqual(['stored', axis(5), []]);
  });

  it('does not look for an unknown user again until something about it is stored', async () => {
    const { hydrator, sqlReads } = hydratorOf();
    await hydrator.hydrate('ghost', deadlineIn(5000));
    await hydrator.hydrate('ghost', deadlineIn(5000));
    expect(sqlReads()).toBe(1);
    hydrator.forget('ghost');
    await hydrator.hydrate('ghost', deadlineIn(5000));
    expect(sqlReads()).toBe(2);
  });

  it('reads the stored vector', async () => {
    await store.putState(
      'stored',
      { user: { id: 'stored', createdAt: 5 }, embedding: { tower: TOWER, vector: axis(7) } },
      deadlineIn(1000),
    );
    const { hydrator, sqlReads } = hydratorOf();
    const { packed } = await hydrator.hydrate('stored', deadlineIn(5000));
    expect(packed.embeddingKind).toBe('stored');
    expect(packed.embedding[7]).toBeCloseTo(1, 2);
    expect(sqlReads()).toBe(0);
  });

  it('rebuilds a user whose online state was lost, vector included', async () => {
    const { hydrator, sqlReads } = hydratorOf({
      sql: { user: { id: 'lost', createdAt: 5 }, events: [like] },
    });
    const { packed } = await hydrator.hydrate('lost', deadlineIn(5000));
    expect(packed.embeddingKind).toBe('computed');
    expect(packed.historyTypes.length).toBe(1);
    await hydrator.hydrate('lost', deadlineIn(5000));
    expect(sqlReads()).toBe(1);
  });

  it('rebuilds once for many requests at a time', async () => {
    const { hydrator, sqlReads } = hydratorOf({
      sql: { user: { id: 'crowd', createdAt: 5 }, events: [like] },
    });
    await Promise.all(Array.from({ length: 20 }, () => hydrator.hydrate('crowd', deadlineIn(5000))));
    expect(sqlReads()).toBe(1);
  });

  it('answers from the SQL store, flagged, while the online state is down', async () => {
    const { hydrator } = hydratorOf({
      state: broken,
      sql: { user: { id: 'u', createdAt: 5 }, events: [like] },
    });
    const { packed, degraded } = await hydrator.hydrate('u', deadlineIn(5000));
    expect(degraded).toContain('user_state_unavailable');
    expect(packed.historyTypes.length).toBe(1);
  });

  it('goes on with what the online state last gave while it is down, flagged, without asking SQL', async () => {
    const last = {
      version: 3,
      embedding: axis(9),
      history: [],
      seen: packHashes(['p']),
      user: { id: 'remembered', createdAt: 5 },
      edges: [{ kind: 'block' as const, userId: 'remembered', target: 'a', createdAt: 7 }],
    };
    const state = { ...broken, lastKnown: (userId: string) => (userId === 'remembered' ? last : null) };
    const { hydrator, sqlReads } = hydratorOf({ state, sql: { user: { id: 'x', createdAt: 1 } } });
    const known = await hydrator.hydrate('remembered', deadlineIn(5000));
    expect(known.degraded).toEqual(['user_state_unavailable']);
    expect(known.packed.embeddingKind).toBe('stored');
    expect(known.packed.embedding).toEqual(axis(9));
    expect(known.edges).toEqual(last.edges);
    expect(known.known).toBe(true);
    expect(sqlReads()).toBe(0);
    await hydrator.hydrate('not remembered', deadlineIn(5000));
    expect(sqlReads()).toBe(1);
  });

  it('makes the vector from the history at hand while the online state is down, and asks SQL once a while', async () => {
    const { hydrator, sqlReads } = hydratorOf({
      state: broken,
      sql: { user: { id: 'u', createdAt: 5 }, events: [like] },
    });
    const first = await hydrator.hydrate('u', deadlineIn(5000));
    const second = await hydrator.hydrate('u', deadlineIn(5000));
    for (const { packed, degraded } of [first, second]) {
      expect(packed.embedding).toEqual(axis(3));
      expect(degraded).toEqual(['user_state_unavailable']);
    }
    expect(second.packed.seen).toEqual(packHashes(['p']));
    expect(sqlReads()).toBe(1);
    // A block made meanwhile must hold at once.
    hydrator.forget('u');
    await hydrator.hydrate('u', deadlineIn(5000));
    expect(sqlReads()).toBe(2);
  });

  it('names what is missing when only the SQL store is down: the user may be known there', async () => {
    const users = { getUser: () => Promise.reject(new FeedrankError('unavailable', 'down')) };
    const { hydrator } = hydratorOf({ users });
    const { packed, degraded } = await hydrator.hydrate('known only to SQL', deadlineIn(5000));
    expect(packed.embeddingKind).toBe('cold');
    expect(degraded).toEqual(['user_unknown']);
  });

  it('leaves the SQL store time to stand in for an online state that hangs', async () => {
    const hanging: StateStore = { ...broken, getState: () => new Promise(() => {}) };
    const { hydrator } = hydratorOf({
      state: hanging,
      sql: { user: { id: 'u', createdAt: 5 }, events: [like] },
    });
    const { packed, degraded } = await hydrator.hydrate('u', deadlineIn(1000));
    expect(degraded).toEqual(['user_state_unavailable']);
    expect(packed.historyTypes.length).toBe(1);
  });

  it('answers with a cold-start vector, flagged, while both stores are down', async () => {
    const down = {
      getUser: async () => {
        throw new FeedrankError('unavailable', 'down');
      },
    };
    const { hydrator } = hydratorOf({ state: broken, users: down });
    const { packed, degraded } = await hydrator.hydrate('u', deadlineIn(5000));
    expect(packed.embeddingKind).toBe('cold');
    expect(degraded).toEqual(['user_state_unavailable', 'user_unknown']);
  });

  it('goes on without a vector that is late, flagged', async () => {
    const { hydrator } = hydratorOf({
      sql: { user: { id: 'late', createdAt: 5 }, events: [like] },
      embedUsers: () => new Promise((resolve) => setTimeout(() => resolve(axis(3)), 300)),
      embeddingWaitMs: 20,
    });
    const { packed, degraded } = await hydrator.hydrate('late', deadlineIn(5000));
    expect(packed.embeddingKind).toBe('cold');
    expect(degraded).toEqual(['user_embedding_late']);
  });
});

describe('historyFrom', () => {
  const events = (...types: [EngagementEvent['type'], number][]): EngagementEvent[] =>
    types.map(([type, at], i) => ({ id: String(i), userId: 'u', postId: 'p', type, at }));

  it('takes a like out that was taken back', () => {
    const history = historyFrom(events(['unlike', 3], ['like', 2], ['click', 1]), [post, post, post]);
    expect(history.map((entry) => entry.type)).toEqual(['click']);
  });

  it('keeps a like that came after the un-like', () => {
    const history = historyFrom(events(['like', 4], ['unlike', 3], ['like', 2]), [post, post, post]);
    expect(history.map((entry) => [entry.type, entry.at])).toEqual([['like', 4]]);
  });

  it('leaves out impressions, short dwells and posts that are gone', () => {
    const given = events(['impression', 4], ['dwell', 3], ['click', 2]);
    expect(historyFrom(given, [post, post, null])).toEqual([]);
  });
});
