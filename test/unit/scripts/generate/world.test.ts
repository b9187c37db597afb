import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { LEXICON } from '../../../../scripts/generate/lexicon.ts';
import { drawWeighted, Rng } from '../../../../scripts/generate/rng.ts';
import { generateWorld, type World } from '../../../../scripts/generate/world.ts';
import { edgeSchema, eventSchema, postSchema, userSchema } from '../../../../src/features/domain-schema.ts';

const world = generateWorld({ posts: 20_000, users: 600, seed: 5 });
const events = [...world.events()].flat();
const impressions = events.filter(({ type }) => type === 'impression');
const clicks = events.filter(({ type }) => type === 'click');

function digest(made: World): string {
  const hash = createHash('sha256');
  for (const batches of [made.posts(), made.users(), made.edges(), made.events()]) {
    for (const batch of batches) hash.update(JSON.stringify(batch));
  }
  return hash.digest('hex');
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

describe('determinism', () => {
  const small = { posts: 1_000, users: 40, seed: 9 };

  test('the same options give the same bytes', () => {
    expect(digest(generateWorld(small))).toBe(digest(generateWorld(small)));
  });

  test('another seed gives another world', () => {
    expect(digest(generateWorld({ ...small, seed: 10 }))).not.toBe(digest(generateWorld(small)));
  });

  test('a post or user made alone is the one of the stream', () => {
    const made = generateWorld(small);
    const posts = [...made.posts(7)].flat();
    const users = [...made.users(7)].flat();
    const fresh = generateWorld(small);
    for (const i of [999, 0, 500]) expect(fresh.post(i)).toEqual(posts[i]);
    for (const i of [39, 0, 20]) expect(fresh.user(i)).toEqual(users[i]);
    expect(fresh.eventsOf(11)).toEqual([...made.events()].flat().filter(({ userId }) => userId === 'u11'));
  });
});

test('everything made passes the schemas of the import', () => {
  const made = generateWorld({ posts: 2_000, users: 150, seed: 2 });
  for (const batch of made.posts()) for (const post of batch) expect(postSchema.parse(post)).toEqual(post);
  for (const batch of made.users()) for (const user of batch) expect(userSchema.parse(user)).toEqual(user);
  for (const batch of made.edges()) for (const edge of batch) expect(edgeSchema.parse(edge)).toEqual(edge);
  for (const batch of made.events())
    for (const event of batch) expect(eventSchema.parse(event)).toEqual(event);
});

test('a title has no unfilled slot and speaks of its sub-topic', () => {
  let spoken = 0;
  for (let i = 0; i < 2_000; i++) {
    const { title, language } = world.post(i);
    expect(title).not.toMatch(/[{}]|undefined/);
    const terms = LEXICON.subTopics[world.subTopicOf(i)].terms[language!];
    if (terms.some((term) => title!.toLowerCase().includes(term.toLowerCase()))) spoken++;
  }
  expect(spoken / 2_000).toBeGreaterThan(0.9);
});

test('time: posts in order of creation, nothing after the end, no event before its post', () => {
  const { now, days } = world.options;
  const posts = Array.from({ length: world.options.posts }, (_, i) => i);
  expect(posts.slice(1).filter((i) => world.createdAtOf(i) < world.createdAtOf(i - 1))).toEqual([]);
  expect(world.createdAtOf(0)).toBeGreaterThanOrEqual(now - days * 86_400_000);
  expect(events.filter(({ at }) => at > now)).toEqual([]);
  expect(events.filter(({ at, postId }) => at < world.createdAtOf(world.postIndex(postId)))).toEqual([]);
});

test('there are posts without any event, the newest among them', () => {
  const touched = new Set(events.map(({ postId }) => postId));
  const untouched = Array.from({ length: world.options.posts }, (_, i) => i).filter(
    (i) => !touched.has(`p${i}`),
  );
  expect(untouched.length).toBeGreaterThan(world.options.posts * 0.01);
  expect(untouched).toContain(world.options.posts - 1);
});

test('event ids are unique for a user and no post is shown twice to one', () => {
  expect(new Set(events.map(({ userId, id }) => `${userId} ${id}`)).size).toBe(events.length);
  expect(new Set(impressions.map(({ userId, postId }) => `${userId} ${postId}`)).size).toBe(
    impressions.length,
  );
});

describe('statistics', () => {
  test('exposure has a heavy tail: the top percent of posts gets over a tenth of the impressions', () => {
    const counts = new Uint32Array(world.options.posts);
    for (const { postId } of impressions) counts[world.postIndex(postId)]++;
    counts.sort().reverse();
    const top = counts.slice(0, world.options.posts / 100).reduce((sum, n) => sum + n, 0);
    expect(top / impressions.length).toBeGreaterThan(0.1);
  });

  test('followers per author fall like a power of the rank', () => {
    const followers = new Map<string, number>();
    for (const batch of generateWorld({ posts: 5_000, users: 3_000, seed: 1 }).edges()) {
      for (const { kind, target } of batch) {
        if (kind === 'follow') followers.set(target, (followers.get(target) ?? 0) + 1);
      }
    }
    const counts = [...followers.values()].sort((a, b) => b - a);
    const slope = Math.log(counts[3] / counts[99]) / Math.log(100 / 4);
    expect(slope).toBeGreaterThan(0.5);
    expect(slope).toBeLessThan(1.5);
  });

  test('click-through rate and what follows a click are of the order of real feeds', () => {
    const count = (wanted: string) => events.filter(({ type }) => type === wanted).length;
    expect(clicks.length / impressions.length).toBeGreaterThan(0.08);
    expect(clicks.length / impressions.length).toBeLessThan(0.25);
    expect(count('like') / clicks.length).toBeGreaterThan(0.1);
    expect(count('like') / clicks.length).toBeLessThan(0.3);
    const negative = (count('hide') + count('not_interested') + count('report')) / impressions.length;
    expect(negative).toBeGreaterThan(0.002);
    expect(negative).toBeLessThan(0.05);
  });

  test('impressions of high true affinity are clicked more, monotonically over five groups', () => {
    const clicked = new Set(clicks.map(({ userId, postId }) => `${userId} ${postId}`));
    const pairs = impressions.map(({ userId, postId, at }) => ({
      affinity: world.trueAffinity(world.userIndex(userId), world.postIndex(postId), at),
      click: clicked.has(`${userId} ${postId}`) ? 1 : 0,
    }));
    pairs.sort((a, b) => a.affinity - b.affinity);
    const size = Math.floor(pairs.length / 5);
    const rates = [0, 1, 2, 3, 4].map((g) =>
      mean(pairs.slice(g * size, (g + 1) * size).map(({ click }) => click)),
    );
    for (let g = 1; g < 5; g++) expect(rates[g]).toBeGreaterThan(rates[g - 1]);
    expect(rates[4]).toBeGreaterThan(10 * rates[0]);
  });

  test('the first position is clicked more than the tenth', () => {
    const rate = (wanted: number) => {
      const shown = impressions.filter(({ position }) => position === wanted).length;
      return clicks.filter(({ position }) => position === wanted).length / shown;
    };
    expect(rate(0)).toBeGreaterThan(1.3 * rate(9));
  });

  test('users write in and read several languages', () => {
    const languages = new Set([...world.posts()].flat().map(({ language }) => language));
    expect([...languages].sort()).toEqual(['de', 'en', 'es', 'fr', 'pt']);
  });
});

describe('truth', () => {
  test('a post of the main interest beats one of a foreign topic, and bait without substance loses', () => {
    const means = { own: [] as number[], other: [] as number[] };
    for (let user = 0; user < 40; user++) {
      const main = world.profile(user).interests[0].subTopic;
      const affinities = world.affinities(user);
      for (let post = 0; post < world.options.posts; post++) {
        if (world.subTopicOf(post) === main) means.own.push(affinities[post]);
        else if (world.similarity(world.subTopicOf(post), main) < 0) means.other.push(affinities[post]);
      }
    }
    expect(mean(means.own)).toBeGreaterThan(5 * mean(means.other));
  });

  test('affinities of all posts are those of single posts', () => {
    const all = world.affinities(3);
    for (const post of [0, 77, 19_999]) expect(all[post]).toBeCloseTo(world.trueAffinity(3, post), 6);
  });

  test('what was shown, is own, blocked or muted is not eligible; the rest is', () => {
    let excluded = 0;
    const wrong: string[] = [];
    for (let user = 0; user < 40; user++) {
      const eligible = world.eligible(user);
      const id = world.userId(user);
      const { blocked, mutedAuthors, mutedSubTopics, mutedWord } = world.profile(user);
      const seen = new Set(world.eventsOf(user).map(({ postId }) => postId));
      for (let post = 0; post < world.options.posts; post++) {
        const author = world.authorOf(post);
        const barred =
          seen.has(world.postId(post)) ||
          world.authorId(author) === id ||
          blocked.has(author) ||
          mutedAuthors.has(author) ||
          mutedSubTopics.has(world.subTopicOf(post));
        if (barred) excluded++;
        const expected = barred ? 0 : mutedWord ? eligible[post] : 1;
        if (eligible[post] !== expected) wrong.push(`${id} ${world.postId(post)}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(excluded).toBeGreaterThan(40);
  });

  test('repeating a sub-topic or an author tires', () => {
    const post = 100;
    expect(world.fatigue([], post)).toBe(1);
    expect(world.fatigue([post], post)).toBeCloseTo(0.85 * 0.7, 6);
  });
});

test('ids of other worlds are not taken for posts or users', () => {
  for (const id of ['p20000', 'p-1', 'p01', 'q1', 'p1x', '', 'p1e3', 'p9999999999']) {
    expect(world.postIndex(id)).toBe(-1);
  }
  expect(world.postIndex('p19999')).toBe(19_999);
  expect(world.userIndex('u0')).toBe(0);
  expect(world.userIndex('u600')).toBe(-1);
});

test('a world of one post and no users is valid', () => {
  const made = generateWorld({ posts: 1, users: 0, seed: 0 });
  expect([...made.posts()].flat()).toHaveLength(1);
  expect([...made.events()]).toEqual([]);
});

describe('random streams', () => {
  test('uniform draws have the mean and variance of uniform draws, normal ones of normal ones', () => {
    const rng = new Rng(1, 'test');
    const uniform = Array.from({ length: 50_000 }, () => rng.next());
    expect(mean(uniform)).toBeCloseTo(0.5, 2);
    expect(mean(uniform.map((x) => (x - 0.5) ** 2))).toBeCloseTo(1 / 12, 2);
    const normal = Array.from({ length: 50_000 }, () => rng.normal());
    expect(mean(normal)).toBeCloseTo(0, 1);
    expect(mean(normal.map((x) => x * x))).toBeCloseTo(1, 1);
  });

  test('neighbouring sub-streams start apart', () => {
    const starts = Array.from({ length: 10_000 }, (_, i) => new Rng(1, 'test').at(i).next());
    expect(new Set(starts).size).toBeGreaterThan(9_990);
    expect(mean(starts)).toBeCloseTo(0.5, 1);
  });

  test('weighted draws follow the weights and never leave their range', () => {
    const totals = Float64Array.of(1, 1, 4, 4, 9);
    const rng = new Rng(3, 'draw');
    const counts = new Uint32Array(5);
    for (let i = 0; i < 20_000; i++) counts[drawWeighted(totals, rng.next(), 1, 5)]++;
    expect([counts[0], counts[1], counts[3]]).toEqual([0, 0, 0]);
    expect(counts[2] / 20_000).toBeCloseTo(3 / 8, 1);
    expect(drawWeighted(totals, 0.5, 2, 2)).toBe(-1);
    expect(drawWeighted(totals, 0.5, 1, 2)).toBe(-1);
  });
});
