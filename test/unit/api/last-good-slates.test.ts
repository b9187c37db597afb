// The lowest rungs of the ladder on a replica that has not read the change feed for a while.
import { describe, expect, it } from 'vitest';
import { NO_FACTS } from '../../../src/api/feed-snapshot.ts';
import { LastGoodSlates } from '../../../src/api/last-good-slates.ts';

const NONE = new Uint32Array(0);

describe('what is shown when no slate can be made', () => {
  it('says that it is behind where the catalogue is', () => {
    let behind = false;
    const slates = new LastGoodSlates({ trending: () => ['p1', 'p2'], isStale: () => behind }, () => 0);
    const entry = { postId: 'p3', score: 1, propensity: 1, similarity: 1, sources: [], probabilities: null };
    slates.keep('known', NO_FACTS, { posts: [entry], edges: [] });
    const causes = (userId: string) => slates.recall(userId, 5, NONE, NONE).facts.degraded;
    expect(causes('known')).toEqual(['ranking_unavailable', 'last_good_slate']);
    expect(causes('new')).toEqual(['ranking_unavailable', 'trending_only']);
    behind = true;
    expect(causes('known')).toEqual(['ranking_unavailable', 'last_good_slate', 'changes_stale']);
    expect(causes('new')).toEqual(['ranking_unavailable', 'trending_only', 'changes_stale']);
  });
});
