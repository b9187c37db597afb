// First records of users, hundreds in one call of a script: what fills an empty store. A user of whom there is anything
// already is left as he is. Called by redis-state-store.ts.
import type { Redis } from 'ioredis';

/** Redis answers nobody else while it runs a script: so many take it half a millisecond. */
const BATCH = 256;

// KEYS record and seen posts of each user; ARGV: time to live of records and of seen posts, then of each user the record
// and the seen posts ('' = none). Answers a 1 for each user who was written, a 0 for each who was there.
const FILL_SCRIPT = `
local written = {}
for i = 1, #KEYS, 2 do
  local seen = ARGV[i + 3]
  if seen ~= '' and redis.call('EXISTS', KEYS[i + 1]) == 1 then
    written[#written + 1] = '0'
  elseif redis.call('SET', KEYS[i], ARGV[i + 2], 'PX', ARGV[1], 'NX') then
    if seen ~= '' then redis.call('SET', KEYS[i + 1], seen, 'PX', ARGV[2]) end
    written[#written + 1] = '1'
  else
    written[#written + 1] = '0'
  end
end
return table.concat(written)`;

interface ScriptedRedis extends Redis {
  /** Without a fixed number of keys, their number comes first. */
  feedrankFill(...args: (string | number | Uint8Array)[]): Promise<string>;
}

interface Waiting {
  keys: readonly [record: string, seen: string];
  record: Uint8Array;
  seen: Uint8Array | null;
  resolve(written: boolean): void;
  reject(error: unknown): void;
}

export interface NewRecordsOptions {
  ttlMs: number;
  seenTtlMs: number;
  /** A script of a Cluster may touch one slot only: there each user is a call of its own. */
  oneByOne: boolean;
}

export class NewRecords {
  readonly #redis: ScriptedRedis;
  readonly #options: NewRecordsOptions;
  #waiting: Waiting[] = [];

  constructor(redis: Redis, options: NewRecordsOptions) {
    // Of a command with a fixed number of keys the client of a Cluster knows the slot.
    redis.defineCommand('feedrankFill', {
      lua: FILL_SCRIPT,
      ...(options.oneByOne ? { numberOfKeys: 2 } : {}),
    });
    this.#redis = redis as ScriptedRedis;
    this.#options = options;
  }

  /** Sent with all that are added in the same turn of the loop; false when there was something of this user. */
  add(keys: Waiting['keys'], record: Uint8Array, seen: Uint8Array | null): Promise<boolean> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) queueMicrotask(() => this.#flush());
      this.#waiting.push({ keys, record, seen, resolve, reject });
    });
  }

  #flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    const size = this.#options.oneByOne ? 1 : BATCH;
    for (let at = 0; at < waiting.length; at += size) this.#send(waiting.slice(at, at + size));
  }

  #send(users: readonly Waiting[]): void {
    const { ttlMs, seenTtlMs, oneByOne } = this.#options;
    const keys = users.flatMap((user) => user.keys);
    const values = users.flatMap(({ record, seen }) => [record, seen ?? '']);
    const count = oneByOne ? [] : [keys.length];
    this.#redis.feedrankFill(...count, ...keys, ttlMs, seenTtlMs, ...values).then(
      (written) => {
        for (let i = 0; i < users.length; i++) users[i].resolve(written[i] === '1');
      },
      (error) => {
        for (const { reject } of users) reject(error);
      },
    );
  }
}
