// The ranker is swapped while a feed is being read: an answer is of one version, and a feed asks for the one it began on.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backends, newPosts, newUser, openBackends, openWorld, type World } from './world.ts';

let backends: Backends;
let world: World;

beforeAll(async () => {
  backends = await openBackends();
  world = await openWorld(backends, { config: { slateSize: 10 } });
  await world.addPosts(newPosts(30));
});

afterAll(async () => {
  await world.close();
  await backends.close();
});

async function page(user: string, cursor: string | null) {
  const at = cursor ? `&cursor=${encodeURIComponent(cursor)}` : '';
  const response = await world.app.inject({ method: 'GET', url: `/feed/${user}?limit=8${at}` });
  expect(response.statusCode).toBe(200);
  return response.json() as {
    posts: { id: string }[];
    model: string;
    nextCursor: string | null;
    end: boolean;
  };
}

async function read(models: string[]) {
  const user = newUser();
  let made = 0;
  world.script.slate = (_request, usual) => ({
    ...usual,
    model: models[Math.min(made++, models.length - 1)],
  });
  const pages = [];
  for (let cursor: string | null = null; ; ) {
    const next = await page(user, cursor);
    pages.push(next);
    cursor = next.nextCursor;
    if (cursor === null || next.end) return pages;
  }
}

describe('a feed across a swap', () => {
  it('ends a page early rather than mix two versions, and goes on without losing or repeating a post', async () => {
    const pages = await read(['ranker@1', 'ranker@2']);
    const ids = pages.flatMap(({ posts }) => posts.map(({ id }) => id));
    expect(new Set(ids).size).toBe(30);
    expect(ids).toHaveLength(30);
    // The first slate has ten posts: eight on the first page, two on the second, which ends there.
    expect(pages.slice(0, 3).map(({ model, posts }) => [model, posts.length])).toEqual([
      ['ranker@1', 8],
      ['ranker@1', 2],
      ['ranker@2', 8],
    ]);
  });

  it('fills a page from two slates of one version', async () => {
    const pages = await read(['ranker@1']);
    expect(pages.slice(0, 3).map(({ posts }) => posts.length)).toEqual([8, 8, 8]);
  });

  it('asks for the version that the feed began on', async () => {
    world.slateRequests.length = 0;
    await read(['ranker@1+canary']);
    expect(world.slateRequests[0].model).toBeUndefined();
    expect(new Set(world.slateRequests.slice(1).map(({ model }) => model))).toEqual(
      new Set(['ranker@1+canary']),
    );
  });
});
