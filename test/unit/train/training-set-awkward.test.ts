import { describe, expect, it } from 'vitest';
import type { EngagementEvent } from '../../../src/contracts.ts';
import { HOUR, makeEvents, START, sourceOf, trainingSet } from './replay-world.ts';

describe('training set of awkward events', () => {
  it('refuses events without impressions', async () => {
    const events = makeEvents().filter(({ type }) => type !== 'impression');
    await expect(trainingSet(events)).rejects.toThrow('no impressions');
  });

  it('refuses events that all happened in one millisecond, and a time without impressions', async () => {
    const at = START + 10 * HOUR;
    await expect(trainingSet(makeEvents().map((event) => ({ ...event, at })))).rejects.toThrow(
      'no impression of a known post in the time to learn from',
    );
    const fromMs = START + 500 * HOUR;
    await expect(trainingSet(makeEvents(), { fromMs })).rejects.toThrow('in the time to learn from');
  });

  it('takes a user with a million events, in bounded memory', { timeout: 120_000 }, async () => {
    const first = START + 24 * HOUR;
    async function* flood(): AsyncGenerator<EngagementEvent[]> {
      for (let from = 0; from < 1_000_000; from += 10_000) {
        yield Array.from({ length: 10_000 }, (_, k): EngagementEvent => {
          const i = from + k;
          const type =
            i % 4 === 0 ? ('impression' as const) : i % 4 === 1 ? ('click' as const) : ('like' as const);
          return { id: `${i}`, userId: 'ann', postId: `p${(i >> 2) % 40}`, type, at: first + i * 50 };
        });
      }
    }
    const { meta } = await trainingSet([], { source: { ...sourceOf([]), events: flood } });
    // 40 posts, each shown first once; what was seen makes no other row.
    expect(meta.rows).toBe(40);
    expect(meta.events).toBe(1_000_000);
  });

  it('counts events of posts that do not exist, and goes on', async () => {
    const events = makeEvents();
    events[3] = { ...events[3], postId: 'gone' };
    const { meta } = await trainingSet(events);
    expect(meta.unknownPosts).toBe(1);
    expect(meta.tower).toBe('post-tower@9');
  });
});
