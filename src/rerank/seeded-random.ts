// The only source of randomness of the re-ranker: sfc32 (Chris Doty-Humphrey, PractRand), seeded by 32 bits.

/** A stream of numbers in [0, 1) with 32 random bits each; the same seed gives the same stream. */
export function seededRandom(seed: number): () => number {
  let a = 0x9e3779b9;
  let b = 0x243f6a88;
  let c = seed >>> 0;
  let counter = 1;
  const next = (): number => {
    const sum = (a + b + counter++) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + sum) | 0;
    return (sum >>> 0) / 0x1_0000_0000;
  };
  // Twelve rounds spread a small seed over the whole state.
  for (let i = 0; i < 12; i++) next();
  return next;
}
