// The OpenAPI document, made from the routes' zod schemas and the table of access, and its pages at /docs (JSON at
// /docs/json).
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance, FastifySchema, RouteOptions } from 'fastify';
import { jsonSchemaTransform } from 'fastify-type-provider-zod';
import { accessOf, isOpen, type RouteAccess } from './auth/route-access.ts';
import { ERROR_CATALOGUE } from './error-catalogue.ts';
import { problemResponse } from './response-schemas.ts';

const ERRORS_TEXT =
  'Errors are application/problem+json; `code` is stable. 429, 503, 504 and 507 come with the header `Retry-After`: ' +
  'the seconds after which to try again.';

/** Scripts and styles of the pages come from here alone; the page's own scripts are files, its styles inline too. */
const PAGES_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
  "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Registers the document; must come before the routes. */
export function describeRoutes(app: FastifyInstance): void {
  app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'feedrank',
        version: '1',
        description: `Personal feeds from millions of posts.\n\n${ERRORS_TEXT}\n\n${errorTable()}`,
      },
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', description: 'An API key, or a JSON Web Token.' },
          apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key' },
        },
      },
      tags: [
        { name: 'feed', description: 'What a user sees' },
        { name: 'ingestion', description: 'Posts and events, in bulk' },
        { name: 'users', description: 'Profiles, follows, blocks, mutes, erasure' },
        { name: 'posts', description: 'Single posts' },
        { name: 'operations', description: 'Health and metrics' },
      ],
    },
    transform: (parts) => {
      const { method, url } = parts.route;
      const access = accessOf(String(method), url);
      return jsonSchemaTransform({
        ...parts,
        schema: { ...parts.schema, ...described(parts.schema, access, parts.route) },
      });
    },
  });
}

/** The pages; must come after the guard, which they are under too. */
export function serveDocs(app: FastifyInstance): void {
  app.register(swaggerUi, { routePrefix: '/docs', staticCSP: PAGES_POLICY });
}

/** What every route has: how it is refused, and which credentials it takes. */
function described(schema: FastifySchema, access: RouteAccess, route: RouteOptions): FastifySchema {
  const takesBody = schema.body !== undefined;
  const limited = (route.config as { rateLimit?: false } | undefined)?.rateLimit !== false;
  const statuses = [
    ...(takesBody || schema.params || schema.querystring ? [400] : []),
    ...(isOpen(access) ? [] : [401, 403]),
    ...(schema.params ? [404] : []),
    ...(takesBody ? [409, 413, 415, 507] : []),
    ...(limited ? [429] : []),
    ...(schema.querystring ? [410] : []),
    ...[500, 503, 504],
  ];
  const problems = Object.fromEntries(statuses.map((status) => [status, problemResponse]));
  const security: Record<string, string[]>[] = isOpen(access)
    ? []
    : [{ bearer: [...access.scopes] }, { apiKey: [...access.scopes] }];
  const scopes = isOpen(access) ? 'Open to everybody.' : `Scope: ${access.scopes.join(' or ')}.`;
  const description = [schema.description, scopes].filter(Boolean).join('\n\n');
  return { description, security, response: { ...problems, ...(schema.response as object) } };
}

function errorTable(): string {
  const rows = Object.entries(ERROR_CATALOGUE).map(
    ([code, { status, title }]) => `| \`${code}\` | ${status} | ${title} |`,
  );
  return ['| code | status | meaning |', '|---|---|---|', ...rows].join('\n');
}
