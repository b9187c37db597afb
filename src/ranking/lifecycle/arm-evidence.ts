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
  #postIds = new Concentration();
  /** Events that were counted, by request. */
  readonly #requests = new Map<string, Set<string>>();

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
    for (const { postId, sources, probabilities } of posts) {
      this.#posts++;
      this.#postIds.add(postId);
      this.#authors.add(authorOf(postId) ?? `of ${postId}`);
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
      postIds: this.#postIds.toJSON(),
    };
  }

  static of(kept: z.infer<typeof keptArm>): ArmEvidence {
    const made = new ArmEvidence();
    made.#slates = kept.slates;
    made.#failures = kept.failures;
    made.#lastFailure = kept.lastFailure;
    made.#late = kept.late;
    made.#rankMs = RecentMedian.of(kept.rankMs);
    made.#pages = kept.pages;
    made.#posts = kept.posts;
    made.#outOfNetwork = kept.outOfNetwork;
    made.#ranked = kept.ranked;
    made.#negative = kept.negative;
    made.#predicted = kept.predicted;
    made.#observed = kept.observed;
    made.#authors = Concentration.of(kept.authors);
    made.#postIds = Concentration.of(kept.postIds);
    return made;
  }

  figures(): ArmFigures {
    const share = (part: number, whole: number) => (whole === 0 ? 0 : part / whole);
    return {
      slates: this.#slates,
      failures: this.#failures,
      lastFailure: this.#lastFailure,
      lateShare: share(this.#late, this.#slates),
      rankMs: this.#rankMs.median ?? 0,
      pages: this.#pages,
      posts: this.#posts,
      authorConcentration: this.#authors.index,
      postConcentration: this.#postIds.index,
      outOfNetworkShare: share(this.#outOfNetwork, this.#posts),
      negative: share(this.#negative, this.#ranked),
      predicted: this.#predicted,
      observed: this.#observed,
      calibration: share(this.#observed, this.#predicted),
    };
  }
}
