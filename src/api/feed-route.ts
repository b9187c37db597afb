// GET /feed/:userId. The page is cut by feed-pages.ts; here it becomes the answer, and after the answer the serving
// record and the seen posts.
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Admission } from '../admission.ts';
import type { ServedPost, ServingRecord } from '../contracts.ts';
import { deadlineIn } from '../deadline.ts';
import type { Source } from '../vocabulary.ts';
import type { ApiConfig } from './api-config.ts';
import type { ApiMetrics } from './api-metrics.ts';
import type { FeedPage, PagedPost } from './feed-page.ts';
import type { FeedPages } from './feed-pages.ts';
import { postContent } from './post-content.ts';
import type { RecentErasures } from './recent-erasures.ts';
import { requestPriority } from './request-priority.ts';
import { feedQuery, userParams } from './request-schemas.ts';
import { type FeedResponse, feedResponse, problemResponse } from './response-schemas.ts';
import type { SeenRecorder } from './seen-recorder.ts';
import type { ServingLogQueue } from './serving-log-queue.ts';
import type { TrackingTokens } from './tracking-token.ts';
import { whyShown } from './why.ts';

const EXPLAIN = { '0': 0, '1': 1, all: 2 } as const;
/** The page ends by its own deadline; this is for a loop that is blocked. */
const HANDLER_GRACE_MS = 2000;

export interface FeedRouteParts {
  config: Pick<ApiConfig, 'defaultLimit' | 'maxLimit' | 'feedDeadlineMs'>;
  clock: { now(): number };
  admission: Pick<Admission, 'run' | 'refuseWhenFull'>;
  pages: FeedPages;
  tokens: TrackingTokens;
  seen: SeenRecorder;
  servingLog: ServingLogQueue;
  erasures: RecentErasures;
  metrics: Pick<ApiMetrics, 'pageDegraded' | 'postsServed'>;
  onServed?: (record: ServingRecord) => void;
}

export function feedRoute(parts: FeedRouteParts): FastifyPluginAsyncZod {
  const { config, clock, admission, pages, tokens, seen, servingLog, erasures, metrics } = parts;
  return async (app) => {
    app.get(
      '/feed/:userId',
      {
        handlerTimeout: config.feedDeadlineMs + HANDLER_GRACE_MS,
        onRequest: async ({ query, headers }) =>
          admission.refuseWhenFull(requestPriority(query.priority, headers)),
        schema: {
          summary: 'A page of the user’s feed',
          description:
            'Without a cursor a feed begins: with the posts made since, and without what was delivered before. The ' +
            'header `X-Cache` says where its slate came from: `miss` or `bypass` (ranked now), `hit` or `joined` (what is ' +
            'left of a slate of a moment ago, or one made for another request at once), `snapshot` (the feed’s own, on ' +
            'later pages), `none` (no ranking was to be had).',
          tags: ['feed'],
          params: userParams,
          querystring: feedQuery(config.defaultLimit, config.maxLimit),
          response: { 200: feedResponse, default: problemResponse },
        },
      },
      async (request, reply) => {
        const { userId } = request.params;
        const begun = erasures.mark();
        const { limit, cursor, exclude = [], explain } = request.query;
        const deadline = deadlineIn(config.feedDeadlineMs);
        const priority = requestPriority(request.query.priority, request.headers);
        const { id: requestId, signal } = request;
        const asked = { requestId, userId, limit, cursor, exclude, explain: EXPLAIN[explain], signal };
        const page = await admission.run(priority, async (grant) => {
          const page = await pages.page({ ...asked, priority, quality: grant.quality }, deadline);
          const isMade = page.cache !== 'hit' && page.cache !== 'joined';
          if (page.slates > 0 && isMade) grant.outcome = wasRanked(page) ? 'measured' : 'missed';
          return page;
        });
        const served = page.posts.map((paged) => servedPost(paged, userId, request.id, tokens));
        const at = clock.now();
        if (!erasures.erasedSince(userId, begun)) {
          seen.record(
            userId,
            served.map((post) => post.postId),
          );
          const record = servingRecord(page, served, request.id, userId, at);
          servingLog.push(record);
          parts.onServed?.(record);
        }
        for (const cause of page.degraded) metrics.pageDegraded.inc({ cause });
        countSources(served, metrics.postsServed);
        reply.header('cache-control', 'private, no-store');
        reply.header('x-cache', page.cache);
        reply.header('server-timing', serverTiming(page.stageMs));
        return answerOf(page, served, { requestId: request.id, userId, at, explain: EXPLAIN[explain] });
      },
    );
  };
}

/** One call a source: each costs a look-up by its labels. */
function countSources(served: readonly ServedPost[], counter: ApiMetrics['postsServed']): void {
  const counts = new Map<Source, number>();
  for (const { sources } of served)
    for (const source of sources) counts.set(source, (counts.get(source) ?? 0) + 1);
  for (const [source, count] of counts) counter.inc({ source }, count);
}

/** False when it came from the last rungs: no worker answered. */
function wasRanked(page: FeedPage): boolean {
  return !page.facts.degraded.includes('ranking_unavailable');
}

/** The stages of the slate that this page began, in milliseconds (W3C Server Timing); empty on later pages. */
function serverTiming(stageMs: FeedPage['stageMs']): string {
  return Object.entries(stageMs)
    .map(([stage, ms]) => `${stage};dur=${ms.toFixed(3)}`)
    .join(', ');
}

function servedPost(paged: PagedPost, userId: string, requestId: string, tokens: TrackingTokens): ServedPost {
  const { entry, position } = paged;
  const { postId, score, propensity, sources, probabilities } = entry;
  const token = tokens.issue({ requestId, position }, userId, postId);
  // The log keeps a score as the float32 that the ranker gave.
  return { postId, token, position, score: Math.fround(score), propensity, sources, probabilities };
}

function servingRecord(
  page: FeedPage,
  posts: ServedPost[],
  requestId: string,
  userId: string,
  at: number,
): ServingRecord {
  const { model, index, rules, explored, watermark } = page.facts;
  const { degraded, exploration, features } = page;
  const record = { requestId, userId, at, model, index, rules, explored, degraded, watermark, posts };
  return { ...record, ...(exploration ? { exploration } : {}), ...(features ? { features } : {}) };
}

function answerOf(
  page: FeedPage,
  served: readonly ServedPost[],
  request: { requestId: string; userId: string; at: number; explain: 0 | 1 | 2 },
): FeedResponse {
  const { model, index, rules, search, embeddingKind } = page.facts;
  const explained = request.explain > 0;
  return {
    requestId: request.requestId,
    userId: request.userId,
    generatedAt: request.at,
    posts: page.posts.map(({ entry, post, position }, i) => ({
      id: entry.postId,
      token: served[i].token,
      position,
      score: entry.score,
      sources: entry.sources,
      why: whyShown(entry, post, embeddingKind),
      post: post && postContent(post),
      ...(explained && entry.explain ? { explain: entry.explain } : {}),
    })),
    nextCursor: page.nextCursor,
    end: page.nextCursor === null,
    model,
    index,
    rules,
    search,
    degraded: page.degraded,
    ...(explained ? { stageMs: page.stageMs as Record<string, number>, counts: page.counts } : {}),
    ...(request.explain === 2 ? { dropped: page.dropped } : {}),
  };
}
