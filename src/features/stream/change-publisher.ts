// The writing side of the change stream: appends each change once, whatever is delivered again, and notices when Redis
// lost what was published. One writer at a time: the updater that leads.
import type { Redis } from 'ioredis';
import type { Change } from '../../contracts.ts';
import { closeRedis, connectOnce, openRedis, type RedisTarget } from '../store/redis-client.ts';
import { ENTRY_CHANGES, encodeMark, type StreamMark } from './change-entry.ts';
import {
  compareStreamIds,
  type Lsn,
  MARK_INDEX,
  parseStreamId,
  START_INDEX,
  streamId,
} from './log-position.ts';
import { type StreamKeys, streamKeys } from './stream-keys.ts';

export interface NumberedChange {
  /** Commit position of its transaction. */
  lsn: Lsn;
  /** 0-based within the transaction. */
  index: number;
  change: Change;
}

export interface ChangePublisherOptions {
  redis: RedisTarget;
  slot: string;
  /** Entries kept, about. */
  length: number;
  keyPrefix?: string;
}

// KEYS: stream, counters. ARGV: the newest id that the writer knows of, entries kept, then id, field, value, counts (JSON)
// for each entry. Answers 'added'; 'ahead' and the newest id when the stream holds more than the writer knows (another
// updater wrote it, or this one before it died); 'lost' when it is gone or ends before what was published.
const APPEND = `
local function after(a, b)
  local a1, a2 = a:match('^(%d+)-(%d+)$')
  local b1, b2 = b:match('^(%d+)-(%d+)$')
  a1, a2, b1, b2 = tonumber(a1), tonumber(a2), tonumber(b1), tonumber(b2)
  if a1 ~= b1 then return a1 > b1 end
  return a2 > b2
end
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not newest then return {'lost', ''} end
local last = newest[1]
if ARGV[1] ~= last then
  if ARGV[1] ~= '' and after(ARGV[1], last) then return {'lost', last} end
  return {'ahead', last}
end
for i = 3, #ARGV, 4 do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], ARGV[i], 'p', last, ARGV[i + 1], ARGV[i + 2])
  last = ARGV[i]
  if ARGV[i + 3] ~= '' then
    for type, n in pairs(cjson.decode(ARGV[i + 3])) do redis.call('HINCRBY', KEYS[2], type, n) end
  end
end
return {'added', last}`;

interface ScriptedRedis extends Redis {
  feedrankAppend(
    stream: string,
    counters: string,
    ...args: (string | number)[]
  ): Promise<[outcome: string, last: string]>;
}

/** How long the updater's sign of life stands. */
export const LIVE_TTL_MS = 5_000;

export class ChangePublisher {
  readonly #redis: ScriptedRedis;
  readonly #keys: StreamKeys;
  readonly #length: number;
  #published = '';

  private constructor(options: ChangePublisherOptions) {
    this.#redis = openRedis(options.redis, 'changes') as ScriptedRedis;
    this.#redis.defineCommand('feedrankAppend', { numberOfKeys: 2, lua: APPEND });
    this.#keys = streamKeys(options.slot, options.keyPrefix);
    this.#length = options.length;
  }

  static async open(options: ChangePublisherOptions): Promise<ChangePublisher> {
    const publisher = new ChangePublisher(options);
    await connectOnce(publisher.#redis);
    return publisher;
  }

  /** Id of the newest entry that is known to be in the stream. */
  get published(): string {
    return this.#published;
  }

  /** What an updater knew to be published, from its checkpoint. */
  resume(published: string): void {
    this.#published = published;
  }

  /**
   * In commit order; what is in the stream already is left out, whatever parts of a transaction are delivered again.
   * False when the stream lost entries: then nothing was added, and it must be started anew.
   */
  async append(changes: readonly NumberedChange[]): Promise<boolean> {
    return this.#append(() => {
      const args: string[] = [];
      let at = changes.findIndex((one) => this.#isNew(streamId(one.lsn, one.index)));
      while (at >= 0 && at < changes.length) {
        const { lsn } = changes[at];
        let end = at + 1;
        while (end < changes.length && end - at < ENTRY_CHANGES && changes[end].lsn === lsn) end++;
        const part = changes.slice(at, end).map((one) => one.change);
        args.push(streamId(lsn, changes[end - 1].index), 'c', JSON.stringify(part), countsOf(part));
        at = end;
      }
      return args;
    });
  }

  /** `lsn`: everything committed at or before it is published. A mark at a position that has one is dropped. */
  async mark(lsn: Lsn, mark: StreamMark): Promise<boolean> {
    const id = streamId(lsn, MARK_INDEX);
    return this.#append(() => (this.#isNew(id) ? [id, 'm', encodeMark(mark), ''] : []), true);
  }

  /** Empties the stream and starts it after everything that was published: readers of the old one see the gap. */
  async start(lsn: Lsn): Promise<void> {
    const known = parseStreamId(this.#published);
    const after = streamId(known && known.lsn > lsn ? known.lsn : lsn, START_INDEX);
    const id = compareStreamIds(this.#published, after) >= 0 ? next(this.#published) : after;
    const results = await this.#redis
      .multi()
      .unlink(this.#keys.stream)
      .xadd(this.#keys.stream, id, 's', '1')
      .exec();
    const failed = results?.find(([error]) => error);
    if (!results || failed) throw failed?.[0] ?? new Error('the change stream cannot be started');
    this.#published = id;
  }

  /** Says that an updater leads and that the stream was complete at `atMs`. */
  async live(atMs: number): Promise<void> {
    await this.#redis.set(this.#keys.live, String(atMs), 'PX', LIVE_TTL_MS);
  }

  async close(): Promise<void> {
    await closeRedis(this.#redis);
  }

  #isNew(id: string): boolean {
    return compareStreamIds(id, this.#published) > 0;
  }

  /** `evenEmpty`: asks whether the stream is there although there is nothing to add. */
  async #append(entries: () => string[], evenEmpty = false): Promise<boolean> {
    const { stream, counters } = this.#keys;
    for (;;) {
      const args = entries();
      if (args.length === 0 && !evenEmpty) return true;
      const [outcome, last] = await this.#redis.feedrankAppend(
        stream,
        counters,
        this.#published,
        this.#length,
        ...args,
      );
      if (outcome === 'lost') return false;
      this.#published = last;
      if (outcome === 'added') return true;
    }
  }
}

function countsOf(changes: readonly Change[]): string {
  const counts: Record<string, number> = {};
  for (const change of changes) {
    if (change.kind === 'event') counts[change.event.type] = (counts[change.event.type] ?? 0) + 1;
  }
  return Object.keys(counts).length === 0 ? '' : JSON.stringify(counts);
}

function next(id: string): string {
  const known = parseStreamId(id);
  return known ? streamId(known.lsn, known.index + 1) : id;
}
