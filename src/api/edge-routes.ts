// Follows, blocks and mutes, added by PUT and removed by DELETE one by one; both may be repeated.
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import type { EdgeKind, UserStore } from '../contracts.ts';
import { deadlineIn } from '../deadline.ts';
import { invalid } from '../errors.ts';
import type { ApiConfig } from './api-config.ts';
import type { ApplyAfterCommit } from './apply-after-commit.ts';
import { authorParams, topicParams, wordParams } from './request-schemas.ts';
import { edgeResponse, problemResponse } from './response-schemas.ts';

export interface EdgeRoutesParts {
  config: Pick<ApiConfig, 'ingestDeadlineMs'>;
  clock: { now(): number };
  users: Pick<UserStore, 'setEdges'>;
  apply: ApplyAfterCommit;
}

interface EdgeRoute {
  path: string;
  kind: EdgeKind;
  /** The path parameter that names the target. */
  target: 'authorId' | 'word' | 'topic';
  params: z.ZodType<{ id: string } & Record<string, string>>;
  noun: string;
}

const ROUTES: readonly EdgeRoute[] = [
  { path: 'follows/:authorId', kind: 'follow', target: 'authorId', params: authorParams, noun: 'follow' },
  { path: 'blocks/:authorId', kind: 'block', target: 'authorId', params: authorParams, noun: 'block' },
  {
    path: 'mutes/authors/:authorId',
    kind: 'mute_author',
    target: 'authorId',
    params: authorParams,
    noun: 'muted author',
  },
  { path: 'mutes/words/:word', kind: 'mute_word', target: 'word', params: wordParams, noun: 'muted word' },
  {
    path: 'mutes/topics/:topic',
    kind: 'mute_topic',
    target: 'topic',
    params: topicParams,
    noun: 'muted topic',
  },
];

export function edgeRoutes(parts: EdgeRoutesParts): FastifyPluginAsyncZod {
  const { config, clock, users, apply } = parts;
  return async (app) => {
    for (const { path, kind, target: parameter, params, noun } of ROUTES) {
      for (const [method, on] of [
        ['PUT', true],
        ['DELETE', false],
      ] as const) {
        app.route({
          method,
          url: `/users/:id/${path}`,
          schema: {
            summary: `${on ? 'Add' : 'Remove'} a ${noun}`,
            tags: ['users'],
            params,
            response: { 200: edgeResponse, default: problemResponse },
          },
          handler: async (request) => {
            const { id: userId, [parameter]: given } = request.params as { id: string } & Record<
              string,
              string
            >;
            if (parameter === 'authorId' && given === userId)
              throw invalid('authorId', 'is the user’s own id');
            const target = kind === 'mute_word' ? given.toLowerCase() : given;
            const edge = { userId, kind, target, createdAt: clock.now() };
            await users.setEdges([edge], on, deadlineIn(config.ingestDeadlineMs));
            await apply.before([{ kind: 'edge', edge, on }]);
            return { requestId: request.id, userId, kind, target, on };
          },
        });
      }
    }
  };
}
