// Pages against a world that changes between them: posts arrive, posts are deleted, the user blocks authors.
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { feedResponse } from '../../../src/api/response-schemas.ts';
import { type Backends, newPosts, newUser, openBackends, openWorld, type World } from './world.ts';

let backends: Backends;
let world: World;

beforeAll(async () => {
  backends = await openBackends();
  world = await openWorld(backends, { config: { slateSize: 12 } });
}, 60_000);
afterAll(async () => {
  await world.close();
  await backends.close();
});

const change = fc.oneof(
  fc.record({ kind: fc.constant('insert' as const), at: fc.nat(60), count: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ kind: fc.constant('delete' as const), at: fc.nat(60) }),
  fc.record({ kind: fc.constant('block' as const), at: fc.nat(60) }),
);
const step = fc.record({
  limit: fc.integer({ min: 1, max: 9 }),
  changes: fc.array(change, { maxLength: 3 }),
});

it('never repeat a post, never show one that may not be shown, never skip one that may', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 40 }),
      fc.array(step, { maxLength: 6 }),
      async (count, steps) => {
        world.ranking.length = 0;
        world.memory.clear();
        const initial = newPosts(count);
        await world.addPosts(initial);
        const userId = newUser();
        const gone = new Set<string>();
        const delivered: string[] = [];
        let cursor: string | null = '';
        for (let i = 0; cursor !== null; i++) {
          const { limit, changes } = steps[i] ?? { limit: 9, changes: [] };
          const url: string = `/feed/${userId}?limit=${limit}${cursor ? `&cursor=${cursor}` : ''}`;
          const page = feedResponse.parse((await world.app.inject(url)).json());
          const ids = page.posts.map(({ id }) => id);
          expect(page.posts.map(({ position }) => position)).toEqual(
            ids.map((_, at) => delivered.length + at),
          );
          expect(ids.filter((id) => gone.has(id))).toEqual([]);
          delivered.push(...ids);
          cursor = page.nextCursor;
          if (cursor !== null) expect(page.posts.length).toBe(limit);
          for (const { kind, at, ...rest } of changes) {
            const target = world.ranking[at % Math.max(1, world.ranking.length)];
            if (kind === 'insert') {
              const fresh = newPosts((rest as { count: number }).count);
              await world.addPosts(fresh);
              const ids = world.ranking.splice(-fresh.length);
              world.ranking.splice(at % (world.ranking.length + 1), 0, ...ids);
            } else if (target !== undefined && !gone.has(target)) {
              gone.add(target);
              const [method, path] =
                kind === 'delete'
                  ? (['DELETE', `/posts/${target}`] as const)
                  : (['PUT', `/users/${userId}/blocks/author-of-${target}`] as const);
              expect((await world.app.inject({ method, url: path })).statusCode).toBe(200);
            }
          }
        }
        expect(new Set(delivered).size).toBe(delivered.length);
        const missing = initial.filter(({ id }) => !delivered.includes(id) && !gone.has(id));
        expect(missing).toEqual([]);
      },
    ),
    { numRuns: 15 },
  );
}, 60_000);
