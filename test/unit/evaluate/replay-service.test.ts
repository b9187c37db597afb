import { describe, expect, it } from 'vitest';
import { replayedRetriever } from '../../../scripts/evaluate/replay-pipeline.ts';
import {
  EventStreams,
  FeatureColumns,
  type ReplayEvent,
  ReplayedService,
  SERVICE_FEATURES,
} from '../../../scripts/evaluate/replay-service.ts';
import { compilePlan } from '../../../src/features/feature-schema.ts';
import { FIELD, RECORD_WORDS } from '../../../src/post-record.ts';

const HOUR = 3_600_000;
const T0 = Date.UTC(2024, 0, 1);
const POSTS = Array.from({ length: 40 }, (_, i) => {
  return { id: `p${i}`, authorId: `a${i % 4}`, createdAt: T0, topic: `t${i % 2}` };
});

function started(): ReplayedService {
  const service = new ReplayedService(POSTS, 1);
  for (let post = 0; post < POSTS.length; post++) service.add(post);
  return service;
}

function columnOf(service: ReplayedService, feature: string, user: number, post: number, at: number): number {
  const out = new Float32Array(service.encoder.width);
  service.encode(user, Uint32Array.of(service.rowOf(post)), at, out);
  const before = SERVICE_FEATURES.slice(0, SERVICE_FEATURES.indexOf(feature));
  return out[before.length === 0 ? 0 : compilePlan(before).width];
}

describe('the replayed service', () => {
  it('counts by the service’s own counters and describes by its own encoder', () => {
    const service = started();
    const event = { user: 1, post: 3, at: T0 + HOUR } as const;
    service.apply({ ...event, type: 'impression' });
    service.apply({ ...event, type: 'click', dwellMs: 20_000 });
    service.apply({ ...event, type: 'like' });
    const at = service.rowOf(3) * RECORD_WORDS;
    const { f32 } = service.table.records;
    expect([FIELD.impressions, FIELD.clicks, FIELD.likes, FIELD.longDwells].map((f) => f32[at + f])).toEqual([
      1, 1, 1, 1,
    ]);
    const affinity = (post: number) => columnOf(service, 'author_affinity@1', 1, post, T0 + 2 * HOUR);
    expect(affinity(7)).toBeGreaterThan(0);
    expect(affinity(4)).toBe(0);
    expect(columnOf(service, 'author_affinity@1', 2, 7, T0 + 2 * HOUR)).toBe(0);
  });

  it('moves a reader’s vector with each click, towards what is read together', async () => {
    const service = started();
    // Two crowds: one reads the first half of the posts, one the other.
    for (let round = 0; round < 2000; round++) {
      const user = round % 20;
      const post = ((round * 7 + 3 * Math.floor(round / 20)) % 20) + (user < 10 ? 0 : 20);
      service.apply({ user, post, type: 'click', at: T0 + round * 1000 });
    }
    const now = T0 + HOUR;
    const retriever = await replayedRetriever(service, {
      quotas: { nearest: 1, similar: 0, trending: 0, fresh: 0, following: 0 },
      nearDuplicates: { maxDistance: -1 },
    });
    const fresh = 99;
    for (const post of [1, 2]) service.apply({ user: fresh, post, type: 'click', at: now });
    const { candidates } = retriever.retrieve(service.query(fresh, now + 1, 10, 0), service.table);
    const own = [...candidates.rows].filter((row) => row < 20).length;
    expect(service.reader(fresh).embeddingKind).toBe('computed');
    expect(own).toBeGreaterThan(candidates.size * 0.8);
    expect(service.reader(1234).embeddingKind).toBe('cold');
  });

  it('names as many columns as it encodes', () => {
    const { encoder } = started();
    const columns = new FeatureColumns(encoder.width, 2);
    expect(columns.names).toHaveLength(encoder.width);
    const encoded = Float32Array.from({ length: 2 * encoder.width }, (_, i) => i);
    columns.set(0, encoded, 2);
    expect(columns.columns[1]).toEqual(Float32Array.of(1, encoder.width + 1));
  });
});

describe('streams of events', () => {
  it('are applied in the order of time, the earlier stream first, and nothing of the moment itself', () => {
    const seen: string[] = [];
    const stream = (name: string, times: number[]) => ({
      length: times.length,
      at: (i: number) => times[i],
      apply: (i: number) => void seen.push(`${name}${times[i]}`),
    });
    const events = new EventStreams([stream('a', [1, 3, 5]), stream('b', [1, 2, 5])]);
    events.advance(3);
    expect(seen).toEqual(['a1', 'b1', 'b2']);
    events.advance(5);
    expect(seen.slice(3)).toEqual(['a3']);
    events.advance(Number.POSITIVE_INFINITY);
    expect(seen.slice(4)).toEqual(['a5', 'b5']);
  });

  it('a service that saw them sees nothing of what comes later', () => {
    const features = (later: ReplayEvent[]) => {
      const service = started();
      const first: ReplayEvent = { user: 1, post: 1, type: 'click', at: T0 + 1 };
      const all = [first, ...later];
      const events = new EventStreams([
        { length: all.length, at: (i) => all[i].at, apply: (i) => service.apply(all[i]) },
      ]);
      events.advance(T0 + 10);
      const out = new Float32Array(service.encoder.width);
      service.encode(1, Uint32Array.of(service.rowOf(5)), T0 + 10, out);
      return out;
    };
    const later: ReplayEvent[] = [{ user: 1, post: 5, type: 'like', at: T0 + 10 }];
    expect(features(later)).toEqual(features([]));
  });
});
