// The Redis change stream, its writer and its reader, against a real server.
import { Redis } from 'ioredis';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import type { Change } from '../../src/contracts.ts';
import { ChangePublisher, type NumberedChange } from '../../src/features/stream/change-publisher.ts';
import { RedisChangeStream } from '../../src/features/stream/redis-change-stream.ts';
import { streamKeys } from '../../src/features/stream/stream-keys.ts';
import { REDIS_URL, soon, titleOf, unique } from '../setup/test-servers.ts';

describe.skipIf(!REDIS_URL)(titleOf('the change stream', REDIS_URL, 'TEST_REDIS'), () => {
  const redisUrl = REDIS_URL as string;
  const redis = new Redis(redisUrl, { lazyConnect: true });
  const open: { close(): Promise<void> }[] = [];
  let slot: string;
  let writer: ChangePublisher;
  let reader: RedisChangeStream;

  const writerOf = async (length = 1000) => {
    const one = await ChangePublisher.open({ redis: { url: redisUrl }, slot, length });
    open.push(one);
    return one;
  };
  const change = (n: number): Change => ({
    kind: 'event',
    event: { id: `e${n}`, userId: 'u', postId: 'p', type: n % 2 ? 'like' : 'click', at: n },
    seq: n,
  });
  /** `count` changes of the transaction that committed at `lsn`. */
  const transaction = (lsn: bigint, count: number, from = 0): NumberedChange[] =>
    Array.from({ length: count }, (_, i) => ({
      lsn,
      index: from + i,
      change: change(Number(lsn) * 1000 + from + i),
    }));
  const sequences = (changes: readonly Change[]) =>
    changes.map((one) => (one.kind === 'event' ? one.seq : -1));

  async function readAll(
    after: string,
    limit = 100,
  ): Promise<{ seqs: (number | undefined)[]; position: string }> {
    const seqs: (number | undefined)[] = [];
    let position = after;
    for (;;) {
      const read = await reader.read(position, limit, soon());
      if (read.position === position) return { seqs, position };
      seqs.push(...sequences(read.changes));
      position = read.position;
    }
  }

  beforeEach(async () => {
    slot = unique('contract').replaceAll('-', '_');
    writer = await writerOf();
    reader = await RedisChangeStream.open({ redis: { url: redisUrl }, slot });
    open.push(reader);
  });
  afterAll(async () => {
    for (const one of open) await one.close();
    redis.disconnect();
  });

  it('gives every change once, in order, whatever is delivered again and however it is cut', async () => {
    await writer.start(1n);
    const start = await reader.position(soon());
    const all = [...transaction(5n, 250), ...transaction(6n, 3), ...transaction(9n, 120)];
    expect(await writer.append(all.slice(0, 130))).toBe(true);
    // A new leader that knows less than was published gets a part of it again, cut elsewhere.
    const next = await writerOf();
    next.resume('');
    expect(await next.append(all.slice(57, 260))).toBe(true);
    expect(await writer.append(all)).toBe(true);
    expect(await next.append(all)).toBe(true);
    for (const limit of [1, 150, 10_000]) {
      expect((await readAll(start, limit)).seqs).toEqual(sequences(all.map((one) => one.change)));
    }
    const counted = await redis.hgetall(streamKeys(slot).counters);
    expect(Number(counted.like) + Number(counted.click)).toBe(all.length);
  });

  it('carries marks: the SQL position that everything before them covers', async () => {
    await writer.start(1n);
    const start = await reader.position(soon());
    await writer.append(transaction(5n, 2));
    await writer.mark(5n, { position: 'a', atMs: 1 });
    await writer.mark(5n, { position: 'dropped', atMs: 2 });
    await writer.append(transaction(6n, 1));
    await writer.mark(7n, { position: 'b', atMs: 3 });
    const read = await reader.read(start, 1000, soon());
    expect(read.mark).toEqual({ position: 'b', atMs: 3 });
    expect(sequences(read.changes)).toEqual([5000, 5001, 6000]);
    expect((await reader.read(read.position, 10, soon())).mark).toBeNull();
  });

  it('tells a reader that entries after its position are gone, and lets one at the end go on', async () => {
    await writer.start(1n);
    await writer.append(transaction(5n, 1));
    const early = await reader.position(soon());
    await writer.append(transaction(6n, 1));
    await writer.append(transaction(7n, 1));
    const late = await reader.position(soon());
    await redis.xtrim(streamKeys(slot).stream, 'MAXLEN', 1);
    await expect(reader.read(early, 10, soon())).rejects.toMatchObject({ code: 'expired_cursor' });
    await writer.append(transaction(8n, 1));
    expect((await readAll(late)).seqs).toEqual([8000]);
  });

  it('notices that the stream was emptied or lost its end, and starts it anew so that every reader knows', async () => {
    await writer.start(1n);
    await writer.append(transaction(5n, 2));
    const before = await reader.position(soon());
    await redis.unlink(streamKeys(slot).stream);
    expect(await writer.append(transaction(6n, 1))).toBe(false);
    expect(await writer.mark(6n, { position: 'a', atMs: 1 })).toBe(false);
    await writer.start(5n);
    expect(await writer.append(transaction(6n, 1))).toBe(true);
    await expect(reader.read(before, 10, soon())).rejects.toMatchObject({ code: 'expired_cursor' });

    const end = await reader.position(soon());
    await writer.append(transaction(7n, 1));
    // A failover to a server that did not have the last entry yet.
    await redis.xdel(streamKeys(slot).stream, await reader.position(soon()));
    expect(await writer.append(transaction(8n, 1))).toBe(false);
    await writer.start(7n);
    await writer.append(transaction(8n, 1));
    await expect(reader.read(end, 10, soon())).rejects.toMatchObject({ code: 'expired_cursor' });
  });

  it('keeps about as many entries as it was told', async () => {
    const short = await writerOf(100);
    await short.start(1n);
    for (let lsn = 2; lsn < 1000; lsn++) await short.append(transaction(BigInt(lsn), 1));
    expect(await redis.xlen(streamKeys(slot).stream)).toBeLessThan(300);
  });

  it('says when an updater was last up to date, and refuses foreign positions and limits', async () => {
    expect(await reader.completeAt(soon())).toBeNull();
    await writer.live(1234);
    expect(await reader.completeAt(soon())).toBe(1234);
    expect(await reader.position(soon())).toBe('0-0');
    for (const position of ['x', '1', 'a-b', '1-2-3']) {
      await expect(reader.read(position, 1, soon())).rejects.toMatchObject({ code: 'invalid_input' });
    }
    for (const limit of [0, -1, 1.5]) {
      await expect(reader.read('', limit, soon())).rejects.toMatchObject({ code: 'invalid_input' });
    }
  });
});
