// PUT, GET and DELETE /users/:id: the profile, and erasure from every store.
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Edge, User, UserStore } from '../contracts.ts';
import { deadlineIn, raceDeadline } from '../deadline.ts';
import { FeedrankError } from '../errors.ts';
import type { ApiConfig } from './api-config.ts';
import type { ApplyAfterCommit } from './apply-after-commit.ts';
import { profileBody, userIdParams } from './request-schemas.ts';
import { erasureResponse, problemResponse, profileResponse, userResponse } from './response-schemas.ts';
import type { UserErasure } from './user-erasure.ts';

export interface UserRoutesParts {
  config: Pick<ApiConfig, 'ingestDeadlineMs'>;
  clock: { now(): number };
  users: Pick<UserStore, 'getUser' | 'putUsers'>;
  erasure: UserErasure;
  apply: ApplyAfterCommit;
}

export function userRoutes(parts: UserRoutesParts): FastifyPluginAsyncZod {
  const { config, clock, users, erasure, apply } = parts;
  const deadlineNow = () => deadlineIn(config.ingestDeadlineMs);

  return async (app) => {
    app.put(
      '/users/:id',
      {
        schema: {
          summary: 'Set a user’s profile; an absent createdAt keeps the stored one',
          tags: ['users'],
          params: userIdParams,
          body: profileBody,
          response: { 200: profileResponse, default: problemResponse },
        },
      },
      async (request) => {
        const { id } = request.params;
        const deadline = deadlineNow();
        const stored = await raceDeadline(users.getUser(id, deadline), deadline, 'the user store');
        const createdAt = request.body.createdAt ?? stored?.user?.createdAt ?? clock.now();
        const user: User = { ...request.body, id, createdAt };
        await users.putUsers([user], deadline);
        await apply.before([{ kind: 'user', user }]);
        return { requestId: request.id, user };
      },
    );

    app.get(
      '/users/:id',
      {
        schema: {
          summary: 'A user’s profile, follows, blocks and mutes',
          tags: ['users'],
          params: userIdParams,
          response: { 200: userResponse, default: problemResponse },
        },
      },
      async (request) => {
        const { id } = request.params;
        const deadline = deadlineNow();
        const stored = await raceDeadline(users.getUser(id, deadline), deadline, 'the user store');
        if (stored === null) throw new FeedrankError('not_found', 'there is no such user');
        const targets = (kind: Edge['kind']) =>
          stored.edges.filter((edge) => edge.kind === kind).map((edge) => edge.target);
        return {
          requestId: request.id,
          user: stored.user,
          follows: targets('follow'),
          blocks: targets('block'),
          mutes: {
            authors: targets('mute_author'),
            words: targets('mute_word'),
            topics: targets('mute_topic'),
          },
        };
      },
    );

    app.delete(
      '/users/:id',
      {
        schema: {
          summary:
            'Erase a user: profile, edges, events, serving log, results of feed jobs, online state, feed sessions',
          tags: ['users'],
          params: userIdParams,
          response: { 200: erasureResponse, default: problemResponse },
        },
      },
      async (request) => {
        const { id } = request.params;
        const erased = await erasure.erase(id, deadlineNow());
        return { requestId: request.id, userId: id, erased };
      },
    );
  };
}
