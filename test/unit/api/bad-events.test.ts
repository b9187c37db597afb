// Events and posts that no honest client sends: each is refused by field or stored as what it says, and nothing dies.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { batchResponse, problemSchema } from '../../../src/api/response-schemas.ts';
import { deadlineIn } from '../../../src/deadline.ts';
import { type Backends, NOW, newPosts, newUser, openBackends, openWorld, type World } from './world.ts';

let backends: Backends;
let world: World;

beforeAll(async () => {
  backends = await openBackends();
}, 60_000);
afterAll(() => backends.close());
beforeEach(async () => {
  world = await openWorld(backends);
});
afterEach(() => world.close());

async function send(kind: 'posts' | 'events', items: unknown[]) {
  const response = await world.app.inject({ method: 'POST', url: `/${kind}`, payload: { [kind]: items } });
  return { status: response.statusCode, ...batchResponse.parse(response.json()) };
}

describe('events that cannot be true', () => {
  it('of the year 1970 are stored under their time; of 2100, or of tomorrow, are refused', async () => {
    const [post, other] = newPosts(2);
    await world.addPosts([post, other]);
    const userId = newUser();
    const event = (id: string, at: number, postId = post.id) => ({ id, userId, postId, type: 'click', at });
    const answer = await send('events', [
      event('1970', 0),
      event('2100', 4_102_444_800_000),
      event('tomorrow', NOW + 86_400_000),
      event('before 1970', -1),
      event('now', NOW, other.id),
    ]);
    expect(answer.status).toBe(207);
    expect(answer.results.map(({ status, field }) => [status, field])).toEqual([
      ['stored', undefined],
      ['rejected', 'events[1].at'],
      ['rejected', 'events[2].at'],
      ['rejected', 'events[3].at'],
      ['stored', undefined],
    ]);
    const stored = await backends.sql.recentEvents(userId, 10, deadlineIn(5000));
    expect(stored.map(({ at }) => at)).toEqual([NOW, 0]);
  });

  it('with a dwell that is negative, endless or longer than a day are refused', async () => {
    const [post] = newPosts(1);
    await world.addPosts([post]);
    const event = (dwellMs: unknown) => ({
      userId: newUser(),
      postId: post.id,
      type: 'dwell',
      at: NOW,
      dwellMs,
    });
    const answer = await send('events', [event(-1), event(1e300), event('5'), event(25 * 3_600_000)]);
    expect(answer.status).toBe(400);
    for (const result of answer.results) {
      expect(result).toMatchObject({ status: 'rejected', field: `events[${result.index}].dwellMs` });
    }
  });

  it('a post whose text is 1 MB is refused by field, beside one that is stored', async () => {
    const [huge, good] = newPosts(2);
    const answer = await send('posts', [{ ...huge, text: 'x'.repeat(1_000_000) }, good]);
    expect(answer.results[0]).toMatchObject({ status: 'rejected', field: 'posts[0].text' });
    expect(answer.results[1].status).toBe('stored');
  });

  it('broken UTF-8 is refused, not repaired', async () => {
    const body = Buffer.from('{"events":[{"userId":"u?","postId":"p","type":"click","at":1}]}');
    body[body.indexOf('?')] = 0xff;
    const response = await world.app.inject({
      method: 'POST',
      url: '/events',
      headers: { 'content-type': 'application/json' },
      payload: body,
    });
    expect(response.statusCode).toBe(400);
    expect(problemSchema.parse(response.json()).detail).toContain('UTF-8');
  });
});
