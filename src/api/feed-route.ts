// GET /feed/:userId. The page is cut by feed-pages.ts; here it becomes the answer, and after the answer the serving
// record and the seen posts.
import type { FastifyInstance } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { ServedPost, ServingRecord } from '../contracts.ts';
import { deadlineIn } from '../deadline.ts';
import type { ApiConfig } from './api-config.ts';
import type { ApiMetrics } from './api-metrics.ts';
import type { FeedPage, FeedPages, PagedPost } from './feed-pages.ts';
import { userLimit } from './limits.ts';
import { postContent } from './post-content.ts';
import type { RecentErasures } from './recent-erasures.ts';
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
  config: Pick<ApiConfig, 'defaultLimit' | 'maxLimit' | 'feedDeadlineMs' | 'userRateLimitPerMinute'>;
  clock: { now(): number };
  pages: FeedPages;
  tokens: TrackingTokens;
  seen: SeenRecorder;
  servingLog: ServingLogQueue;
  erasures: RecentErasures;
  metrics: Pick<ApiMetrics, 'pageDegraded' | 'postsServed'>;
}

export function feedRoute(parts: FeedRouteParts): FastifyPluginAsyncZod {
  const { config, clock, pages, tokens, seen, servingLog, erasures, metrics } = parts;
  return async (app) => {
    app.get(
      '/feed/:userId',
      {
        onRequest: userLimit(app as unknown as FastifyInstance, config),
        handlerTimeout: config.feedDeadlineMs + HANDLER_GRACE_MS,
        schema: {
          summary: 'A page of the user’s feed',
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
        const page = await pages.page(
          { requestId: request.id, userId, limit, cursor, exclude, explain: EXPLAIN[explain] },
          deadlineIn(config.feedDeadlineMs, clock.now),
        );
        const served = page.posts.map((paged) => servedPost(paged, userId, request.id, tokens));
        const at = clock.now();
        if (!erasures.erasedSince(userId, begun)) {
          seen.record(
            userId,
            served.map((post) => post.postId),
          );
          servingLog.push(servingRecord(page, served, request.id, userId, at));
        }
        for (const cause of page.degraded) metrics.pageDegraded.inc({ cause });
        for (const post of served) for (const source of post.sources) metrics.postsServed.inc({ source });
        reply.header('cache-control', 'private, no-store');
        reply.header('server-timing', serverTiming(page.stageMs));
        return answerOf(page, served, { requestId: request.id, userId, at, explain: EXPLAIN[explain] });
      },
    );
  };
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
  return {
    postId,
    token,
    position,
    score: shortened(score),
    propensity,
    sources,
    probabilities: probabilities && mapValues(probabilities, shortened),
  };
}

/** Six digits: all that the float32 it came from is good for, at half the length in the log. */
function shortened(value: number): number {
  return Number(value.toPrecision(6));
}

function mapValues<K extends string>(
  record: Record<K, number>,
  change: (value: number) => number,
): Record<K, number> {
  const changed = { ...record };
  for (const key in changed) changed[key] = change(changed[key]);
  return changed;
}

function servingRecord(
  page: FeedPage,
  posts: ServedPost[],
  requestId: string,
  userId: string,
  at: number,
): ServingRecord {
  const { model, index, rules, explored, watermark } = page.facts;
  return { requestId, userId, at, model, index, rules, explored, degraded: page.degraded, watermark, posts };
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
