// What every request leaves in the metrics: that it runs, and at its end how long it took and how it ended.
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
    let isOpen = true;
    const end = (status: string) => {
      if (!isOpen) return;
      isOpen = false;
      requestsInFlight.dec({ route });
      requestSeconds.observe({ route, method: request.method, status }, reply.elapsedTime / 1000);
    };
    reply.raw.once('finish', () => end(String(reply.statusCode)));
    reply.raw.once('close', () => end(CLIENT_CLOSED));
    done();
  });
}

/** The pattern, never the path: labels must stay few and carry no ids. */
function routeOf({ routeOptions }: FastifyRequest): string {
  return routeOptions.url ?? 'none';
}
