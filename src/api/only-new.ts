// Entries of a slate that a feed has not had yet. Called by feed-pages.ts for every slate.
import { PairSet } from '../candidates/pair-set.ts';
import { hash64 } from '../hashing.ts';
import type { SnapshotEntry } from './feed-snapshot.ts';

/** Of one call; its storage is kept. */
const TAKEN = new PairSet();

/** Drops repeats, and posts that the slate should have left out. */
export function onlyNew(entries: readonly SnapshotEntry[], exclude: Uint32Array): SnapshotEntry[] {
  TAKEN.reset(exclude.length / 2 + entries.length);
  TAKEN.addAll(exclude);
  const hash = { lo: 0, hi: 0 };
  return entries.filter(({ postId }) => {
    const { lo, hi } = hash64(postId, hash);
    if (TAKEN.has(lo, hi)) return false;
    TAKEN.add(lo, hi);
    return true;
  });
}
