// Rate limits: requests of one address, of one key, and feed pages of one user. Counted by what all replicas share
// when that is given; while it does not answer, each replica counts for itself.
import rateLimit, { type FastifyRateLimitStoreCtor } from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { FeedrankError } from '../errors.ts';
import type { ApiConfig } from './api-config.ts';
import { LimitStore, type SharedCounter } from './limit-store.ts';

const WINDOW_MS = 60_000;

export interface LimitEvents {
  onExceeded(limit: 'address' | 'key' | 'user'): void;
  /** A count that the shared counter did not take. */
  onFallback(): void;
}

type Limiter = (request: FastifyRequest) => Promise<void>;

declare module 'fastify' {
  interface FastifyInstance {
    limitEvents: LimitEvents;
  }
}

/**
 * Limits every route's requests by address, but those that `exempt` lets through: one of your own services, which
 * brings the requests of many users from one address. Must come before the routes.
 */
export function limitAddresses(
  app: FastifyInstance,
  config: Pick<ApiConfig, 'rateLimitPerMinute'>,
  counter: SharedCounter | undefined,
  events: LimitEvents,
  exempt: (request: FastifyRequest) => boolean = () => false,
): void {
  const store = new LimitStore(counter, events.onFallback);
  app.decorate('limitEvents', events);
  app.register(rateLimit, {
    global: config.rateLimitPerMinute > 0,
    max: config.rateLimitPerMinute,
    timeWindow: WINDOW_MS,
    allowList: exempt,
    // The plugin makes the store itself; a constructor that returns an object gives that one.
    store: function Shared() {
      return store;
    } as unknown as FastifyRateLimitStoreCtor,
    onExceeded: () => events.onExceeded('address'),
    errorResponseBuilder: (_request, context) => rateLimited(context.ttl),
  });
}

/** Limits the requests of the user in `params.userId`; undefined when there is no limit. */
export function userLimit(
  app: FastifyInstance,
  { userRateLimitPerMinute }: Pick<ApiConfig, 'userRateLimitPerMinute'>,
): Limiter | undefined {
  if (userRateLimitPerMinute === 0) return undefined;
  return limiter(
    app,
    'user',
    () => userRateLimitPerMinute,
    (request) => (request.params as { userId: string }).userId,
  );
}

/** Limits the requests of one key or of one token's subject, by the key's own limit or the configured one. */
export function keyLimit(
  app: FastifyInstance,
  { keyRateLimitPerMinute }: Pick<ApiConfig, 'keyRateLimitPerMinute'>,
): Limiter {
  const limitOf = (request: FastifyRequest) => request.principal?.requestsPerMinute ?? keyRateLimitPerMinute;
  const limit = limiter(app, 'key', limitOf, (request) => request.principal?.id ?? '');
  return async (request) => {
    if (request.principal !== null && limitOf(request) > 0) await limit(request);
  };
}

function limiter(
  app: FastifyInstance,
  name: 'key' | 'user',
  limitOf: (request: FastifyRequest) => number,
  keyOf: (request: FastifyRequest) => string,
): Limiter {
  const count = app.createRateLimit({
    max: limitOf,
    timeWindow: WINDOW_MS,
    allowList: [],
    keyGenerator: (request) => `${name}:${keyOf(request)}`,
  });
  return async (request) => {
    const state = await count(request);
    if (state.isAllowed || !state.isExceeded) return;
    app.limitEvents.onExceeded(name);
    throw rateLimited(state.ttl);
  };
}

function rateLimited(ttlMs: number): FeedrankError {
  return new FeedrankError('rate_limited', 'too many requests; try again later', {
    retryAfterSeconds: ttlMs / 1000,
  });
}
