// What the users of one arm (canary or control) got and did: sums of their answers, pages and events, bounded in memory.
import { z } from 'zod';
import type { FeedAnswer, ServedPost } from '../../contracts.ts';
import type { EventType } from '../../vocabulary.ts';
import { Concentration } from './concentration.ts';
import { RecentMedian } from './recent-median.ts';

export interface ArmFigures {
  slates: number;
  failures: number;
  lastFailure: string;
  lateShare: number;
  /** Median time of encoding and ranking, milliseconds. */
  rankMs: number;
  pages: number;
  posts: number;
  /** Probability that two served posts have the same author; that they are the same post. */
  authorConcentration: number;
  /** The same on first pages alone: whoever reads on sees the same candidates in any order. */
  firstPageConcentration: number;
  postConcentration: number;
  outOfNetworkShare: number;
  /** Mean predicted probability of a rejection. */
  negative: number;
  /** Clicks and likes that the model predicted for the served posts, and those that came. */
  predicted: number;
  observed: number;
  /** observed ÷ predicted; 0 where nothing was predicted. */
  calibration: number;
}

/** Pages whose events are still waited for. */
const PAGES_REMEMBERED = 20_000;
/** Heads that calibration compares, named as their events. */
const ENGAGEMENTS = ['click', 'like'] as const;

const counts = z.array(z.tuple([z.string(), z.number()]));

/** The evidence as it is kept over a restart: without the pages whose events are still waited for. */
export const keptArm = z.strictObject({
  slates: z.number(),
  failures: z.number(),
  lastFailure: z.string(),
  late: z.number(),
  rankMs: z.array(z.number()),
  pages: z.number(),
  posts: z.number(),
  outOfNetwork: z.number(),
  ranked: z.number(),
  negative: z.number(),
  predicted: z.number(),
  observed: z.number(),
  authors: counts,
  firstAuthors: counts,
  postIds: counts,
});

export class ArmEvidence {
  #slates = 0;
  #failures = 0;
  #lastFailure = '';
  #late = 0;
  #rankMs = new RecentMedian();
  #pages = 0;
  #posts = 0;
  #outOfNetwork = 0;
  #ranked = 0;
  #negative = 0;
  #predicted = 0;
  #observed = 0;
  #authors = new Concentration();
  #firstAuthors = new Concentration();
  #postIds = new Concentration();
  /** Events that were counted, by request. */
  readonly #requests = new Map<string, Set<string>>();

  get slates(): number {
    return this.#slates;
  }

  /** A slate of this arm; `failed` and `late` are what the ladder names for the main ranker. */
  answered(answer: Pick<FeedAnswer, 'degraded' | 'failures' | 'stageMs'>): void {
    this.#slates++;
    this.#rankMs.add((answer.stageMs.encode ?? 0) + (answer.stageMs.rank ?? 0));
    if (answer.degraded.includes('ranker_late')) this.#late++;
    if (answer.degraded.includes('ranker_failed') || answer.degraded.includes('ranker_missing')) {
      this.#failures++;
      this.#lastFailure = answer.failures.at(-1) ?? 'the ranker is missing';
    }
  }

  /** A slate that could not be made. */
  failed(reason: string): void {
    this.#slates++;
    this.#failures++;
    this.#lastFailure = reason;
  }

  /** A page of this arm as it was delivered. `authorOf` null = the post is gone. */
  served(requestId: string, posts: readonly ServedPost[], authorOf: (postId: string) => string | null): void {
    this.#pages++;
    const isFirst = posts[0]?.position === 0;
    for (const { postId, sources, probabilities } of posts) {
      this.#posts++;
      this.#postIds.add(postId);
      const author = authorOf(postId) ?? `of ${postId}`;
      this.#authors.add(author);
      if (isFirst) this.#firstAuthors.add(author);
      if (!sources.includes('following')) this.#outOfNetwork++;
      if (probabilities === null) continue;
      this.#ranked++;
      this.#negative += probabilities.negative;
      for (const head of ENGAGEMENTS) this.#predicted += probabilities[head];
    }
    this.#requests.set(requestId, new Set());
    if (this.#requests.size <= PAGES_REMEMBERED) return;
    const [oldest] = this.#requests.keys();
    this.#requests.delete(oldest);
  }

  /** An event that carries a page's token; each kind counts once a post. Says whether the page is this arm's. */
  engaged(requestId: string, postId: string, type: EventType): boolean {
    const counted = this.#requests.get(requestId);
    if (!counted) return false;
    const key = `${type} ${postId}`;
    if ((ENGAGEMENTS as readonly string[]).includes(type) && !counted.has(key)) {
      counted.add(key);
      this.#observed++;
    }
    return true;
  }

  toJSON(): z.infer<typeof keptArm> {
    return {
      slates: this.#slates,
      failures: this.#failures,
      lastFailure: this.#lastFailure,
      late: this.#late,
      rankMs: this.#rankMs.toJSON(),
      pages: this.#pages,
      posts: this.#posts,
      outOfNetwork: this.#outOfNetwork,
      ranked: this.#ranked,
      negative: this.#negative,
      predicted: this.#predicted,
      observed: this.#observed,
      authors: this.#authors.toJSON(),
      firstAuthors: this.#firstAuthors.toJSON(),
      postIds: this.#postIds.toJSON(),
    };
  }

  /** Adds what another replica saw, or this one before it was started again. */
  add(kept: z.infer<typeof keptArm>): void {
    this.#slates += kept.slates;
    this.#failures += kept.failures;
    this.#lastFailure ||= kept.lastFailure;
    this.#late += kept.late;
    this.#rankMs.addAll(kept.rankMs);
    this.#pages += kept.pages;
    this.#posts += kept.posts;
    this.#outOfNetwork += kept.outOfNetwork;
    this.#ranked += kept.ranked;
    this.#negative += kept.negative;
    this.#predicted += kept.predicted;
    this.#observed += kept.observed;
    this.#authors.addAll(kept.authors);
    this.#firstAuthors.addAll(kept.firstAuthors);
    this.#postIds.addAll(kept.postIds);
  }

  /** Of this evidence and the others' together. */
  figures(others: ArmEvidence | null = null): ArmFigures {
    const share = (part: number, whole: number) => (whole === 0 ? 0 : part / whole);
    const sum = (read: (one: ArmEvidence) => number) => read(this) + (others ? read(others) : 0);
    const slates = sum((one) => one.#slates);
    const posts = sum((one) => one.#posts);
    const predicted = sum((one) => one.#predicted);
    const observed = sum((one) => one.#observed);
    return {
      slates,
      failures: sum((one) => one.#failures),
      lastFailure: this.#lastFailure || (others ? others.#lastFailure : ''),
      lateShare: share(
        sum((one) => one.#late),
        slates,
      ),
      rankMs: this.#rankMs.medianWith(others ? others.#rankMs : null) ?? 0,
      pages: sum((one) => one.#pages),
      posts,
      authorConcentration: this.#authors.indexWith(others ? others.#authors : null),
      firstPageConcentration: this.#firstAuthors.indexWith(others ? others.#firstAuthors : null),
      postConcentration: this.#postIds.indexWith(others ? others.#postIds : null),
      outOfNetworkShare: share(
        sum((one) => one.#outOfNetwork),
        posts,
      ),
      negative: share(
        sum((one) => one.#negative),
        sum((one) => one.#ranked),
      ),
      predicted,
      observed,
      calibration: share(observed, predicted),
    };
  }
}
