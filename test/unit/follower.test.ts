// From which feed a replica reads, with feeds that do as they are told.
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { LiveTable } from '../../src/applier.ts';
import type { Change, ChangeStream, SqlChangeFeed, StreamRead } from '../../src/contracts.ts';
import { FeedrankError } from '../../src/errors.ts';
import { Follower, type FollowerOptions } from '../../src/follower.ts';

const table = {} as LiveTable;
const event = (seq: number): Change => ({
  kind: 'event',
  event: { id: `e${seq}`, userId: 'u', postId: 'p', type: 'click', at: seq },
  seq,
});
const at = (n: number) => String(n).padStart(4, '0');

/** One log of changes; SQL gives those up to `visible`, the stream those from `streamFrom` on. */
class Feeds {
  log: Change[] = [];
  visible = 0;
  streamFrom = 0;
  leads = false;
  sqlExpired = false;

  readonly sql: SqlChangeFeed = {
    position: async () => at(this.visible),
    horizon: async () => at(this.log.length),
    read: async (after) => {
      if (this.sqlExpired) throw new FeedrankError('expired_cursor', 'trimmed');
      const end = Math.max(this.visible, Number(after));
      return { changes: this.log.slice(Number(after), end), position: at(end) };
    },
  };

  readonly stream: ChangeStream = {
    position: async () => at(this.log.length),
    read: async (after): Promise<StreamRead> => {
      if (Number(after) < this.streamFrom) throw new FeedrankError('expired_cursor', 'a gap');
      const changes = this.log.slice(Number(after));
      const position = at(this.log.length);
      const mark = changes.length > 0 ? { position, atMs: Date.now() } : null;
      return { changes, position, mark };
    },
    completeAt: async () => (this.leads ? Date.now() : null),
  };

  commit(count: number): void {
    for (let i = 0; i < count; i++) this.log.push(event(this.log.length));
  }
}

describe('a follower', () => {
  const running: Follower[] = [];
  afterEach(async () => {
    await Promise.all(running.splice(0).map((one) => one.stop()));
  });

  function follow(feeds: Feeds, options: Partial<FollowerOptions> = {}) {
    const applied: number[] = [];
    const users: number[] = [];
    const seqs = (changes: readonly Change[]) => changes.map((one) => (one.kind === 'event' ? one.seq! : -1));
    const follower = new Follower({
      changes: feeds.sql,
      stream: feeds.stream,
      applier: {
        applyFromFeed: async (changes, _table, counted) => {
          applied.push(...seqs(changes).filter((seq) => counted.add(seq)));
        },
        applyForeignUsers: async (changes) => {
          users.push(...seqs(changes));
        },
      },
      table,
      from: at(0),
      userState: true,
      pollMs: 1,
      ...options,
    });
    running.push(follower);
    follower.start();
    return { follower, applied, users };
  }

  async function until(condition: () => boolean): Promise<void> {
    for (let i = 0; i < 1000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(condition()).toBe(true);
  }

  const first = (count: number) => Array.from({ length: count }, (_, i) => i);

  it('goes over to the stream only when SQL was read to where the stream stands, and misses nothing', async () => {
    const feeds = new Feeds();
    feeds.commit(10);
    feeds.leads = true;
    // Two changes are committed and in the stream already, but a transaction keeps SQL from giving them.
    feeds.visible = 8;
    const { follower, applied } = follow(feeds);
    await until(() => applied.length === 8);
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(follower.source).toBe('sql');
    feeds.commit(3);
    feeds.visible = 13;
    await until(() => follower.source === 'stream');
    feeds.commit(5);
    await until(() => applied.length === 18);
    expect(applied).toEqual(first(18));
  });

  it('goes back to SQL at a gap and when no updater leads, from the last mark, and counts nothing twice', async () => {
    const feeds = new Feeds();
    feeds.leads = true;
    const { follower, applied } = follow(feeds);
    await until(() => follower.source === 'stream');
    feeds.commit(4);
    await until(() => applied.length === 4);
    expect(follower.position).toBe(at(4));
    feeds.leads = false;
    feeds.commit(3);
    feeds.visible = 7;
    await until(() => follower.source === 'sql' && applied.length === 7);
    feeds.leads = true;
    await until(() => follower.source === 'stream');
    feeds.streamFrom = 100;
    feeds.commit(2);
    feeds.visible = 9;
    await until(() => applied.length === 9);
    expect(applied).toEqual(first(9));
  });

  it('does not call itself complete after a long sleep between a read and what the updater says', async () => {
    const feeds = new Feeds();
    feeds.leads = true;
    const { follower } = follow(feeds);
    await vi.waitFor(() => expect(follower.source).toBe('stream'), 5000);
    const { read } = feeds.stream;
    const continued = Promise.withResolvers<void>();
    const late = Promise.withResolvers<void>();
    const gates = [continued.promise, late.promise];
    feeds.stream.read = async (...range) => {
      const found = await read(...range);
      await gates.shift();
      return found;
    };
    await vi.waitFor(() => expect(gates).toHaveLength(1));
    feeds.commit(1);
    const sleptMs = 600;
    await new Promise((resolve) => setTimeout(resolve, sleptMs));
    continued.resolve();
    await vi.waitFor(() => expect(gates).toHaveLength(0));
    expect(follower.ageMs).toBeGreaterThanOrEqual(sleptMs);
    late.resolve();
    await vi.waitFor(() => expect(follower.ageMs).toBeLessThan(sleptMs));
  });

  it('says once that its changes are not kept any more, and stops', async () => {
    const feeds = new Feeds();
    let expired = 0;
    feeds.sqlExpired = true;
    follow(feeds, { stream: null, onExpired: () => expired++ });
    await until(() => expired === 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(expired).toBe(1);
  });

  it('goes on with posts while the store of the users is down, and catches up on users afterwards', async () => {
    const feeds = new Feeds();
    const users: number[] = [];
    const failures: string[] = [];
    let down = true;
    const applied: number[] = [];
    follow(feeds, {
      stream: null,
      onFailure: (reason) => failures.push(reason),
      applier: {
        applyFromFeed: async (changes) => {
          applied.push(...changes.map((one) => (one.kind === 'event' ? one.seq! : -1)));
        },
        applyForeignUsers: async (changes) => {
          if (down && changes.length > 0) throw new FeedrankError('unavailable', 'the store is down');
          users.push(...changes.map((one) => (one.kind === 'event' ? one.seq! : -1)));
        },
      },
    });
    for (let i = 0; i < 3; i++) {
      feeds.commit(4);
      feeds.visible = feeds.log.length;
      await until(() => applied.length === feeds.log.length);
    }
    expect(users).toEqual([]);
    expect(failures).toContain('the store is down');
    down = false;
    await until(() => new Set(users).size === 12);
    feeds.commit(2);
    feeds.visible = feeds.log.length;
    await until(() => new Set(users).size === 14);
    expect([...new Set(users)].sort((a, b) => a - b)).toEqual(first(14));
  });

  it('is not late because the wall clock was set', async () => {
    const feeds = new Feeds();
    feeds.commit(1);
    feeds.visible = 1;
    const { follower, applied } = follow(feeds, { stream: null, pollMs: 60_000 });
    await until(() => applied.length === 1);
    const clock = vi.spyOn(Date, 'now');
    try {
      for (const hours of [1, -1]) {
        clock.mockReturnValue(performance.timeOrigin + performance.now() + hours * 3_600_000);
        expect(follower.ageMs).toBeGreaterThanOrEqual(0);
        expect(follower.ageMs).toBeLessThan(600_000);
      }
    } finally {
      clock.mockRestore();
    }
  });
});
