// What every request leaves in the metrics: that it runs, and at its end how long it took and how it ended.
import { finished } from 'node:stream';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ApiMetrics } from './api-metrics.ts';

/** A client that went away before its answer; nginx's number for it. */
const CLIENT_CLOSED = '499';

export function measureRequests(
  app: FastifyInstance,
  { requestSeconds, requestsInFlight }: Pick<ApiMetrics, 'requestSeconds' | 'requestsInFlight'>,
): void {
  app.addHook('onRequest', (request, reply, done) => {
    const route = routeOf(request);
    requestsInFlight.inc({ route });
    finished(reply.raw, (error) => {
      requestsInFlight.dec({ route });
      const status = error ? CLIENT_CLOSED : String(reply.statusCode);
      requestSeconds.observe({ route, method: request.method, status }, reply.elapsedTime / 1000);
    });
    done();
  });
}

/** The pattern, never the path: labels must stay few and carry no ids. */
function routeOf({ routeOptions }: FastifyRequest): string {
  return routeOptions.url ?? 'none';
}
