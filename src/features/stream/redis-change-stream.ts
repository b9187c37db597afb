// ChangeFeed over the Redis stream that the updater fills. Every entry names the one before it, so a reader finds out by
// itself that the stream was trimmed, emptied or lost its end. Called by follower.ts, one cursor a generation.
import type { Redis } from 'ioredis';
import type { Change, ChangeStream, Position, StreamRead } from '../../contracts.ts';
import { type Deadline, raceDeadline } from '../../deadline.ts';
import { FeedrankError, invalid } from '../../errors.ts';
import { closeRedis, connectOnce, openRedis, type RedisTarget } from '../store/redis-client.ts';
import { redisError } from '../store/redis-errors.ts';
import { decodeEntry, ENTRY_CHANGES } from './change-entry.ts';
import { compareStreamIds, parseStreamId } from './log-position.ts';
import { type StreamKeys, streamKeys } from './stream-keys.ts';

export interface RedisChangeStreamOptions {
  redis: RedisTarget;
  slot: string;
  keyPrefix?: string;
}

type RawEntry = [id: string, fields: string[]];

const BEGINNING = '0-0';

export class RedisChangeStream implements ChangeStream {
  readonly #redis: Redis;
  readonly #keys: StreamKeys;

  constructor(options: RedisChangeStreamOptions) {
    this.#redis = openRedis(options.redis, 'changes');
    this.#keys = streamKeys(options.slot, options.keyPrefix);
  }

  /** Tries to connect once; later calls fail with `unavailable` until Redis is there. */
  static async open(options: RedisChangeStreamOptions): Promise<RedisChangeStream> {
    const stream = new RedisChangeStream(options);
    await connectOnce(stream.#redis);
    return stream;
  }

  /** Id of the newest entry; `0-0` where there is none. */
  async position(deadline: Deadline): Promise<Position> {
    const newest = await this.#call('reading the end of the change stream', deadline, () =>
      this.#redis.xrevrange(this.#keys.stream, '+', '-', 'COUNT', 1),
    );
    return newest[0]?.[0] ?? BEGINNING;
  }

  /**
   * Changes after a position, at least one entry's and at most about `limit`. `mark` is the newest mark among them.
   * @throws FeedrankError `expired_cursor` when entries after the position are missing: the reader goes back to SQL.
   */
  async read(after: Position, limit: number, deadline: Deadline): Promise<StreamRead> {
    if (!Number.isInteger(limit) || limit < 1) throw invalid('limit', 'must be a positive integer');
    const from = after === '' ? BEGINNING : after;
    if (!parseStreamId(from)) throw invalid('position', 'must be a position that this feed gave');
    const raw = (await this.#call('reading the change stream', deadline, () =>
      this.#redis.xrange(this.#keys.stream, `(${from}`, '+', 'COUNT', Math.ceil(limit / ENTRY_CHANGES)),
    )) as RawEntry[];
    const changes: Change[] = [];
    let mark: StreamRead['mark'] = null;
    let position = from;
    for (const [id, fields] of raw) {
      const entry = decodeEntry(id, fields);
      if (!entry || (entry.start && after !== '') || compareStreamIds(entry.previous, position) > 0) {
        throw new FeedrankError('expired_cursor', `the change stream has a gap after ${position}`);
      }
      for (const change of entry.changes) changes.push(change);
      if (entry.mark) mark = entry.mark;
      position = id;
    }
    return { changes, position, mark };
  }

  /** When the stream was last known to be complete, unix ms; null while no updater leads. */
  async completeAt(deadline: Deadline): Promise<number | null> {
    const text = await this.#call('asking for the updater', deadline, () => this.#redis.get(this.#keys.live));
    return text === null ? null : Number(text);
  }

  async close(): Promise<void> {
    await closeRedis(this.#redis);
  }

  async #call<T>(what: string, deadline: Deadline, command: () => Promise<T>): Promise<T> {
    const work = command();
    work.catch(() => {});
    try {
      return await raceDeadline(work, deadline, what);
    } catch (error) {
      throw redisError(error, what);
    }
  }
}
