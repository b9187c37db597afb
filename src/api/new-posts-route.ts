// GET /feed/:userId/new: how many posts wait since the feed was read, for a badge or a "show new posts" button. Cheap:
// no search, no ranking, nothing is recorded as seen.
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { StateStore, UserState, UserStore } from '../contracts.ts';
import { type Deadline, deadlineIn, raceDeadline } from '../deadline.ts';
import { NEW_POSTS_LIMIT } from '../new-posts.ts';
import { packUser } from '../pack-user.ts';
import type { ApiConfig } from './api-config.ts';
import type { CatalogueView } from './app-context.ts';
import { newPostsQuery, userParams } from './request-schemas.ts';
import { newPostsResponse, problemResponse } from './response-schemas.ts';
import type { SeenRecorder } from './seen-recorder.ts';

/** No tower has this name: the state comes without its vector. */
const NO_TOWER = '';
const NO_VECTOR = new Float32Array(0);
/** The state store's share of the time before the SQL store is asked. */
const STATE_SHARE = 0.4;

export interface NewPostsRouteParts {
  config: Pick<ApiConfig, 'feedDeadlineMs'>;
  clock: { now(): number };
  catalogue: Pick<CatalogueView, 'countNew'>;
  state: Pick<StateStore, 'getState'>;
  users: Pick<UserStore, 'getUser'>;
  seen: Pick<SeenRecorder, 'unconfirmed'>;
}

export function newPostsRoute(parts: NewPostsRouteParts): FastifyPluginAsyncZod {
  const { config, clock, catalogue, seen } = parts;
  return async (app) => {
    app.get(
      '/feed/:userId/new',
      {
        schema: {
          summary: `How many posts made since a moment wait for the user, up to ${NEW_POSTS_LIMIT}`,
          description:
            'Counts what the feed’s filters let through and the user has not been given; not every one of them will ' +
            'be ranked into the next page. GET /feed/:userId without a cursor begins a feed that takes the new posts ' +
            'in and leaves out what was delivered before.',
          tags: ['feed'],
          params: userParams,
          querystring: newPostsQuery,
          response: { 200: newPostsResponse, default: problemResponse },
        },
      },
      async (request, reply) => {
        const { userId } = request.params;
        const { since } = request.query;
        // Before the state is read: what a write takes over meanwhile would be in neither.
        const delivered = seen.unconfirmed(userId);
        const state = await readUser(parts, userId, deadlineIn(config.feedDeadlineMs));
        const nowMs = clock.now();
        const found = catalogue.countNew({
          user: packUser(userId, state ?? null, NO_VECTOR, 'cold'),
          exclude: delivered,
          sinceMs: since,
          nowMs,
        });
        reply.header('cache-control', 'private, no-store');
        const degraded = state === undefined ? ['user_state_unavailable'] : [];
        return { requestId: request.id, userId, since, checkedAt: nowMs, ...found, degraded };
      },
    );
  };
}

/** null where nothing is known of the user, undefined where no store answered in time. */
async function readUser(
  { state, users }: NewPostsRouteParts,
  userId: string,
  deadline: Deadline,
): Promise<UserState | null | undefined> {
  const within = deadline.within(deadline.remainingMs() * STATE_SHARE);
  let touched: UserState | null = null;
  try {
    touched = await raceDeadline(state.getState(userId, NO_TOWER, within), within, 'the user store');
    // A state without a profile was only touched: its edges may be missing.
    if (touched?.user) return touched;
  } catch {
    // The SQL store knows the same edges.
  }
  try {
    const stored = await raceDeadline(users.getUser(userId, deadline), deadline, 'the SQL store');
    if (!stored) return touched;
    const rest = touched ?? { version: 0, embedding: null, history: [], seen: new Uint32Array(0) };
    return { ...rest, ...stored };
  } catch {
    return undefined;
  }
}
