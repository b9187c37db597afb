// Security headers of every answer, and the rule that answers are kept by nobody: they are personal or depend on who
// asks. The pages at /docs get a policy of their own (openapi.ts), since they load scripts.
import helmet, { type FastifyHelmetOptions } from '@fastify/helmet';
import Fastify, { type FastifyInstance } from 'fastify';
import { sharedPlugin } from './shared-plugin.ts';

const OPTIONS: FastifyHelmetOptions = {
  contentSecurityPolicy: {
    useDefaults: false,
    directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"], baseUri: ["'none'"] },
  },
  referrerPolicy: { policy: 'no-referrer' },
};

export function secureAnswers(app: FastifyInstance): void {
  app.register(
    sharedPlugin(async (root) => {
      const headers = await headersOfHelmet();
      root.addHook('onRequest', (request, reply, done) => {
        reply.headers(headers);
        if (!request.url.startsWith('/docs')) reply.header('cache-control', 'private, no-store');
        done();
      });
    }),
  );
}

/** They are the same on every answer: the plugin would make them anew each time, in .07 ms of a feed's time. */
async function headersOfHelmet(): Promise<Record<string, string>> {
  const one = Fastify();
  one.register(helmet, OPTIONS);
  one.get('/', async () => '');
  const plain = Fastify();
  plain.get('/', async () => '');
  const [{ headers }, { headers: common }] = await Promise.all([one.inject('/'), plain.inject('/')]);
  await Promise.all([one.close(), plain.close()]);
  const own = Object.entries(headers).filter(([name]) => !(name in common));
  return Object.fromEntries(own.map(([name, value]) => [name, String(value)]));
}
