// Rate limits: requests of one address, and feed pages of one user. Counted in Redis when a client is given, so that
// replicas share them; a Redis that does not answer lets requests through.
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { FeedrankError } from '../errors.ts';
import type { ApiConfig } from './api-config.ts';

const WINDOW_MS = 60_000;
/** Addresses or users counted at once, in memory. */
const COUNTED = 50_000;

/** Limits every route's requests by address; must come before the routes. */
export function limitAddresses(
  app: FastifyInstance,
  config: Pick<ApiConfig, 'rateLimitPerMinute'>,
  redis: unknown,
): void {
  app.register(rateLimit, {
    global: config.rateLimitPerMinute > 0,
    max: config.rateLimitPerMinute,
    timeWindow: WINDOW_MS,
    cache: COUNTED,
    redis,
    nameSpace: 'feedrank-limit-',
    skipOnError: true,
    errorResponseBuilder: (_request, context) => rateLimited(context.ttl),
  });
}

/** A hook that limits the requests of the user in `params.userId`; undefined when there is no limit. */
export function userLimit(
  app: FastifyInstance,
  config: Pick<ApiConfig, 'userRateLimitPerMinute'>,
): ((request: FastifyRequest) => Promise<void>) | undefined {
  if (config.userRateLimitPerMinute === 0) return undefined;
  const count = app.createRateLimit({
    max: config.userRateLimitPerMinute,
    timeWindow: WINDOW_MS,
    keyGenerator: (request) => `user:${(request.params as { userId: string }).userId}`,
  });
  return async (request) => {
    const state = await count(request);
    if (!state.isAllowed && state.isExceeded) throw rateLimited(state.ttl);
  };
}

function rateLimited(ttlMs: number): FeedrankError {
  return new FeedrankError('rate_limited', 'too many requests; try again later', {
    retryAfterSeconds: ttlMs / 1000,
  });
}
