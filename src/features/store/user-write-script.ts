// The write of one user: compare-and-set on the head of the record, in one step. Called by redis-state-store.ts.
import type { Redis } from 'ioredis';
import { HEAD_BYTES } from './state-record.ts';

// KEYS the user's record and seen posts; ARGV: head that the record must have ('' = no record), new head, 1 = the parts
// are new, parts, 1 = the seen posts are new, seen posts, time to live of the record and of the seen posts.
// Answers 1, or 0 when another writer was faster.
const WRITE_SCRIPT = `
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'string' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
local present = redis.call('GETRANGE', KEYS[1], 0, ${HEAD_BYTES - 1})
if ARGV[1] ~= present then return 0 end
if ARGV[3] == '1' then
  redis.call('SET', KEYS[1], ARGV[2] .. ARGV[4], 'PX', ARGV[7])
else
  redis.call('SETRANGE', KEYS[1], 0, ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
end
if ARGV[5] == '1' then redis.call('SET', KEYS[2], ARGV[6], 'PX', ARGV[8]) end
return 1`;

export interface UserWriter extends Redis {
  feedrankWrite(record: string, seen: string, ...args: (string | number | Uint8Array)[]): Promise<0 | 1>;
}

export function defineUserWrite(redis: Redis): UserWriter {
  redis.defineCommand('feedrankWrite', { numberOfKeys: 2, lua: WRITE_SCRIPT });
  return redis as UserWriter;
}
