// Lists of posts as hash64 pairs [lo, hi, …]: what cursors, snapshots and slate requests hold instead of ids.
import type { Hash64 } from '../hashing.ts';

/** 53 of the 64 bits as one exact number: a key for Set and Map. */
export function hashKey(hash: Hash64): number {
  return (hash.hi & 0x1fffff) * 0x1_0000_0000 + hash.lo;
}

export function hashSet(pairs: Uint32Array): Set<number> {
  const keys = new Set<number>();
  for (let i = 0; i + 1 < pairs.length; i += 2) keys.add(hashKey({ lo: pairs[i], hi: pairs[i + 1] }));
  return keys;
}

export function joinPairs(...lists: readonly Uint32Array[]): Uint32Array {
  const joined = new Uint32Array(lists.reduce((sum, list) => sum + list.length, 0));
  let at = 0;
  for (const list of lists) {
    joined.set(list, at);
    at += list.length;
  }
  return joined;
}
