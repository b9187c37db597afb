// Applies route-access.ts: after the address limit a request is authenticated, its scopes and its subject are checked,
// then the limits of its key and of its user. Without an authenticator only the user's limit is left.
import type { FastifyInstance, FastifyRequest, onRequestHookHandler, RouteOptions } from 'fastify';
import { FeedrankError } from '../../errors.ts';
import type { ApiConfig } from '../api-config.ts';
import { keyLimit, userLimit } from '../limits.ts';
import { sharedPlugin } from '../shared-plugin.ts';
import type { Authenticator } from './authenticator.ts';
import { accessOf, isOpen, type RouteAccess } from './route-access.ts';
import { allows, type Principal } from './scopes.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** null while the service is open to everybody. */
    principal: Principal | null;
  }
}

export interface GuardParts {
  config: Pick<ApiConfig, 'userRateLimitPerMinute' | 'keyRateLimitPerMinute' | 'opsOnLoopback'>;
  auth: Pick<Authenticator, 'authenticate'> | undefined;
  onRefusal(code: 'unauthorized' | 'forbidden' | 'unavailable'): void;
}

/** Must come after the address limit and before the routes. */
export function guardRoutes(app: FastifyInstance, parts: GuardParts): void {
  app.decorateRequest('principal', null);
  app.register(
    sharedPlugin(async (root) => {
      const limitOfUser = userLimit(root, parts.config);
      const limitOfKey = keyLimit(root, parts.config);
      root.addHook('onRoute', (route) => {
        const access = accessOf(String(route.method), route.url);
        const hooks: (onRequestHookHandler | undefined)[] = [];
        if (parts.auth && !isOpen(access)) {
          hooks.push(admit(access, parts, parts.auth), limitOfKey);
          if (access.subject === 'events') checkEventsOf(route, parts);
        }
        if (access.limitUser) hooks.push(limitOfUser);
        route.onRequest = [route.onRequest ?? [], hooks.filter((hook) => hook !== undefined)].flat();
      });
    }),
  );
}

function admit(
  access: RouteAccess,
  { config, onRefusal }: GuardParts,
  auth: Pick<Authenticator, 'authenticate'>,
): onRequestHookHandler {
  const onLoopback = config.opsOnLoopback && access.scopes.includes('ops');
  return async (request, reply) => {
    if (onLoopback && isLoopback(request.socket.remoteAddress)) return;
    try {
      const principal = await auth.authenticate(request.headers);
      request.principal = principal;
      if (!allows(principal, access.scopes))
        throw forbidden(`this needs the scope ${access.scopes.join(' or ')}`);
      checkSubject(principal, access, request);
    } catch (error) {
      if (error instanceof FeedrankError) {
        if (error.code === 'unauthorized') reply.header('www-authenticate', 'Bearer realm="feedrank"');
        onRefusal(error.code as 'unauthorized');
      }
      throw error;
    }
  };
}

function checkSubject({ userId }: Principal, { subject }: RouteAccess, request: FastifyRequest): void {
  if (userId === null || subject === 'nobody' || subject === 'events') return;
  if (subject === 'everybody') throw forbidden('this is not for a caller that acts for one user');
  const asked = (request.params as Record<string, string>)[subject.param];
  if (asked !== userId) throw forbidden('this belongs to another user');
}

/** The body is read by then; an event without a user is refused later, by its schema. */
function checkEventsOf(route: RouteOptions, { onRefusal }: GuardParts): void {
  const check = async (request: FastifyRequest) => {
    const userId = request.principal?.userId;
    if (typeof userId !== 'string') return;
    const { events } = request.body as { events: readonly unknown[] };
    const foreign = events.findIndex((event) => {
      const named = (event as { userId?: unknown } | null)?.userId;
      return typeof named === 'string' && named !== userId;
    });
    if (foreign < 0) return;
    onRefusal('forbidden');
    throw forbidden('an event belongs to another user', `events[${foreign}].userId`);
  };
  route.preHandler = [check, route.preHandler ?? []].flat();
}

function forbidden(reason: string, field?: string): FeedrankError {
  return new FeedrankError('forbidden', reason, field === undefined ? {} : { fields: [{ field, reason }] });
}

/** The peer itself, not what a proxy says of it. */
function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(::ffff:)?127\.|^::1$/.test(address);
}
