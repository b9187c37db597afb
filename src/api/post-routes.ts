// GET and DELETE /posts/:id, GET /posts/:id/similar.
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { PostStore } from '../contracts.ts';
import { deadlineIn } from '../deadline.ts';
import { FeedrankError } from '../errors.ts';
import type { ApiConfig } from './api-config.ts';
import type { AppContext, CatalogueView } from './app-context.ts';
import type { ApplyAfterCommit } from './apply-after-commit.ts';
import type { PostCache } from './post-cache.ts';
import { postContent } from './post-content.ts';
import { idParams, limitSchema } from './request-schemas.ts';
import { deletionResponse, postResponse, problemResponse, similarResponse } from './response-schemas.ts';

/** Asked for beyond the limit: some may be gone by the time they are read. */
const SPARE_SIMILAR = 20;
const DEFAULT_SIMILAR = 10;

export interface PostRoutesParts {
  config: Pick<ApiConfig, 'ingestDeadlineMs' | 'maxLimit'>;
  store: Pick<PostStore, 'deletePost'>;
  posts: PostCache;
  catalogue: Pick<CatalogueView, 'find' | 'similar'>;
  health: AppContext['health'];
  apply: ApplyAfterCommit;
}

export function postRoutes(parts: PostRoutesParts): FastifyPluginAsyncZod {
  const { config, store, posts, catalogue, health, apply } = parts;
  const deadlineNow = () => deadlineIn(config.ingestDeadlineMs);
  const noSuchPost = () => new FeedrankError('not_found', 'there is no such post');

  return async (app) => {
    app.get(
      '/posts/:id',
      {
        schema: {
          summary: 'A post',
          tags: ['posts'],
          params: idParams,
          response: { 200: postResponse, default: problemResponse },
        },
      },
      async (request) => {
        const { id } = request.params;
        const [post] = await posts.getPosts([id], deadlineNow());
        if (!post) throw noSuchPost();
        return { requestId: request.id, id, post: postContent(post) };
      },
    );

    app.delete(
      '/posts/:id',
      {
        schema: {
          summary: 'Delete a post; in no feed from the next request',
          tags: ['posts'],
          params: idParams,
          response: { 200: deletionResponse, default: problemResponse },
        },
      },
      async (request) => {
        const { id } = request.params;
        const deleted = await store.deletePost(id, deadlineNow());
        // Also when it was gone already: a first try may have been committed and not put in force.
        await apply.before([{ kind: 'post_deleted', postId: id }]);
        return { requestId: request.id, id, deleted };
      },
    );

    app.get(
      '/posts/:id/similar',
      {
        schema: {
          summary: 'The posts nearest to a post',
          tags: ['posts'],
          params: idParams,
          querystring: z.strictObject({ limit: limitSchema(DEFAULT_SIMILAR, config.maxLimit) }),
          response: { 200: similarResponse, default: problemResponse },
        },
      },
      async (request) => {
        const { id } = request.params;
        const { limit } = request.query;
        const deadline = deadlineNow();
        const nearest = await catalogue.similar(id, limit + SPARE_SIMILAR, deadline);
        if (nearest === null) {
          const [post] = await posts.getPosts([id], deadline);
          if (!post) throw noSuchPost();
          throw new FeedrankError('unavailable', 'the post is not in the index yet', {
            retryAfterSeconds: 2,
          });
        }
        const servable = nearest.filter(({ postId }) => postId !== id && catalogue.find(postId) !== null);
        const found = await posts.getPosts(
          servable.map(({ postId }) => postId),
          deadline,
        );
        const similar = servable.flatMap(({ postId, similarity }, i) => {
          const post = found[i];
          return post ? [{ id: postId, similarity, post: postContent(post) }] : [];
        });
        return {
          requestId: request.id,
          id,
          index: health().index.generation,
          posts: similar.slice(0, limit),
        };
      },
    );
  };
}
