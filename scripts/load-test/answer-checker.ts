// Judges every answer: the right user, as many distinct and eligible posts as were asked for. Called by phase-run.ts.
import { mutedWordTest } from '../../src/api/muted-words.ts';
import type { Post } from '../../src/contracts.ts';
import type { HttpAnswer } from './http-response.ts';

/**
 * good: all checks passed at full quality. degraded: passed, and the answer names what was replaced. short: passed,
 * fewer posts than asked, and the answer says that nothing is left. wrong: a check failed. refused: 429 or 503 with
 * Retry-After. failed: any other status.
 */
export type Verdict = 'good' | 'degraded' | 'short' | 'wrong' | 'refused' | 'failed';

/** A post as it was served; what events refer to. */
export interface Served {
  userId: string;
  postId: string;
  token: string;
  position: number;
}

export interface Judgement {
  verdict: Verdict;
  /** `degraded:ranker_late`, `wrong:repeated post`, `503 overloaded`: counted by name. */
  causes: string[];
  /** One post of a good answer. */
  served: Served | null;
}

/** What of a user's profile makes a post ineligible; from GET /users/:id before the run. */
export interface Profile {
  blocks: readonly string[];
  mutes: { authors: readonly string[]; words: readonly string[]; topics: readonly string[] };
  showSensitive: boolean;
}

/** A profile made fast to ask. */
export interface Exclusions {
  authors: ReadonlySet<string>;
  topics: ReadonlySet<string>;
  mutedWord: ((post: Post) => boolean) | null;
  showSensitive: boolean;
}

export function exclusionsOf({ blocks, mutes, showSensitive }: Profile): Exclusions {
  return {
    authors: new Set([...blocks, ...mutes.authors]),
    topics: new Set(mutes.topics),
    mutedWord: mutedWordTest(mutes.words),
    showSensitive,
  };
}

/** `posts` is what was asked for; `exclusions` null checks all but the user's own blocks and mutes. */
export function judgeFeed(
  answer: HttpAnswer,
  expected: { userId: string; posts: number; exclusions: Exclusions | null },
): Judgement {
  if (answer.status !== 200) return judgeProblem(answer);
  const body = parse(answer.body);
  const { userId, posts, degraded, end } = body;
  if (!Array.isArray(posts) || !Array.isArray(degraded)) return wrong('not a feed');
  if (userId !== expected.userId) return wrong('another user');
  const ofNumber = posts.length > expected.posts || (posts.length < expected.posts && end !== true);
  const problem = postsProblem(posts, expected) ?? (ofNumber ? `${posts.length} posts` : null);
  if (problem) return wrong(degraded.length > 0 ? `${problem} (${degraded.join(', ')})` : problem);
  const pick = posts[Math.floor(posts.length / 2)] as { id: string; token: string; position: number };
  const served = pick && {
    userId: expected.userId,
    postId: pick.id,
    token: pick.token,
    position: pick.position,
  };
  if (degraded.length > 0) {
    return { verdict: 'degraded', causes: degraded.map((cause) => `degraded:${cause}`), served };
  }
  return { verdict: posts.length < expected.posts ? 'short' : 'good', causes: [], served: served ?? null };
}

/** One event was sent: it must be stored, or known already. */
export function judgeEvent(answer: HttpAnswer): Judgement {
  if (answer.status !== 200) return judgeProblem(answer);
  const { stored, duplicates, degraded } = parse(answer.body);
  if (Number(stored) + Number(duplicates) !== 1 || !Array.isArray(degraded)) return wrong('event not stored');
  if (degraded.length === 0) return { verdict: 'good', causes: [], served: null };
  return { verdict: 'degraded', causes: degraded.map((cause) => `degraded:${cause}`), served: null };
}

function judgeProblem(answer: HttpAnswer): Judgement {
  const { code } = parse(answer.body);
  const cause = typeof code === 'string' ? `${answer.status} ${code}` : `${answer.status}`;
  const refused = (answer.status === 429 || answer.status === 503) && answer.retryAfter !== null;
  return { verdict: refused ? 'refused' : 'failed', causes: [cause], served: null };
}

interface FeedPost {
  id?: unknown;
  token?: unknown;
  position?: unknown;
  score?: unknown;
  post?: Post | null;
}

function postsProblem(
  posts: readonly FeedPost[],
  { userId, exclusions }: { userId: string; exclusions: Exclusions | null },
): string | null {
  const ids = new Set<unknown>();
  for (let i = 0; i < posts.length; i++) {
    const { id, token, position, score, post } = posts[i] ?? {};
    if (typeof id !== 'string' || typeof token !== 'string') return 'a post without id or token';
    if (ids.has(id)) return 'repeated post';
    ids.add(id);
    if (position !== i) return 'positions not 0, 1, 2, …';
    if (!Number.isFinite(score)) return 'score not a number';
    if (!post) continue;
    const ineligible = ineligibility(post, userId, exclusions);
    if (ineligible) return ineligible;
  }
  return null;
}

function ineligibility(post: Post, userId: string, exclusions: Exclusions | null): string | null {
  if (post.authorId === userId) return 'the user’s own post';
  if (exclusions === null) return null;
  if (exclusions.authors.has(post.authorId)) return 'blocked or muted author';
  if (post.topic !== undefined && exclusions.topics.has(post.topic)) return 'muted topic';
  if (exclusions.mutedWord?.(post)) return 'muted word';
  return post.sensitive && !exclusions.showSensitive ? 'sensitive post' : null;
}

function wrong(check: string): Judgement {
  return { verdict: 'wrong', causes: [`wrong:${check}`], served: null };
}

/** An object, empty when the bytes are none. */
function parse(body: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body.toString());
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
