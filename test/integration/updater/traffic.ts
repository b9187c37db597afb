// Random writes of every kind, seeded: posts, profiles, follows and blocks on and off, events late and out of order,
// likes taken back, copies of what was sent before.
import type { EngagementEvent } from '../../../src/contracts.ts';
import type { SqlStore } from '../../../src/features/store/postgres-store.ts';
import { EVENT_TYPES } from '../../../src/vocabulary.ts';
import { soon } from '../../setup/test-servers.ts';

const WORDS =
  'amber basil cedar delta ember fjord grove haven ivory jade kiosk lemon mango night ocean'.split(' ');

export class Traffic {
  readonly users: string[];
  readonly posts: string[];
  /** Events that were acknowledged. */
  stored = 0;
  readonly #sql: SqlStore;
  readonly #sent: EngagementEvent[] = [];
  #random: number;
  #at: number;

  constructor(sql: SqlStore, prefix: string, users = 12, posts = 40, seed = 7) {
    this.#sql = sql;
    this.users = Array.from({ length: users }, (_, i) => `${prefix}-u${i}`);
    this.posts = Array.from({ length: posts }, (_, i) => `${prefix}-p${i}`);
    this.#random = seed;
    this.#at = Date.now() - 3_600_000;
  }

  async begin(): Promise<void> {
    const posts = this.posts.map((id, i) => ({
      id,
      authorId: this.#author(i % 9),
      createdAt: this.#at - i * 1000,
      title: `${WORDS[i % 15]} ${WORDS[(i * 4 + 1) % 15]}`,
      text: `about ${WORDS[(i * 7 + 2) % 15]} and ${i}`,
      topic: `topic-${i % 4}`,
    }));
    await this.#sql.putPosts(posts, soon());
  }

  /** One round: a few writes of every kind, committed when it resolves. */
  async round(): Promise<void> {
    const user = this.#pick(this.users);
    const dice = this.#below(10);
    if (dice === 0) {
      await this.#sql.putUsers([{ id: user, createdAt: 1, topics: [this.#pick(WORDS)] }], soon());
    } else if (dice <= 2) {
      const kind = this.#pick(['follow', 'block', 'mute_author'] as const);
      const edge = { userId: user, kind, target: this.#author(this.#below(9)), createdAt: this.#at };
      await this.#sql.setEdges([edge], this.#below(2) === 0, soon());
    }
    const events = Array.from({ length: 1 + this.#below(6) }, () => this.#event());
    const copies = this.#sent.length > 0 && this.#below(3) === 0 ? [this.#pick(this.#sent)] : [];
    const flags = await this.#sql.appendEvents([...events, ...copies], soon());
    this.stored += flags.filter(Boolean).length;
    this.#sent.push(...events);
  }

  #event(): EngagementEvent {
    // Every time once; a third of them come late.
    this.#at += 1 + this.#below(50);
    const late = this.#below(3) === 0 ? this.#below(600_000) : 0;
    const type = this.#pick([...EVENT_TYPES, 'like', 'unlike', 'like'] as const);
    return {
      id: `e${this.#sent.length}-${this.#at}`,
      userId: this.#pick(this.users),
      postId: this.#pick(this.posts),
      type,
      at: this.#at - late + (this.#sent.length % 1000) / 1000,
      ...(type === 'dwell' ? { dwellMs: this.#below(30_000) } : {}),
    };
  }

  #author(i: number): string {
    return `${this.posts[0]}-author-${i}`;
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#below(list.length)];
  }

  #below(limit: number): number {
    this.#random = (Math.imul(this.#random, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#random / 2 ** 32) * limit);
  }
}
