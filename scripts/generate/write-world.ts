// Streams a generated world into a sink. Called by scripts/generate.ts, the demo and the training-set builder.
import type { Sink } from '../import/sink.ts';
import type { World } from './world.ts';

/** Writes posts, users, edges and events in this order; `onProgress(fraction, items)` after each batch. */
export async function writeWorld(
  world: World,
  sink: Sink,
  onProgress: (fraction: number, items: number) => void = () => {},
): Promise<void> {
  const { posts, users, eventsPerUser } = world.options;
  // About 1.35 events an impression, 7 edges a user: only the bar depends on it.
  const expected = Math.max(1, posts + users * (8 + 1.35 * eventsPerUser * 0.87));
  let items = 0;
  const note = (count: number) => {
    items += count;
    onProgress(Math.min(0.999, items / expected), items);
  };
  for (const batch of world.posts()) {
    await sink.write({ posts: batch });
    note(batch.length);
  }
  for (const batch of world.users()) {
    await sink.write({ users: batch });
    note(batch.length);
  }
  for (const batch of world.edges()) {
    await sink.write({ edges: batch });
    note(batch.length);
  }
  for (const batch of world.events()) {
    await sink.write({ events: batch });
    note(batch.length);
  }
  onProgress(1, items);
}
