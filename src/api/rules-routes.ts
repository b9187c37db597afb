// /admin/rules: which rules serve, which are on trial and how their gates stand, and the moves an operator makes.
// Registered by admin-routes.ts, inside its limits.
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { RulesAdmin } from './app-context.ts';
import { problemResponse } from './response-schemas.ts';

const TAGS = ['operations'];

const moveRequest = z.strictObject({
  action: z.enum(['promote', 'rollback']),
  version: z
    .string()
    .regex(/^[0-9a-f]{12}$/, 'must be the 12 hex digits of a version')
    .optional(),
  reason: z.string().min(1).max(500).optional(),
});

const statusResponse = z
  .object({
    mode: z.enum(['auto', 'manual']),
    serving: z.string(),
    file: z.string().nullable(),
    previous: z.string().nullable(),
    trial: z.looseObject({ version: z.string(), waits: z.string().nullable() }).nullable(),
    refused: z.array(z.object({ version: z.string(), reason: z.string(), at: z.string() })),
    problems: z.array(z.string()),
  })
  .describe('Versions of the rules, with what this replica saw of the one on trial');

export function rulesRoutes(
  rules: RulesAdmin,
  inPlace: <T>(work: () => T | Promise<T>) => Promise<T>,
): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/admin/rules',
      {
        config: { scope: 'admin' },
        schema: {
          summary: 'Which rules serve, which are on trial and how their gates stand',
          tags: TAGS,
          response: { 200: statusResponse, default: problemResponse },
        },
      },
      () => inPlace(() => rules.status() as z.infer<typeof statusResponse>),
    );

    app.post(
      '/admin/rules',
      {
        config: { scope: 'admin' },
        schema: {
          summary: 'Promotes a version of the rules to everybody, or rolls back',
          tags: TAGS,
          body: moveRequest,
          response: { 200: statusResponse, default: problemResponse },
        },
      },
      async ({ body, principal, ip, log }) => {
        log.warn(
          { audit: true, by: principal?.id ?? 'open', ip, ...body },
          'a move of the rules was asked for',
        );
        return inPlace(async () => (await rules.move(body)) as z.infer<typeof statusResponse>);
      },
    );
  };
}
