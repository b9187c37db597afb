// One user's page for a feed job: what GET /feed would answer now, by the same code. Nobody reads it yet: it is let in
// last, it is not explored, and nothing of it is recorded as served or seen. Called by the runner.
import type { Admission } from '../../admission.ts';
import type { FeedJobPage } from '../../contracts.ts';
import { deadlineIn } from '../../deadline.ts';
import type { ApiConfig } from '../api-config.ts';
import type { FeedPages } from '../feed-pages.ts';
import { newRequestId } from '../request-id.ts';
import type { TrackingTokens } from '../tracking-token.ts';
import { whyShown } from '../why.ts';

/** Nobody waits: it may queue behind readers for so many of their deadlines. */
const DEADLINES = 4;

export interface FeedJobPageParts {
  config: Pick<ApiConfig, 'feedDeadlineMs'>;
  clock: { now(): number };
  admission: Pick<Admission, 'run'>;
  pages: Pick<FeedPages, 'page'>;
  tokens: TrackingTokens;
}

/** `ranked` is false where no worker answered and a fallback stood in. */
export type ComputePage = (
  userId: string,
  limit: number,
  signal: AbortSignal,
) => Promise<{ page: FeedJobPage; ranked: boolean }>;

/** The function throws FeedrankError `overloaded` where readers need the workers. */
export function computeFeedJobPage(parts: FeedJobPageParts): ComputePage {
  const { config, clock, admission, pages, tokens } = parts;
  return async (userId, limit, signal) => {
    const requestId = newRequestId();
    const deadline = deadlineIn(config.feedDeadlineMs * DEADLINES);
    const asked = { requestId, userId, limit, cursor: undefined, exclude: [], explain: 0 } as const;
    // Its time is not told to the admission: a queue behind readers says nothing of what they wait for.
    const made = await admission.run('background', () =>
      pages.page({ ...asked, priority: 'background', signal, single: true }, deadline),
    );
    const { model, embeddingKind } = made.facts;
    const page: FeedJobPage = {
      requestId,
      generatedAt: clock.now(),
      model,
      degraded: made.degraded,
      posts: made.posts.map(({ entry, post, position }) => ({
        id: entry.postId,
        token: tokens.issue({ requestId, position }, userId, entry.postId),
        position,
        score: entry.score,
        sources: [...entry.sources],
        why: whyShown(entry, post, embeddingKind),
      })),
    };
    return { page, ranked: !made.facts.degraded.includes('ranking_unavailable') };
  };
}
