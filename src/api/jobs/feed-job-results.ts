// Results of a feed job as they are given out: the stored posts with their contents as of now, without those that may no
// longer be shown to that user. Called by feed-job-routes.ts.
import type { FeedJobResult } from '../../contracts.ts';
import type { Deadline } from '../../deadline.ts';
import type { CatalogueView } from '../app-context.ts';
import { PageEligibility } from '../page-eligibility.ts';
import type { PostCache } from '../post-cache.ts';
import { postContent } from '../post-content.ts';
import type { UserEdges } from '../user-edges.ts';
import type { FeedJobResults } from './feed-job-schemas.ts';

/** Of what is left of the time, for the users' blocks and mutes. */
const EDGES_SHARE = 0.5;

export interface FeedJobResultParts {
  catalogue: Pick<CatalogueView, 'find'>;
  posts: Pick<PostCache, 'getPosts'>;
  edges: Pick<UserEdges, 'read'>;
}

/** @throws FeedrankError when the contents of the posts cannot be read. */
export async function currentResults(
  { catalogue, posts, edges }: FeedJobResultParts,
  results: readonly FeedJobResult[],
  deadline: Deadline,
): Promise<FeedJobResults['results']> {
  const ids = [...new Set(results.flatMap(({ page }) => page?.posts.map(({ id }) => id) ?? []))];
  const share = deadline.within(deadline.remainingMs() * EDGES_SHARE);
  const [contents, readers] = await Promise.all([
    ids.length === 0 ? [] : posts.getPosts(ids, deadline),
    Promise.all(results.map(({ userId, page }) => (page ? edges.read(userId, share) : null))),
  ]);
  const byId = new Map(ids.map((id, i) => [id, contents[i]]));
  return results.map(({ userId, status, page }, i) => {
    const base = { userId, status };
    if (page === null) {
      return { ...base, servingId: null, generatedAt: null, model: null, degraded: [], posts: [] };
    }
    const reader = readers[i];
    const { edges: known, showSensitive } = reader ?? { edges: [], showSensitive: null };
    const eligibility = new PageEligibility(catalogue, { userId, edges: known, showSensitive });
    return {
      ...base,
      servingId: page.requestId,
      generatedAt: page.generatedAt,
      model: page.model,
      degraded: reader ? page.degraded : [...page.degraded, 'user_edges_unavailable'],
      posts: page.posts.flatMap((entry) => {
        const post = byId.get(entry.id) ?? null;
        if (post === null || eligibility.refusal(entry.id, post) !== null) return [];
        return [{ ...entry, post: postContent(post) }];
      }),
    };
  });
}
