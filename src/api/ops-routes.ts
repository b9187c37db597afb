// Liveness, readiness and metrics. Not rate-limited; read from memory only.
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { AppContext, Readiness } from './app-context.ts';
import type { Draining } from './draining.ts';
import { liveResponse, problemResponse, readyResponse } from './response-schemas.ts';

export type OpsRoutesParts = Pick<AppContext, 'health' | 'metrics'> & { draining: Draining };

export function opsRoutes({ health, metrics, draining }: OpsRoutesParts): FastifyPluginAsyncZod {
  const readinessNow = (): Readiness => {
    const readiness = health();
    if (draining.reason === null) return readiness;
    return { ...readiness, ready: false, reasons: [draining.reason, ...readiness.reasons] };
  };
  return async (app) => {
    app.get(
      '/health/live',
      {
        config: { rateLimit: false },
        schema: {
          summary: 'The process is alive',
          tags: ['operations'],
          response: { 200: liveResponse, default: problemResponse },
        },
      },
      async () => ({ status: 'ok' as const }),
    );

    app.get(
      '/health/ready',
      {
        config: { rateLimit: false },
        schema: {
          summary: 'Whether requests should come here, and what serves them',
          tags: ['operations'],
          response: { 200: readyResponse, 503: readyResponse, default: problemResponse },
        },
      },
      async (_request, reply) => {
        const readiness = readinessNow();
        return reply.code(readiness.ready ? 200 : 503).send(readiness);
      },
    );

    app.get(
      '/metrics',
      {
        config: { rateLimit: false },
        schema: {
          summary: 'Prometheus metrics',
          tags: ['operations'],
          response: {
            200: { description: 'Text format.', content: { 'text/plain': { schema: z.string() } } },
            default: problemResponse,
          },
        },
      },
      async (_request, reply) => {
        const text = await metrics.registry.metrics();
        return reply.type(metrics.registry.contentType).send(text);
      },
    );
  };
}
