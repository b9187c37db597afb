import { describe, expect, test } from 'vitest';
import {
  exclusionsOf,
  judgeEvent,
  judgeFeed,
  type Profile,
} from '../../../scripts/load-test/answer-checker.ts';
import { type FakeFeed, fakeFeed } from './load-test-fake-service.ts';

const USER = 'u1';
const nobody: Profile = { blocks: [], mutes: { authors: [], words: [], topics: [] }, showSensitive: false };

function answer(body: unknown, status = 200, retryAfter: number | null = null) {
  return { status, retryAfter, body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)) };
}

function judge(body: unknown, exclusions: Partial<Profile> | null = null) {
  return judgeFeed(answer(body), {
    userId: USER,
    posts: 5,
    exclusions: exclusions && exclusionsOf({ ...nobody, ...exclusions }),
  });
}

/** A feed of five whose third post is changed. */
function withPost(change: object, post: object = {}): FakeFeed {
  const feed = fakeFeed(USER, 5);
  const third = feed.posts[2] as { post: object };
  feed.posts[2] = { ...third, post: { ...third.post, ...post }, ...change };
  return feed;
}

describe('judgeFeed', () => {
  test('a right answer is good, and one of its posts can carry events', () => {
    expect(judge(fakeFeed(USER, 5), nobody)).toEqual({
      verdict: 'good',
      causes: [],
      served: { userId: USER, postId: 'p2', token: 't2', position: 2 },
    });
  });

  test('a degraded answer is counted by its causes', () => {
    const { verdict, causes } = judge(fakeFeed(USER, 5, { degraded: ['ranker_late', 'index_unavailable'] }));
    expect({ verdict, causes }).toEqual({
      verdict: 'degraded',
      causes: ['degraded:ranker_late', 'degraded:index_unavailable'],
    });
  });

  test('fewer posts are short where the answer says that nothing is left, else wrong', () => {
    expect(judge(fakeFeed(USER, 3, { end: true })).verdict).toBe('short');
    expect(judge(fakeFeed(USER, 0, { end: true }))).toEqual({ verdict: 'short', causes: [], served: null });
    expect(judge(fakeFeed(USER, 3)).causes).toEqual(['wrong:3 posts']);
    expect(judge(fakeFeed(USER, 6)).causes).toEqual(['wrong:6 posts']);
  });

  test.each([
    ['another user', fakeFeed('u2', 5)],
    ['repeated post', withPost({ id: 'p0' })],
    ['positions not 0, 1, 2, …', withPost({ position: 7 })],
    ['a post without id or token', withPost({ token: undefined })],
    ['score not a number', withPost({ score: null })],
    ['the user’s own post', withPost({}, { authorId: USER })],
    ['not a feed', 'no JSON'],
    ['not a feed', 'null'],
    ['not a feed', { userId: USER }],
    ['a post without id or token', fakeFeed(USER, 5, { posts: [null as unknown as object] })],
  ])('finds %s', (cause, body) => {
    expect(judge(body)).toEqual({ verdict: 'wrong', causes: [`wrong:${cause}`], served: null });
  });

  test.each([
    ['blocked or muted author', { blocks: ['a2'] }, {}],
    ['blocked or muted author', { mutes: { authors: ['a4'], words: [], topics: [] } }, {}],
    ['muted topic', { mutes: { authors: [], words: [], topics: ['sports'] } }, { topic: 'sports' }],
    ['muted word', { mutes: { authors: [], words: ['spoiler'], topics: [] } }, { title: 'A SPOILER here' }],
    ['sensitive post', {}, { sensitive: true }],
  ])('finds a %s of the user’s own', (cause, exclusions, post) => {
    const body = withPost({}, post);
    expect(judge(body, exclusions).causes).toEqual([`wrong:${cause}`]);
    expect(judge(body).verdict).toBe('good');
  });

  test('a wrong answer that is degraded too is wrong, and says what was replaced', () => {
    const body = { ...withPost({ id: 'p0' }), degraded: ['user_edges_unavailable'] };
    expect(judge(body).causes).toEqual(['wrong:repeated post (user_edges_unavailable)']);
  });

  test('a sensitive post is right for who wants them', () => {
    expect(judge(withPost({}, { sensitive: true }), { showSensitive: true }).verdict).toBe('good');
  });

  test('a post without content is right while the store does not answer', () => {
    expect(judge(withPost({ post: null })).verdict).toBe('good');
  });

  test('refused is 429 or 503 with Retry-After; everything else is failed, by code', () => {
    const expected = { userId: USER, posts: 5, exclusions: null };
    const of = (status: number, retryAfter: number | null, body: unknown) => {
      const { verdict, causes } = judgeFeed(answer(body, status, retryAfter), expected);
      return [verdict, ...causes];
    };
    expect(of(503, 1, { code: 'overloaded' })).toEqual(['refused', '503 overloaded']);
    expect(of(429, 30, { code: 'rate_limited' })).toEqual(['refused', '429 rate_limited']);
    expect(of(503, null, { code: 'unavailable' })).toEqual(['failed', '503 unavailable']);
    expect(of(504, 1, { code: 'timeout' })).toEqual(['failed', '504 timeout']);
    expect(of(500, null, '<html>')).toEqual(['failed', '500']);
  });
});

describe('judgeEvent', () => {
  test('one event must be stored or known', () => {
    expect(judgeEvent(answer({ stored: 1, duplicates: 0, degraded: [] })).verdict).toBe('good');
    expect(judgeEvent(answer({ stored: 0, duplicates: 1, degraded: [] })).verdict).toBe('good');
    expect(judgeEvent(answer({ stored: 0, duplicates: 0, degraded: [] })).verdict).toBe('wrong');
    expect(judgeEvent(answer({ stored: 1, duplicates: 0, degraded: ['late'] })).verdict).toBe('degraded');
    expect(judgeEvent(answer({ code: 'overloaded' }, 503, 1)).verdict).toBe('refused');
  });
});
