// The API on the real embedded stores. Faked: the clock, and the ranker, which goes down a scripted list. What compose
// does with committed changes is done here in a few lines, on a Map in place of the catalogue.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import { Registry } from 'prom-client';
import { apiConfigSchema } from '../../../src/api/api-config.ts';
import { buildApp } from '../../../src/api/app.ts';
import type { AppContext, Readiness, SlateRequest, SlateResult } from '../../../src/api/app-context.ts';
import { hashKey, hashSet, joinPairs } from '../../../src/api/hash-pairs.ts';
import type { Change, Post, PostExplanation } from '../../../src/contracts.ts';
import { deadlineIn } from '../../../src/deadline.ts';
import { FeedrankError } from '../../../src/errors.ts';
import { openSqlStore, type SqlStore } from '../../../src/features/store/postgres-store.ts';
import { type OnlineStore, openStateStore } from '../../../src/features/store/state-store.ts';
import { hash32, hash64 } from '../../../src/hashing.ts';
import { HEADS, type Head } from '../../../src/vocabulary.ts';

export const NOW = Date.UTC(2026, 10, 24, 12);
export const SECRET = 'a secret of more than sixteen characters';
const HOUR = 3_600_000;

export const silent: FastifyBaseLogger = {
  level: 'silent',
  fatal: () => {},
  error: () => {},
  warn: () => {},
  info: () => {},
  debug: () => {},
  trace: () => {},
  silent: () => {},
  child: () => silent,
};

export interface Backends {
  sql: SqlStore;
  online: OnlineStore;
  close(): Promise<void>;
}

/** Opens PGlite and LMDB in a folder of their own: once a test file. */
export async function openBackends(): Promise<Backends> {
  const dataDir = mkdtempSync(join(tmpdir(), 'feedrank-api-'));
  const sql = await openSqlStore({ dataDir });
  const online = await openStateStore({ dataDir });
  return {
    sql,
    online,
    async close() {
      await sql.close();
      await online.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** Stores that are all down, for what must work without any. */
export function downBackends(): Backends {
  const down = () => Promise.reject(new FeedrankError('unavailable', 'the store is down'));
  const store = new Proxy({}, { get: () => down });
  return { sql: store as SqlStore, online: store as OnlineStore, close: async () => {} };
}

export function post(id: string, fields: Partial<Post> = {}): Post {
  return { id, authorId: `author-of-${id}`, createdAt: NOW - HOUR, title: `Title of ${id}`, ...fields };
}

export interface World {
  app: FastifyInstance;
  context: AppContext;
  clock: { ms: number };
  /** Servable posts of this replica. */
  memory: Map<string, Post>;
  /** What the ranker goes down, best first. */
  ranking: string[];
  /** Replace to script a slate or a failure; given the default's answer. */
  script: { slate?: (request: SlateRequest, usual: SlateResult) => SlateResult | Promise<SlateResult> };
  slateRequests: SlateRequest[];
  readiness: Readiness;
  addPosts(posts: Post[]): Promise<void>;
  close(): Promise<void>;
}

let worlds = 0;

export async function openWorld(
  backends: Backends,
  options: { config?: Record<string, unknown>; context?: Partial<AppContext> } = {},
): Promise<World> {
  const { sql, online } = backends;
  const clock = { ms: NOW };
  const memory = new Map<string, Post>();
  const ranking: string[] = [];
  const listeners = new Set<(change: Change) => void>();
  const slateRequests: SlateRequest[] = [];
  const script: World['script'] = {};
  const readiness: Readiness = {
    ready: true,
    reasons: [],
    degraded: [],
    index: { kind: 'exact', generation: 'g1', posts: 0 },
    models: { ranker: 'scripted on cpu' },
    stores: { posts: 'pglite', state: 'lmdb' },
  };
  const soon = () => deadlineIn(5000);

  async function applyNow(changes: Change[]): Promise<void> {
    for (const change of changes) {
      for (const listener of listeners) listener(change);
      if (change.kind === 'post') memory.set(change.post.id, change.post);
      if (change.kind === 'post_deleted') memory.delete(change.postId);
      if (change.kind === 'user') await online.putState(change.user.id, { user: change.user }, soon());
      if (change.kind === 'user_erased') await online.eraseState(change.userId, soon());
      if (change.kind === 'edge') {
        const stored = await sql.getUser(change.edge.userId, soon());
        await online.putState(change.edge.userId, { edges: stored?.edges ?? [] }, soon());
      }
      if (change.kind === 'event') {
        const { userId, postId, at } = change.event;
        await online.putState(userId, { seen: { postIds: [postId], atMs: at } }, soon());
      }
    }
  }

  async function usual(request: SlateRequest): Promise<SlateResult> {
    const state = await online.getState(request.userId, 'tower', soon());
    const stored = await sql.getUser(request.userId, soon());
    const excluded = hashSet(request.exclude);
    const seen = hashSet(state?.seen ?? new Uint32Array(0));
    const edges = stored?.edges ?? [];
    const eligible = ranking.filter((id) => {
      const key = hashKey(hash64(id));
      const known = memory.get(id);
      return known && !excluded.has(key) && !seen.has(key);
    });
    return {
      requestId: request.requestId,
      generation: 'g1',
      model: 'scripted@1',
      rules: 'r1',
      search: 'exact',
      failures: [],
      posts: eligible.slice(0, request.slateSize).map((postId, i) => ({
        postId,
        score: 1 - i / 1024,
        propensity: 1,
        similarity: 0.5,
        sources: i % 2 === 0 ? ['nearest', 'trending'] : ['following'],
        probabilities: Object.fromEntries(HEADS.map((head) => [head, 0.25])) as Record<Head, number>,
        ...(request.explain > 0 ? { explain: explanation(i) } : {}),
      })),
      degraded: [],
      stageMs: { retrieve: 1, rank: 2 },
      counts: { retrieved: ranking.length, kept: eligible.length, ranked: eligible.length },
      ...(request.explain === 2 ? { dropped: [{ postId: 'dropped-one', reason: 'too_old' as const }] } : {}),
      userVersion: state?.version ?? 0,
      embeddingKind: stored ? 'stored' : 'cold',
      edges,
      watermark: 'w1',
    };
  }

  const context: AppContext = {
    config: apiConfigSchema.parse({
      cursorSecret: SECRET,
      docs: false,
      exploreShare: 0,
      rateLimitPerMinute: 0,
      userRateLimitPerMinute: 0,
      // One machine runs everything: the deadline itself is not what these tests are about.
      feedDeadlineMs: 10_000,
      textsWaitMs: 10_000,
      ...options.config,
    }),
    clock: { now: () => clock.ms },
    logger: silent,
    metrics: { registry: new Registry() },
    ranker: {
      async slate(request) {
        slateRequests.push(request);
        const answer = await usual(request);
        return script.slate ? script.slate(request, answer) : answer;
      },
    },
    catalogue: {
      find(postId) {
        const known = memory.get(postId);
        if (!known) return null;
        const { lo, hi } = hash64(known.authorId);
        return {
          authorLo: lo,
          authorHi: hi,
          topic: known.topic ? hash32(known.topic) : 0,
          sensitive: known.sensitive ?? false,
        };
      },
      trending: (limit) => [...memory.keys()].slice(0, limit),
      isStale: () => false,
      countNew({ user, exclude, sinceMs }) {
        const given = hashSet(joinPairs(user.seen, exclude));
        const isAmong = (pairs: Uint32Array, id: string) => hashSet(pairs).has(hashKey(hash64(id)));
        const waiting = [...memory.values()].filter(
          ({ id, authorId, createdAt }) =>
            createdAt > sinceMs && !given.has(hashKey(hash64(id))) && !isAmong(user.blockedAuthors, authorId),
        );
        const following = waiting.filter(({ authorId }) => isAmong(user.follows, authorId)).length;
        return { count: waiting.length, following, more: false };
      },
      async similar(postId, limit) {
        if (!memory.has(postId)) return null;
        return [...memory.keys()].slice(0, limit).map((id, i) => ({ postId: id, similarity: 1 - i / 100 }));
      },
    },
    stores: { posts: sql, users: sql, events: sql, servingLog: sql, state: online, sessions: online },
    applyNow,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    health: () => readiness,
    ...options.context,
  };
  const app = buildApp(context);
  await app.ready();
  return {
    app,
    context,
    clock,
    memory,
    ranking,
    script,
    slateRequests,
    readiness,
    async addPosts(posts) {
      await sql.putPosts(posts, soon());
      for (const added of posts) {
        memory.set(added.id, added);
        ranking.push(added.id);
      }
    },
    close: () => app.close(),
  };
}

function explanation(rankedPosition: number): PostExplanation {
  return {
    sources: [{ source: 'nearest', rank: rankedPosition + 1 }],
    heads: [{ head: 'click', probability: 0.25, weight: 2, contribution: 0.5 }],
    rules: [{ rule: 'diversity', effect: 'up 1' }],
    rankedPosition,
  };
}

/** A user id that no other test of the file uses. */
export function newUser(): string {
  return `user-${++worlds}`;
}

/** Post ids that no other test of the file uses. */
export function newPosts(count: number, fields: Partial<Post> = {}): Post[] {
  const batch = ++worlds;
  return Array.from({ length: count }, (_, i) => post(`p${batch}-${String(i).padStart(3, '0')}`, fields));
}
