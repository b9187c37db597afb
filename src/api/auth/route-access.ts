// The one table of who may call what. A route that is not in it is refused to everybody but `admin`. Applied by
// guard.ts, shown in the OpenAPI document, held against the registered routes by a test.
import type { Scope } from './scopes.ts';

export interface RouteAccess {
  /** One of these is enough, `admin` always is; empty = open to everybody. */
  scopes: readonly Scope[];
  /**
   * Whose data the request touches: the user in that path parameter, the users of the events in its body, nobody's,
   * or everybody's (then a caller bound to one user is refused whatever its scopes).
   */
  subject: { param: string } | 'events' | 'nobody' | 'everybody';
  /** Counted against the user's own limit. */
  limitUser?: true;
}

const OPEN: RouteAccess = { scopes: [], subject: 'nobody' };
const OPS: RouteAccess = { scopes: ['ops'], subject: 'nobody' };
const ADMIN: RouteAccess = { scopes: ['admin'], subject: 'everybody' };
/** Feeds of anybody; that a job is its maker's alone is seen to by the routes. */
const JOBS: RouteAccess = { scopes: ['feed:read'], subject: 'everybody' };
const CONTENT: RouteAccess = { scopes: ['feed:read', 'ingest'], subject: 'nobody' };
const INGEST: RouteAccess = { scopes: ['ingest'], subject: 'everybody' };
const EDGES: RouteAccess = { scopes: ['profile:write', 'ingest'], subject: { param: 'id' } };

export const ROUTE_ACCESS: Readonly<Record<string, RouteAccess>> = {
  'GET /feed/:userId': { scopes: ['feed:read'], subject: { param: 'userId' }, limitUser: true },
  'GET /feed/:userId/new': { scopes: ['feed:read'], subject: { param: 'userId' }, limitUser: true },
  'POST /feed-jobs': JOBS,
  'GET /feed-jobs/:id': JOBS,
  'GET /feed-jobs/:id/results': JOBS,
  'DELETE /feed-jobs/:id': JOBS,
  'POST /events': { scopes: ['events:write'], subject: 'events' },
  'POST /posts': INGEST,
  'DELETE /posts/:id': INGEST,
  'GET /posts/:id': CONTENT,
  'GET /posts/:id/similar': CONTENT,
  'GET /users/:id': { scopes: ['feed:read', 'profile:write', 'ingest'], subject: { param: 'id' } },
  'PUT /users/:id': EDGES,
  'DELETE /users/:id': { scopes: ['profile:write'], subject: { param: 'id' } },
  ...edges('follows/:authorId'),
  ...edges('blocks/:authorId'),
  ...edges('mutes/authors/:authorId'),
  ...edges('mutes/words/:word'),
  ...edges('mutes/topics/:topic'),
  'GET /health/live': OPEN,
  'GET /health/ready': OPEN,
  'GET /metrics': OPS,
  'GET /admin/models': ADMIN,
  'GET /admin/models/history': ADMIN,
  'POST /admin/models/stage': ADMIN,
  'GET /admin/rules': ADMIN,
  'POST /admin/rules': ADMIN,
};

function edges(path: string): Record<string, RouteAccess> {
  return { [`PUT /users/:id/${path}`]: EDGES, [`DELETE /users/:id/${path}`]: EDGES };
}

/** `url` is the pattern of the route, such as `/feed/:userId`. */
export function accessOf(method: string, url: string): RouteAccess {
  if (url === '/docs' || url.startsWith('/docs/')) return OPS;
  return ROUTE_ACCESS[`${method} ${url}`] ?? ADMIN;
}

export function isOpen({ scopes }: RouteAccess): boolean {
  return scopes.length === 0;
}
