// Worker of exact-index.test.ts: answers every query ten times and reports a checksum of the rows of each.
import { parentPort, workerData } from 'node:worker_threads';
import { ExactIndex } from '../../../../src/candidates/index/exact-index.ts';
import { PostTable } from '../../../../src/candidates/index/post-table.ts';
import { newHits } from '../../../../src/candidates/index/search-table.ts';
import type { TableHandle } from '../../../../src/candidates/index/table-handle.ts';

const { handle, queries } = workerData as { handle: TableHandle; queries: Float32Array[] };
const index = await ExactIndex.open(PostTable.open(handle));
const hits = newHits(500);
let sums: number[] = [];
for (let round = 0; round < 10; round++) {
  sums = queries.map((query) => {
    index.search(query, 500, hits);
    return hits.rows.reduce((sum, row, i) => (sum + row * (i + 1)) % 1e9, 0);
  });
}
parentPort?.postMessage(sums);
