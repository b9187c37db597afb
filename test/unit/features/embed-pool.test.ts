import { afterEach, describe, expect, it } from 'vitest';
import { EmbedPool } from '../../../src/features/embed-pool.ts';
import { PostTower } from '../../../src/features/post-tower.ts';
import { largestDifference, POST_TOWER, USER_TOWER } from './towers.ts';

describe('embed pool', () => {
  let pool: EmbedPool | undefined;
  afterEach(async () => {
    await pool?.close();
    pool = undefined;
  });
  const start = (workers: number) =>
    EmbedPool.start({ postTowerDir: POST_TOWER, userTowerDir: USER_TOWER, workers });

  it('embeds in workers what the tower embeds alone, in order, across jobs', async () => {
    pool = await start(2);
    const posts = Array.from({ length: 700 }, (_, i) => ({ text: `title ${i} on subject ${i % 17}` }));
    const tower = await PostTower.load(POST_TOWER);
    const expected = await tower.embed(posts);
    await tower.release();
    const vectors = await pool.embedPosts(posts);
    expect(vectors).toHaveLength(700 * 64);
    expect(largestDifference(vectors, expected)).toBeLessThan(1e-5);
    expect(pool.postTower).toBe('post-tower@1');
  });

  it('embeds users and knows the cold-start vector', async () => {
    pool = await start(1);
    const [users, none] = await Promise.all([
      pool.embedUsers([{ vectors: [], types: [], ageHours: [] }]),
      pool.embedPosts([]),
    ]);
    expect(largestDifference(users, pool.coldStart())).toBeLessThan(1e-6);
    expect(none).toHaveLength(0);
  });

  it('lets a user pass a bulk of posts', async () => {
    pool = await start(1);
    const order: string[] = [];
    const posts = Array.from({ length: 3000 }, (_, i) => ({ text: `imported title ${i}` }));
    await Promise.all([
      pool.embedPosts(posts).then(() => order.push('bulk')),
      pool.embedUsers([{ vectors: [], types: [], ageHours: [] }]).then(() => order.push('user')),
    ]);
    expect(order).toEqual(['user', 'bulk']);
  });

  it('refuses work beyond its queue limit', async () => {
    pool = await EmbedPool.start({
      postTowerDir: POST_TOWER,
      userTowerDir: USER_TOWER,
      workers: 1,
      queueLimit: 2,
    });
    const post = [{ text: 'one of many' }];
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => pool!.embedPosts(post)));
    const refused = results.filter((result) => result.status === 'rejected');
    expect(refused.length).toBeGreaterThan(0);
    for (const { reason } of refused) expect(reason).toMatchObject({ code: 'overloaded' });
  });

  it('refuses to start on a folder that is not a tower, naming it', async () => {
    const options = { postTowerDir: '/nowhere/tower', userTowerDir: USER_TOWER, workers: 2 };
    await expect(EmbedPool.start(options)).rejects.toThrow(/nowhere\/tower/);
  });

  it('answers running jobs on close and refuses later ones', async () => {
    pool = await start(1);
    const running = pool.embedPosts([{ text: 'a last post' }]);
    await pool.close();
    expect(await running).toHaveLength(64);
    await expect(pool.embedPosts([{ text: 'too late' }])).rejects.toThrow(/closed/);
  });

  it('answers a post it cannot read with an error, and goes on', async () => {
    pool = await start(1);
    await expect(pool.embedPosts([null as never])).rejects.toThrow(/embedding failed/);
    expect(await pool.embedPosts([{ text: 'the next post' }])).toHaveLength(64);
  });

  it('rejects the job of a worker that dies, and replaces the worker', async () => {
    const deaths: Error[] = [];
    pool = await EmbedPool.start({
      postTowerDir: POST_TOWER,
      userTowerDir: USER_TOWER,
      workers: 1,
      script: new URL('./dying-embed-worker.ts', import.meta.url),
      onWorkerExit: (error) => deaths.push(error),
    });
    await expect(pool.embedPosts([{ text: 'die' }])).rejects.toThrow(/an embed worker ended: exit code 3/);
    expect(await pool.embedPosts([{ text: 'live' }])).toHaveLength(64);
    expect(deaths).toHaveLength(1);
  });

  it('stops replacing workers that only die, and then refuses instead of waiting for ever', async () => {
    pool = await EmbedPool.start({
      postTowerDir: POST_TOWER,
      userTowerDir: USER_TOWER,
      workers: 1,
      respawnDelayMs: 1,
      script: new URL('./dying-embed-worker.ts', import.meta.url),
    });
    for (let i = 0; i < 6; i++) {
      await expect(pool.embedPosts([{ text: 'die' }])).rejects.toThrow(/an embed worker ended/);
    }
    await expect(pool.embedPosts([{ text: 'live' }])).rejects.toThrow(/an embed worker ended/);
  });

  it('rejects the job of a worker that hangs, replaces the worker, and goes on', async () => {
    const lost: string[] = [];
    pool = await EmbedPool.start({
      postTowerDir: POST_TOWER,
      userTowerDir: USER_TOWER,
      workers: 1,
      hangMs: 50,
      respawnDelayMs: 1,
      script: new URL('./dying-embed-worker.ts', import.meta.url),
      onWorkerExit: (error) => lost.push(error.message),
    });
    const hung = pool.embedPosts([{ text: 'hang 2000' }]);
    const waiting = pool.embedPosts([{ text: 'live' }]);
    await expect(hung).rejects.toMatchObject({ code: 'timeout' });
    expect(await waiting).toHaveLength(64);
    expect(lost).toEqual(['an embed worker hangs']);
    expect(pool.trouble).toBe('1 embed workers hang');
    await expect.poll(() => pool?.trouble, { timeout: 10_000 }).toBeNull();
  });

  it('refuses at once while too many workers hang, until one comes back', async () => {
    pool = await EmbedPool.start({
      postTowerDir: POST_TOWER,
      userTowerDir: USER_TOWER,
      workers: 1,
      hangMs: 20,
      respawnDelayMs: 1,
      script: new URL('./dying-embed-worker.ts', import.meta.url),
    });
    for (let i = 0; i < 3; i++) {
      await expect(pool.embedPosts([{ text: 'hang 3000' }])).rejects.toMatchObject({ code: 'timeout' });
    }
    await expect(pool.embedPosts([{ text: 'live' }])).rejects.toThrow(/hangs/);
    expect(pool.trouble).toMatch(/nothing can be embedded/);
    await expect.poll(() => pool?.trouble, { timeout: 10_000 }).toBeNull();
    expect(await pool.embedPosts([{ text: 'live' }])).toHaveLength(64);
  });
});
