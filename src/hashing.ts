// The one hash of the service: post, author and topic keys become 64 (or 32) bits here, and only here, so that
// stores, catalogue, seen sets and features agree. Allocation-free; strings are hashed as UTF-16 code units.

/** A 64-bit key hash as two unsigned 32-bit halves. Never (0, 0), which means "empty". */
export interface Hash64 {
  lo: number;
  hi: number;
}

/**
 * 64-bit hash of a key: two rounds of 32-bit multiply-xor with murmur3's finaliser (Appleby, 2011).
 * Writes into `out` when given.
 */
export function hash64(key: string, out: Hash64 = { lo: 0, hi: 0 }): Hash64 {
  let a = 0x811c9dc5 ^ key.length;
  let b = 0x9e3779b9 ^ key.length;
  for (let i = 0; i < key.length; i++) {
    const code = key.charCodeAt(i);
    a = Math.imul(a ^ code, 0x01000193);
    a ^= a >>> 15;
    b = Math.imul(b ^ code, 0x85ebca6b);
    b = (b << 13) | (b >>> 19);
  }
  const lo = finalise(a ^ Math.imul(b, 0xc2b2ae35));
  const hi = finalise(b ^ Math.imul(a, 0x27d4eb2f));
  out.lo = lo === 0 && hi === 0 ? 1 : lo;
  out.hi = hi;
  return out;
}

/** 32-bit hash of a key, never 0. Used for topics and words. */
export function hash32(key: string): number {
  let a = 0x811c9dc5 ^ key.length;
  for (let i = 0; i < key.length; i++) {
    a = Math.imul(a ^ key.charCodeAt(i), 0x01000193);
    a ^= a >>> 15;
  }
  return finalise(a) || 1;
}

/** Packs key hashes as [lo, hi, lo, hi, …]. */
export function packHashes(keys: readonly string[]): Uint32Array {
  const packed = new Uint32Array(keys.length * 2);
  const hash = { lo: 0, hi: 0 };
  for (let i = 0; i < keys.length; i++) {
    hash64(keys[i], hash);
    packed[2 * i] = hash.lo;
    packed[2 * i + 1] = hash.hi;
  }
  return packed;
}

function finalise(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
