// POST /posts and POST /events: bulk writes with one result an item, committed before they are answered.
import type { FastifyReply, FastifyRequest, FastifySchema } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import { type Deadline, deadlineIn } from '../deadline.ts';
import type { ApiConfig } from './api-config.ts';
import type { ApiMetrics } from './api-metrics.ts';
import { type BatchOutcome, batchStatus, batchResponse as responseOf } from './batch-result.ts';
import type { EventIngestion } from './event-ingestion.ts';
import type { Idempotency } from './idempotency.ts';
import type { IngestGate } from './ingest-gate.ts';
import type { PostIngestion } from './post-ingestion.ts';
import { envelope, eventsBody, idempotencyHeaders, postsBody } from './request-schemas.ts';
import { type BatchResponse, batchResponse, problemResponse } from './response-schemas.ts';
import { validateWithZod } from './validation.ts';

const HANDLER_GRACE_MS = 2000;

export interface IngestRoutesParts {
  config: Pick<ApiConfig, 'ingestDeadlineMs' | 'maxBatch' | 'bulkBodyLimitBytes'>;
  posts: PostIngestion;
  events: EventIngestion;
  idempotency: Idempotency;
  gate: IngestGate;
  metrics: Pick<ApiMetrics, 'items' | 'batchItems'>;
}

type Kind = 'posts' | 'events';

/** Every item refused, or the request itself. */
const refusedBatch = {
  description: 'Every item was refused (with the results), or the request itself (a problem).',
  content: { 'application/json': { schema: batchResponse }, ...problemResponse.content },
};

export function ingestRoutes(parts: IngestRoutesParts): FastifyPluginAsyncZod {
  const { config, gate, idempotency, metrics } = parts;

  async function answer(kind: Kind, request: FastifyRequest, reply: FastifyReply): Promise<BatchResponse> {
    const deadline = deadlineIn(config.ingestDeadlineMs);
    const body = request.body as Record<Kind, unknown[]>;
    metrics.batchItems.observe({ kind }, body[kind].length);
    const work = async () => {
      const outcome = await gate.run(deadline, () => ingest(kind, body[kind], deadline), body[kind].length);
      const response = responseOf(outcome, request.id);
      for (const { status } of response.results) metrics.items.inc({ kind, status });
      return { status: batchStatus(response), body: response };
    };
    const key = (request.headers as z.infer<typeof idempotencyHeaders>)['idempotency-key'];
    if (key === undefined) {
      const { status, body: response } = await work();
      reply.code(status);
      return response;
    }
    // A key is its sender's own: nobody can use up, or learn of, another's.
    const scope = request.principal ? `${kind}:${request.principal.id}` : kind;
    const { answer, replayed, protectedByKey } = await idempotency.run(scope, key, body, deadline, work);
    if (replayed) reply.header('idempotent-replayed', 'true');
    reply.code(answer.status);
    const degraded = protectedByKey
      ? answer.body.degraded
      : [...answer.body.degraded, 'idempotency_unavailable'];
    return { ...answer.body, requestId: request.id, degraded };
  }

  function ingest(kind: Kind, items: unknown[], deadline: Deadline): Promise<BatchOutcome> {
    return kind === 'posts' ? parts.posts.ingest(items, deadline) : parts.events.ingest(items, deadline);
  }

  return async (app) => {
    const route = (kind: Kind, summary: string, body: z.ZodType) =>
      app.route({
        method: 'POST',
        url: `/${kind}`,
        bodyLimit: config.bulkBodyLimitBytes,
        handlerTimeout: config.ingestDeadlineMs + HANDLER_GRACE_MS,
        schema: {
          summary,
          tags: ['ingestion'],
          headers: idempotencyHeaders,
          body,
          response: { 200: batchResponse, 207: batchResponse, 400: refusedBatch, default: problemResponse },
        } satisfies FastifySchema,
        // The document shows the items' schema; here only the envelope is checked, the items get their own results.
        validatorCompiler: ({ schema, ...part }) =>
          validateWithZod({
            ...part,
            schema:
              part.httpPart === 'body' ? envelope(kind, config.maxBatch) : (schema as unknown as z.ZodType),
          }),
        handler: (request, reply) => answer(kind, request, reply),
      });
    route('posts', 'Store posts, new or changed', postsBody(config.maxBatch));
    route('events', 'Store engagement events', eventsBody(config.maxBatch));
  };
}
