// Security headers of every answer, and the rule that answers are kept by nobody: they are personal or depend on who
// asks. The pages at /docs get a policy of their own (openapi.ts), since they load scripts.
import helmet from '@fastify/helmet';
import type { FastifyInstance } from 'fastify';

export function secureAnswers(app: FastifyInstance): void {
  app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"], baseUri: ["'none'"] },
    },
    referrerPolicy: { policy: 'no-referrer' },
  });
  app.addHook('onRequest', async (request, reply) => {
    if (!request.url.startsWith('/docs')) reply.header('cache-control', 'private, no-store');
  });
}
