// /admin/models: the rankers' stages, their gates and their history, and the moves between stages; /admin/rules is in a
// file of its own. Needs the scope `admin`; while the service is open to everybody, only this machine is answered.
import { BulkheadRejectedError, bulkhead } from 'cockatiel';
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { FeedrankError, invalid } from '../errors.ts';
import type { ModelAdmin, RulesAdmin } from './app-context.ts';
import { problemResponse } from './response-schemas.ts';
import { rulesRoutes } from './rules-routes.ts';

const TAGS = ['operations'];
/** A move checks a model in a process of its own, and the history is read from disk: never more of it at once. */
const AT_ONCE = 2;
const LOOPBACK = /^(::ffff:)?127\.|^::1$/;

const stageRequest = z.strictObject({
  action: z.enum(['shadow', 'canary', 'promote', 'rollback']),
  version: z
    .string()
    .regex(/^[1-9]\d{0,8}$/, 'must be a version number')
    .optional(),
  share: z.number().positive().max(0.5).optional(),
  reason: z.string().min(1).max(500).optional(),
});

const statusResponse = z
  .object({
    mode: z.enum(['auto', 'manual']),
    serving: z.object({ ranker: z.string().nullable(), light: z.string().nullable() }),
    previous: z.string().nullable(),
    trial: z.looseObject({ version: z.string(), stage: z.enum(['shadow', 'canary']) }).nullable(),
    versions: z.array(z.object({ version: z.string(), refused: z.string().nullable() })),
    experiments: z.looseObject({ name: z.string() }).nullable(),
    problems: z.array(z.string()),
  })
  .describe('Stages of the ranker’s versions, with what this replica saw of the one on trial');

const historyResponse = z.object({
  history: z.array(z.looseObject({ at: z.string(), action: z.string(), name: z.string() })),
});

export function adminRoutes(models: ModelAdmin, rules?: RulesAdmin): FastifyPluginAsyncZod {
  return async (app) => {
    // Routes have their guard as a hook of their own, and those come after the hooks of a plugin: a step later.
    app.addHook('preParsing', async (request) => onlyFromHereWhileOpen(request));
    const places = bulkhead(AT_ONCE, 0);
    const inPlace = async <T>(work: () => T | Promise<T>): Promise<T> => {
      try {
        return await places.execute(work);
      } catch (error) {
        if (!(error instanceof BulkheadRejectedError)) throw error;
        throw new FeedrankError('overloaded', `${AT_ONCE} requests of /admin are being answered already`);
      }
    };

    if (rules) await app.register(rulesRoutes(rules, inPlace));

    app.get(
      '/admin/models',
      {
        config: { scope: 'admin' },
        schema: {
          summary: 'Which ranker serves, which is on trial and how its gates stand',
          tags: TAGS,
          response: { 200: statusResponse, default: problemResponse },
        },
      },
      () => inPlace(() => models.status() as z.infer<typeof statusResponse>),
    );

    app.get(
      '/admin/models/history',
      {
        config: { scope: 'admin' },
        schema: {
          summary: 'Promotions, rollbacks and refusals with their reasons, newest first',
          tags: TAGS,
          querystring: z.strictObject({ limit: z.coerce.number().int().min(1).max(1000).default(100) }),
          response: { 200: historyResponse, default: problemResponse },
        },
      },
      ({ query }) => inPlace(async () => ({ history: (await models.history(query.limit)) as never })),
    );

    app.post(
      '/admin/models/stage',
      {
        config: { scope: 'admin' },
        schema: {
          summary: 'Puts a version of the ranker in shadow or canary, promotes it, or rolls back',
          tags: TAGS,
          body: stageRequest,
          response: { 200: statusResponse, default: problemResponse },
        },
      },
      async ({ body, principal, ip, log }) => {
        // Who moved what, also where it was refused: the registry's history tells only of what happened.
        log.warn(
          { audit: true, by: principal?.id ?? 'open', ip, ...body },
          'a move of a model was asked for',
        );
        if (body.action !== 'rollback' && body.version === undefined) {
          throw invalid('version', `is needed to ${body.action}`);
        }
        if ((body.action === 'canary') !== (body.share !== undefined)) {
          throw invalid('share', 'belongs to a canary, and a canary needs it');
        }
        return inPlace(async () => (await models.move(body)) as z.infer<typeof statusResponse>);
      },
    );
  };
}

function onlyFromHereWhileOpen(request: FastifyRequest): void {
  if (request.principal !== null || LOOPBACK.test(request.socket.remoteAddress ?? '')) return;
  throw new FeedrankError('forbidden', 'without keys or tokens /admin answers this machine only');
}
