// /feed-jobs: first pages of many users, asked for now and computed when there is room. A job is committed before it is
// answered, and belongs to the key or subject that made it: to others it does not exist.
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { deadlineIn } from '../../deadline.ts';
import { FeedrankError, invalid } from '../../errors.ts';
import type { ApiConfig } from '../api-config.ts';
import type { AppContext } from '../app-context.ts';
import { conflict, sha256 } from '../idempotency.ts';
import { newRequestId } from '../request-id.ts';
import { idempotencyHeaders, idParams } from '../request-schemas.ts';
import { problemResponse } from '../response-schemas.ts';
import { currentResults, type FeedJobResultParts } from './feed-job-results.ts';
import {
  feedJobBody,
  feedJobCreated,
  feedJobRemoved,
  feedJobResults,
  feedJobResultsQuery,
  feedJobStatus,
} from './feed-job-schemas.ts';
import { feedJobUrl } from './feed-jobs.ts';

const HANDLER_GRACE_MS = 2000;
/** A job takes minutes: to ask again sooner is of no use. */
const FULL_RETRY_S = 30;
const TAGS = ['feed'];

export interface FeedJobRoutesParts extends FeedJobResultParts {
  config: Pick<ApiConfig, 'ingestDeadlineMs' | 'bulkBodyLimitBytes'>;
  clock: { now(): number };
  jobs: Pick<NonNullable<AppContext['feedJobs']>, 'store' | 'settings' | 'hosts' | 'wake'>;
}

export function feedJobRoutes(parts: FeedJobRoutesParts): FastifyPluginAsyncZod {
  const { config, clock, jobs } = parts;
  const { store, settings, hosts } = jobs;
  const deadlineNow = () => deadlineIn(config.ingestDeadlineMs);

  return async (app) => {
    app.post(
      '/feed-jobs',
      {
        bodyLimit: config.bulkBodyLimitBytes,
        handlerTimeout: config.ingestDeadlineMs + HANDLER_GRACE_MS,
        schema: {
          summary: 'Compute the first feed page of many users, for digests, notifications or warm caches',
          description:
            'Answered once the job is committed; the pages follow when readers leave room. Posts on them do not count as ' +
            'served or seen until an event says so: send the posts’ tokens with it.',
          tags: TAGS,
          headers: idempotencyHeaders,
          body: feedJobBody,
          response: { 202: feedJobCreated, default: problemResponse },
        },
      },
      async (request, reply) => {
        const { userIds, limit, webhook } = request.body;
        const refusal =
          webhook && (hosts ? hosts.refusal(webhook.url) : 'cannot be used: WEBHOOK_HOSTS is not set');
        if (refusal) throw invalid('webhook.url', refusal);
        const key = request.headers['idempotency-key'];
        const job = {
          id: newRequestId(),
          owner: ownerOf(request),
          userIds: [...new Set(userIds)],
          limit,
          webhookUrl: webhook?.url ?? null,
          idempotency:
            key === undefined ? null : { key: sha256(key), digest: sha256(JSON.stringify(request.body)) },
          createdAt: clock.now(),
          keptMs: settings.keptMs,
        };
        const made = await store.create(job, settings.bounds, deadlineNow());
        if (made.kind === 'conflict') throw conflict();
        if (made.kind === 'full') throw full(settings.bounds, made.bound);
        if (made.kind === 'replayed') reply.header('idempotent-replayed', 'true');
        else jobs.wake();
        reply.code(202);
        const { id, users } = made;
        return { requestId: request.id, jobId: id, users, statusUrl: feedJobUrl(settings, id) };
      },
    );

    app.get(
      '/feed-jobs/:id',
      {
        schema: {
          summary: 'How far a feed job is, and whether its webhook arrived',
          tags: TAGS,
          params: idParams,
          response: { 200: feedJobStatus, default: problemResponse },
        },
      },
      async (request) => {
        const job = await store.get(request.params.id, ownerOf(request), deadlineNow());
        if (job === null) throw unknown();
        const { id, ...rest } = job;
        const resultsUrl = `${feedJobUrl(settings, id)}/results`;
        return { requestId: request.id, jobId: id, ...rest, resultsUrl };
      },
    );

    app.get(
      '/feed-jobs/:id/results',
      {
        schema: {
          summary: 'Results of a feed job, in the order of its users',
          description:
            'Users that still wait are among them, so that pages stay the same while the job runs.',
          tags: TAGS,
          params: idParams,
          querystring: feedJobResultsQuery,
          response: { 200: feedJobResults, default: problemResponse },
        },
      },
      async (request, reply) => {
        const { limit, cursor } = request.query;
        const { id } = request.params;
        const deadline = deadlineNow();
        const found = await store.results(id, ownerOf(request), Number(cursor ?? 0), limit, deadline);
        if (found === null) throw unknown();
        const results = await currentResults(parts, found, deadline);
        const last = found.at(-1);
        const nextCursor = last && found.length === limit ? String(last.n + 1) : null;
        reply.header('cache-control', 'private, no-store');
        return { requestId: request.id, jobId: id, results, nextCursor };
      },
    );

    app.delete(
      '/feed-jobs/:id',
      {
        schema: {
          summary: 'Cancel a feed job that has not ended, or delete one that has; its results go either way',
          tags: TAGS,
          params: idParams,
          response: { 200: feedJobRemoved, default: problemResponse },
        },
      },
      async (request) => {
        const { id } = request.params;
        const now = { atMs: clock.now(), keptMs: settings.keptMs };
        const status = await store.remove(id, ownerOf(request), now, deadlineNow());
        if (status === null) throw unknown();
        return { requestId: request.id, jobId: id, status };
      },
    );
  };
}

function ownerOf(request: FastifyRequest): string {
  return request.principal?.id ?? '';
}

function unknown(): FeedrankError {
  return new FeedrankError('not_found', 'there is no such feed job');
}

function full(bounds: { open: number; kept: number }, bound: 'open' | 'kept'): FeedrankError {
  const reason =
    bound === 'open'
      ? `${bounds.open} feed jobs have not ended yet`
      : `${bounds.kept} feed jobs are kept: delete some`;
  return new FeedrankError('rate_limited', reason, { retryAfterSeconds: FULL_RETRY_S });
}
