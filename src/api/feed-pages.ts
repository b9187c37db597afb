// Cuts pages from slates. Invariants: one feed never repeats a post; a snapshot's post is passed over only when it may
// no longer be shown; when a snapshot is used up the next slate leaves out all of it; `end` means nothing is left.
import type { Deadline } from '../deadline.ts';
import { hash32, packHashes } from '../hashing.ts';
import type { ApiConfig } from './api-config.ts';
import type { CatalogueView, KnownReader, Ranker } from './app-context.ts';
import { type CursorScope, expiredCursor, type FeedCursors } from './feed-cursor.ts';
import { emptyPage, type FeedPage, type PageRequest } from './feed-page.ts';
import type { FeedSessions } from './feed-sessions.ts';
import {
  type FeedSnapshot,
  factsOf,
  NO_SNAPSHOT,
  type SlateFacts,
  type SnapshotEntry,
} from './feed-snapshot.ts';
import { joinPairs } from './hash-pairs.ts';
import type { LastGoodSlates } from './last-good-slates.ts';
import { onlyNew } from './only-new.ts';
import { PageEligibility, type PageReader, type ReadPost } from './page-eligibility.ts';
import type { PostCache } from './post-cache.ts';
import type { SeenRecorder } from './seen-recorder.ts';
import type { UserEdges } from './user-edges.ts';

/** Slates that one page may ask for: a page of a thousand deleted posts must not take all day. */
const MAX_SLATES_A_PAGE = 3;
/** Share of the page's time that the ranker may take; the rest is for reading posts and storing the session. */
const RANKER_SHARE = 0.8;
/** Of what is then left, the stores' share on the way to the last rungs: those hold without them. */
const RECALL_SHARE = 0.5;
/** Shares of what is left that the user's edges may take on later pages, and the texts of a page's posts. */
const EDGES_SHARE = 0.4;
const TEXTS_SHARE = 0.4;
/** Posts one feed can go through: 8 bytes each in its snapshot. */
const MAX_FEED_POSTS = 50_000;

/** Where a feed is: a snapshot, how far into it, and what was before it. */
interface Walk {
  snapshot: FeedSnapshot;
  offset: number;
  /** Set while the snapshot is the one the cursor named. */
  stored: { id: string; bytes: Uint8Array; expiresAtMs: number } | undefined;
  eligibility: PageEligibility;
}

export interface FeedPagesParts {
  config: Pick<ApiConfig, 'slateSize' | 'exploreShare' | 'textsWaitMs'>;
  clock: { now(): number };
  ranker: Ranker;
  catalogue: Pick<CatalogueView, 'find'>;
  cursors: FeedCursors;
  sessions: FeedSessions;
  edges: UserEdges;
  posts: PostCache;
  seen: SeenRecorder;
  lastGood: LastGoodSlates;
}

export class FeedPages {
  readonly #parts: FeedPagesParts;

  constructor(parts: FeedPagesParts) {
    this.#parts = parts;
  }

  /** @throws FeedrankError `invalid_cursor` or `expired_cursor`; everything else degrades. */
  async page(request: PageRequest, deadline: Deadline): Promise<FeedPage> {
    const scope = { userId: request.userId, query: queryKey(request) };
    const page = emptyPage();
    const { walk: first, position } = await this.#open(request, scope, page, deadline);
    let walk = first;
    let end = false;
    let facts: SlateFacts | undefined;
    while (page.posts.length < request.limit) {
      if (walk.offset < walk.snapshot.entries.length) {
        await this.#take(walk, request, position, page, deadline);
      } else if (page.slates++ < MAX_SLATES_A_PAGE) {
        page.degraded.push(...walk.snapshot.facts.degraded);
        const made = walk.snapshot.facts;
        const next = await this.#nextSlate(walk, request, page, deadline);
        const empty = next.walk.snapshot.entries.length === 0;
        end = empty && next.complete;
        // An empty slate says nothing of the posts that the one before it gave.
        if (!empty || page.posts.length === 0) walk = next.walk;
        if (empty) break;
        if (page.posts.length > 0 && isOtherVersion(made.model, walk.snapshot.facts.model)) {
          // One answer is of one version: the page is short, and its cursor goes on with the new slate.
          facts = made;
          break;
        }
      } else {
        break;
      }
    }
    if (!end && !request.single)
      page.nextCursor = await this.#cursor(walk, scope, position + page.posts.length, page, deadline);
    page.facts = facts ?? walk.snapshot.facts;
    page.degraded = [...new Set([...page.facts.degraded, ...page.degraded])];
    return page;
  }

  async #open(
    request: PageRequest,
    scope: CursorScope,
    page: FeedPage,
    deadline: Deadline,
  ): Promise<{ walk: Walk; position: number }> {
    const { cursors, sessions, edges, clock } = this.#parts;
    if (request.cursor === undefined) return { walk: this.#emptyWalk(new Uint32Array(0)), position: 0 };
    const cursor = cursors.open(request.cursor, scope, clock.now());
    const { position } = cursor;
    if (cursor.kind === 'carried') return { walk: this.#emptyWalk(cursor.delivered), position };
    const [loaded, current] = await Promise.all([
      sessions.load(cursor.snapshotId, request.userId, deadline),
      edges.read(request.userId, deadline.within(deadline.remainingMs() * EDGES_SHARE)),
    ]);
    if (loaded.status === 'gone') throw expiredCursor();
    if (loaded.status === 'unavailable') {
      page.degraded.push('session_store_unavailable');
      return { walk: this.#emptyWalk(new Uint32Array(0)), position };
    }
    if (current === null) page.degraded.push('user_edges_unavailable');
    const { snapshot, bytes } = loaded;
    const eligibility = this.#eligibility(request.userId, current ?? { ...snapshot, showSensitive: null });
    const stored = { id: cursor.snapshotId, bytes, expiresAtMs: cursor.expiresAtMs };
    return { walk: { snapshot, offset: cursor.offset, stored, eligibility }, position };
  }

  /** Moves on by as many posts as the page still needs; those that may not be shown leave a gap. */
  async #take(
    walk: Walk,
    request: PageRequest,
    position: number,
    page: FeedPage,
    deadline: Deadline,
  ): Promise<void> {
    const need = request.limit - page.posts.length;
    const chunk = walk.snapshot.entries.slice(walk.offset, walk.offset + need);
    walk.offset += chunk.length;
    const posts = await this.#read(
      chunk.map((entry) => entry.postId),
      page,
      deadline,
    );
    chunk.forEach((entry, i) => {
      const reason = walk.eligibility.refusal(entry.postId, posts[i]);
      if (reason === null) {
        page.posts.push({ entry, position: position + page.posts.length, post: posts[i] ?? null });
      } else if (request.explain === 2) {
        page.dropped.push({ postId: entry.postId, reason });
      }
    });
  }

  async #read(ids: string[], page: FeedPage, deadline: Deadline): Promise<ReadPost[]> {
    const { posts, config } = this.#parts;
    const share = deadline.within(Math.min(config.textsWaitMs, deadline.remainingMs() * TEXTS_SHARE));
    try {
      return await posts.getPosts(ids, share, true);
    } catch {
      page.degraded.push('post_store_unavailable');
      return posts.peek(ids).map((post) => post ?? undefined);
    }
  }

  /** `complete` is false when the ranker did not answer: an empty slate then does not mean that nothing is left. */
  async #nextSlate(
    walk: Walk,
    request: PageRequest,
    page: FeedPage,
    deadline: Deadline,
  ): Promise<{ walk: Walk; complete: boolean }> {
    const { config, ranker, lastGood, seen } = this.#parts;
    const { snapshot } = walk;
    const passed = snapshot.entries.map((entry) => entry.postId);
    const prior = joinPairs(snapshot.prior, packHashes(passed));
    if (prior.length / 2 >= MAX_FEED_POSTS) {
      page.degraded.push('feed_length_limit');
      const rest = { ...snapshot, entries: [], prior };
      return { walk: { ...walk, snapshot: rest, offset: 0, stored: undefined }, complete: true };
    }
    const exclude = joinPairs(prior, packHashes(request.exclude));
    const unconfirmed = seen.unconfirmed(request.userId);
    const explore = !request.single && hash32(request.requestId) / 2 ** 32 < config.exploreShare;
    let facts: SlateFacts;
    let entries: SnapshotEntry[];
    let reader: Pick<PageReader, 'edges' | 'showSensitive'>;
    let known: KnownReader | null = null;
    let complete = true;
    try {
      const slate = await ranker.slate(
        {
          requestId: request.requestId,
          userId: request.userId,
          slateSize: config.slateSize,
          exclude: joinPairs(exclude, unconfirmed),
          explain: request.explain,
          explore,
          quality: request.quality,
          priority: request.priority,
          signal: request.signal,
          onReader(reader) {
            known = reader;
          },
          ...(snapshot === NO_SNAPSHOT ? {} : { model: snapshot.facts.model }),
        },
        deadline.within(deadline.remainingMs() * RANKER_SHARE),
      );
      facts = factsOf(slate, explore);
      entries = onlyNew(slate.posts, joinPairs(exclude, unconfirmed));
      reader = { edges: slate.edges, showSensitive: null };
      if (page.cache === 'snapshot') page.cache = slate.cache ?? 'miss';
      page.stageMs = slate.stageMs;
      page.counts = slate.counts;
      page.dropped.push(...(slate.dropped ?? []));
      if (walk.snapshot === NO_SNAPSHOT) {
        lastGood.keep(request.userId, facts, slate);
        if (slate.exploration) page.exploration = slate.exploration;
        if (slate.features) page.features = slate.features;
      }
    } catch (error) {
      if (request.signal?.aborted) throw error;
      complete = false;
      page.cache = 'none';
      const share = deadline.within(deadline.remainingMs() * RECALL_SHARE);
      const user: KnownReader | null = known ?? (await this.#parts.edges.read(request.userId, share));
      if (user === null) page.degraded.push('user_edges_unavailable');
      const seenPosts = joinPairs(user?.seen ?? new Uint32Array(0), unconfirmed);
      const recalled = lastGood.recall(request.userId, config.slateSize, exclude, seenPosts);
      ({ facts, entries } = recalled);
      const edges = user?.edges ?? recalled.edges ?? snapshot.edges;
      // No pipeline chose these posts: what is not known of the user is taken as refused.
      reader = { edges, showSensitive: user?.showSensitive ?? false };
    }
    const startedAtMs = snapshot.startedAtMs || this.#parts.clock.now();
    const next = { startedAtMs, facts, edges: [...reader.edges], entries, prior };
    const eligibility = this.#eligibility(request.userId, reader);
    return {
      walk: { snapshot: next, offset: 0, stored: undefined, eligibility },
      complete,
    };
  }

  /** Stores what is left of the slate; a store that does not take it makes the cursor carry what was delivered. */
  async #cursor(
    walk: Walk,
    scope: CursorScope,
    position: number,
    page: FeedPage,
    deadline: Deadline,
  ): Promise<string> {
    const { sessions, cursors } = this.#parts;
    const { snapshot, offset, stored } = walk;
    if (stored) {
      const { id: snapshotId, bytes } = stored;
      const expiresAtMs = await sessions.renew(scope.userId, snapshotId, bytes, stored.expiresAtMs, deadline);
      return cursors.seal({ kind: 'snapshot', expiresAtMs, position, snapshotId, offset }, scope);
    }
    const expiresAtMs = sessions.expiryFromNow();
    const delivered = packHashes(snapshot.entries.slice(0, offset).map((entry) => entry.postId));
    const prior = joinPairs(snapshot.prior, delivered);
    const rest = { ...snapshot, entries: snapshot.entries.slice(offset), prior };
    const snapshotId = await sessions.save(scope.userId, rest, deadline);
    if (snapshotId !== null) {
      return cursors.seal({ kind: 'snapshot', expiresAtMs, position, snapshotId, offset: 0 }, scope);
    }
    page.degraded.push('session_store_unavailable');
    return cursors.seal({ kind: 'carried', expiresAtMs, position, delivered: prior }, scope);
  }

  #eligibility(userId: string, reader: Pick<PageReader, 'edges' | 'showSensitive'>): PageEligibility {
    return new PageEligibility(this.#parts.catalogue, { ...reader, userId });
  }

  #emptyWalk(prior: Uint32Array): Walk {
    const snapshot = prior.length === 0 ? NO_SNAPSHOT : { ...NO_SNAPSHOT, prior };
    const eligibility = this.#eligibility('', { edges: [], showSensitive: null });
    return { snapshot, offset: 0, stored: undefined, eligibility };
  }
}

/** Two versions of the ranker; a fallback is named in `degraded` and may fill up a page. */
function isOtherVersion(before: string, after: string): boolean {
  return before !== after && before.startsWith('ranker@') && after.startsWith('ranker@');
}

/** Canonical text of what shapes the feed, signed into its cursors. */
function queryKey(request: Pick<PageRequest, 'exclude' | 'explain'>): string {
  return JSON.stringify([request.explain, [...new Set(request.exclude)].sort()]);
}
