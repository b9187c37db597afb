// The few heights of a batch: rows are padded up to the next one, so that a device sees few shapes (each has its own
// compiled kernels and memory plan). Two steps an octave, so that at most a third of a batch is padding.

const SMALLEST = 32;

/** Rising bucket heights up to the first that holds `maxRows`: 32, 48, 64, 96, 128, … */
export function rowBuckets(maxRows: number): number[] {
  const buckets: number[] = [];
  for (let octave = SMALLEST; ; octave *= 2) {
    for (const rows of [octave, octave * 1.5]) {
      buckets.push(rows);
      if (rows >= maxRows) return buckets;
    }
  }
}

/** Place of the smallest bucket that holds `rows`; the last where none does. */
export function bucketOf(buckets: readonly number[], rows: number): number {
  const at = buckets.findIndex((height) => height >= rows);
  return at < 0 ? buckets.length - 1 : at;
}
