// How a graph is cut into shards: contiguous row ranges of about equal size, one file each. Used by build and load,
// so that both name the same files and ranges.

/** More parts than this cost a query more than they save a build. */
export const MAX_SHARDS = 16;

/** First row of shard `i` of `shards` over `rows` rows; `i = shards` gives the end. Never falls as rows are added. */
export function shardStart(i: number, shards: number, rows: number): number {
  return Math.floor((i * rows) / shards);
}

/** `hnsw.bin` for a whole graph, else `hnsw-0.bin`, … */
export function shardFileNames(shards: number): string[] {
  return shards === 1 ? ['hnsw.bin'] : Array.from({ length: shards }, (_, i) => `hnsw-${i}.bin`);
}
