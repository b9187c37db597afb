// How much a training source holds: what a training set's size and times are planned by, and what tells whether a source
// has changed since a run was killed. Called by training-set.ts and scripts/train.ts.
import type { TrainingSource } from './training-set.ts';

export interface Extent {
  posts: number;
  events: number;
  impressions: number;
  fromMs: number;
  toMs: number;
}

/** What a source holds; two scans. */
export async function measure(source: TrainingSource): Promise<Extent> {
  const extent = { posts: 0, events: 0, impressions: 0, fromMs: Infinity, toMs: -Infinity };
  for await (const batch of source.posts()) extent.posts += batch.length;
  for await (const batch of source.events()) {
    extent.events += batch.length;
    for (const { type, at } of batch) {
      if (type === 'impression') extent.impressions++;
      if (at < extent.fromMs) extent.fromMs = at;
      if (at > extent.toMs) extent.toMs = at;
    }
  }
  return extent;
}
