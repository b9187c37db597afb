// The OpenAPI document, made from the routes' zod schemas, and its pages at /docs (JSON at /docs/json).
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { jsonSchemaTransform } from 'fastify-type-provider-zod';
import { ERROR_CATALOGUE } from './error-catalogue.ts';

/** Registers the document; must come before the routes. */
export function registerOpenapi(app: FastifyInstance, pages: boolean): void {
  app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'feedrank',
        version: '1',
        description: `Personal feeds from millions of posts.\n\nErrors are application/problem+json; \`code\` is stable:\n\n${errorTable()}`,
      },
      tags: [
        { name: 'feed', description: 'What a user sees' },
        { name: 'ingestion', description: 'Posts and events, in bulk' },
        { name: 'users', description: 'Profiles, follows, blocks, mutes, erasure' },
        { name: 'posts', description: 'Single posts' },
        { name: 'operations', description: 'Health and metrics' },
      ],
    },
    transform: jsonSchemaTransform,
  });
  if (pages) app.register(swaggerUi, { routePrefix: '/docs' });
}

function errorTable(): string {
  const rows = Object.entries(ERROR_CATALOGUE).map(
    ([code, { status, title }]) => `| \`${code}\` | ${status} | ${title} |`,
  );
  return ['| code | status | meaning |', '|---|---|---|', ...rows].join('\n');
}
