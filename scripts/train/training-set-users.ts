// Users as they were at a moment of the replay: history, follows, vector. The same packing as a request's
// (src/pack-user.ts), so that a training row sees the user as serving would have. Called by training-set.ts.
import type { Edge, EngagementEvent, HistoryEntry, PackedUser, Post, User } from '../../src/contracts.ts';
import { hash32 } from '../../src/hashing.ts';
import { packUser } from '../../src/pack-user.ts';
import { engagementCode, HISTORY_LIMIT, SEEN_LIMIT } from '../../src/vocabulary.ts';

/** Longest time between two impressions of one page. */
const PAGE_MS = 10 * 60_000;

export interface UserRecord {
  user: User | null;
  /** Edges in force now. */
  edges: Edge[];
  history: HistoryEntry[];
  embedding: Float32Array | null;
  /** Vector for the time without one; made when the user first reads. */
  cold: Float32Array | null;
  /** History changed since the vector was made. */
  stale: boolean;
  /** Posts shown to or touched by the user: the row of the last impression, −1 for none, and its time. */
  shown: Map<string, { row: number; at: number }>;
  /** The page in progress; position −1 when positions are not known. */
  page: { packed: PackedUser; position: number; at: number } | null;
}

export class ReplayedUsers {
  readonly #users = new Map<string, UserRecord>();

  get(userId: string): UserRecord {
    let record = this.#users.get(userId);
    if (!record) {
      record = {
        user: null,
        edges: [],
        history: [],
        embedding: null,
        cold: null,
        stale: false,
        shown: new Map(),
        page: null,
      };
      this.#users.set(userId, record);
    }
    return record;
  }

  setProfile(user: User): void {
    this.get(user.id).user = user;
  }

  addEdge(edge: Edge): void {
    this.get(edge.userId).edges.push(edge);
  }

  /** Folds an engagement into the history as the online state does: newest first, one entry per (post, type). */
  engage(event: EngagementEvent, post: Pick<Post, 'authorId' | 'topic'>): void {
    const record = this.get(event.userId);
    const type = event.type === 'unlike' ? 'like' : event.type;
    const kept = record.history.filter((entry) => entry.postId !== event.postId || entry.type !== type);
    if (event.type !== 'unlike') {
      if (engagementCode(event.type, event.dwellMs ?? 0) === 0) return;
      kept.unshift({
        postId: event.postId,
        authorId: post.authorId,
        topic: post.topic ? hash32(post.topic) : 0,
        type: event.type,
        at: event.at,
        dwellMs: event.dwellMs ?? 0,
      });
    }
    record.history = kept.slice(0, HISTORY_LIMIT);
    record.stale = true;
  }

  /** Remembers what the user was shown; forgets the oldest beyond what serving remembers. */
  show(record: UserRecord, postId: string, row: number, at: number): void {
    record.shown.delete(postId);
    record.shown.set(postId, { row, at });
    if (record.shown.size > SEEN_LIMIT) record.shown.delete(record.shown.keys().next().value!);
  }

  /**
   * The user as the request saw them that an impression came from. A page is ranked once: while positions rise and
   * impressions follow each other within minutes, later ones see the user as the first one did.
   */
  packForPage(record: UserRecord, event: Pick<EngagementEvent, 'userId' | 'at' | 'position'>): PackedUser {
    const { page } = record;
    const position = event.position ?? -1;
    if (page && position > page.position && event.at - page.at <= PAGE_MS) {
      record.page = { packed: page.packed, position, at: event.at };
      return page.packed;
    }
    const state = { version: 0, seen: new Uint32Array(0), ...record };
    const packed = record.embedding
      ? packUser(event.userId, state, record.embedding, 'stored')
      : packUser(event.userId, state, record.cold!, 'cold');
    record.page = { packed, position, at: event.at };
    return packed;
  }
}
