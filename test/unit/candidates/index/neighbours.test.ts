import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, describe, expect, it } from 'vitest';
import { currentVersion, loadGeneration } from '../../../../src/candidates/index/artifact.ts';
import { measureFile } from '../../../../src/candidates/index/artifact-files.ts';
import { buildIndex } from '../../../../src/candidates/index/build.ts';
import { EngagementPairs } from '../../../../src/candidates/index/engagement-pairs.ts';
import { NEIGHBOURS_FILE } from '../../../../src/candidates/index/neighbours-file.ts';
import type { EngagementEvent, Post } from '../../../../src/contracts.ts';
import type { EventType } from '../../../../src/vocabulary.ts';
import { batchesOf, postOf, START_MS, vectorsOf } from './seeded-posts.ts';

const root = await mkdtemp(join(tmpdir(), 'feedrank-neighbours-'));
afterAll(() => rm(root, { recursive: true, force: true }));
const vectors = vectorsOf(40, 3);

function eventOf(userId: string, post: number, type: EventType = 'like', dwellMs?: number): EngagementEvent {
  return {
    id: `${userId}-${post}-${type}`,
    userId,
    postId: `post-${post}`,
    type,
    at: START_MS + 1e6,
    dwellMs,
  };
}

async function build(name: string, events: EngagementEvent[]) {
  return buildIndex({
    indexDir: join(root, name),
    tower: 'post-tower@1',
    position: '1',
    posts: batchesOf(vectors.map((_, i) => postOf(i))),
    events: batchesOf(events),
    embed: async (batch: readonly Post[]) => {
      const out = new Float32Array(batch.length * 64);
      for (const [i, post] of batch.entries()) out.set(vectors[Number(post.id.slice(5))], i * 64);
      return out;
    },
    k: 10,
  });
}

describe('EngagementPairs', () => {
  const rowsOf = (events: [EventType, number, number?][]) => {
    const pairs = new EngagementPairs();
    for (const [type, row, dwellMs] of events) pairs.add(eventOf('u', row, type, dwellMs), row);
    return [...pairs.interactions(1000).items];
  };

  it('takes positive engagements once each, newest last, and forgets what was un-liked', () => {
    expect(
      rowsOf([
        ['like', 1],
        ['impression', 2],
        ['hide', 3],
        ['dwell', 4, 500],
        ['dwell', 5, 60_000],
        ['like', 6],
        ['click', 1],
        ['unlike', 6],
      ]),
    ).toEqual([5, 1]);
  });

  it('leaves out a user of one post, and keeps the newest hundred of a user of very many', () => {
    expect(rowsOf([['like', 1]])).toEqual([]);
    const many = Array.from({ length: 900 }, (_, row): [EventType, number] => ['click', row]);
    expect(rowsOf(many)).toEqual(Array.from({ length: 100 }, (_, i) => 800 + i));
  });
});

describe('the item graph of an index version', () => {
  const events = ['u', 'v'].flatMap((user) => [
    eventOf(user, 3),
    eventOf(user, 9),
    eventOf(user, 'u' === user ? 12 : 13),
  ]);

  it('is built from the events, and is there again after loading, also in another thread without a copy', async () => {
    const manifest = await build('whole', events);
    expect(manifest.neighbours?.edges).toBe(10);
    const { table } = (await loadGeneration(join(root, 'whole')))!;
    const { items, weights } = table.neighbours!.neighbours(3);
    expect([...items]).toEqual([9, 12, 13]);
    // Two users of three posts each, both posts with two users: 2 · 3^-1 / √(2 · 2).
    expect(weights[0]).toBeCloseTo(1 / 3, 6);
    expect(table.neighbours!.neighbours(0).items).toHaveLength(0);

    const code = `const { parentPort, workerData } = require('node:worker_threads');
      workerData.neighbours.weights[0] = 7;
      parentPort.postMessage([...workerData.neighbours.items]);`;
    const worker = new Worker(code, { eval: true, workerData: table.handle() });
    const seen = await new Promise((done, fail) => worker.once('message', done).once('error', fail));
    expect(seen).toEqual([...table.neighbours!.parts.items]);
    expect(table.neighbours!.parts.weights[0]).toBe(7);
    await worker.terminate();
  });

  it('is absent where no two posts share a user', async () => {
    const manifest = await build('apart', [eventOf('u', 3), eventOf('v', 9)]);
    expect([manifest.neighbours, manifest.files[NEIGHBOURS_FILE]]).toEqual([null, undefined]);
    expect((await loadGeneration(join(root, 'apart')))!.table.neighbours).toBeNull();
  });

  it('is absent in a version from before there was one', async () => {
    await build('old', events);
    await rewrite('old', (manifest) => {
      delete manifest.neighbours;
      delete (manifest.files as Record<string, unknown>)[NEIGHBOURS_FILE];
    });
    expect((await loadGeneration(join(root, 'old')))!.table.neighbours).toBeNull();
  });

  it('is refused, naming the file, when a byte changed or an edge leaves the base', async () => {
    await build('sound', events);
    const damaged = async (name: string, change: (words: Uint32Array) => void, resign: boolean) => {
      await cp(join(root, 'sound'), join(root, name), { recursive: true });
      const path = join(await folderOf(name), NEIGHBOURS_FILE);
      const bytes = new Uint8Array(await readFile(path));
      change(new Uint32Array(bytes.buffer));
      await writeFile(path, bytes);
      const entry = await measureFile(path);
      if (resign)
        await rewrite(name, ({ files }) => Object.assign(files as object, { [NEIGHBOURS_FILE]: entry }));
      return loadGeneration(join(root, name));
    };
    const firstEdge = 41;
    const set = (at: number, value: number) => (words: Uint32Array) => words.fill(value, at, at + 1);
    const refused = (reason: RegExp) => ({
      code: 'corrupt_artifact',
      message: expect.stringMatching(reason),
    });
    await expect(damaged('flipped', set(firstEdge, 1), false)).rejects.toMatchObject(
      refused(/neighbours\.bin: its sha256/),
    );
    await expect(damaged('outside', set(firstEdge, 40), true)).rejects.toMatchObject(
      refused(/row 40 is not in the base/),
    );
    await expect(damaged('order', set(1, 99), true)).rejects.toMatchObject(refused(/end before they begin/));
    await expect(damaged('weight', set(51, 0), true)).rejects.toMatchObject(refused(/has the weight 0/));
  });
});

async function folderOf(name: string): Promise<string> {
  return join(root, name, (await currentVersion(join(root, name)))!);
}

async function rewrite(name: string, change: (manifest: Record<string, unknown>) => void): Promise<void> {
  const path = join(await folderOf(name), 'manifest.json');
  const manifest = JSON.parse(await readFile(path, 'utf8'));
  change(manifest);
  await writeFile(path, JSON.stringify(manifest));
}
