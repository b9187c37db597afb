// Worker of post-table.test.ts: reads each row as soon as it is published and reports rows that are not complete.
import { parentPort, workerData } from 'node:worker_threads';
import { newPostOf, PostTable } from '../../../../src/candidates/index/post-table.ts';
import type { TableHandle } from '../../../../src/candidates/index/table-handle.ts';
import { hash64 } from '../../../../src/hashing.ts';
import { FIELD, RECORD_WORDS } from '../../../../src/post-record.ts';
import { postOf } from './seeded-posts.ts';

const table = PostTable.open(workerData as TableHandle);
let writeRefused = '';
try {
  table.append(newPostOf(postOf(0)), new Float32Array(64).fill(1));
} catch (error) {
  writeRefused = (error as { code: string }).code;
}
parentPort?.postMessage({ ready: true, writeRefused });

const problems: string[] = [];
let checked = 0;
let looks = 0;
const until = Date.now() + 20_000;
while (checked < 20_000 && Date.now() < until) {
  const { rows } = table;
  if (rows > checked) looks++;
  for (; checked < rows; checked++) {
    const id = `post-${checked}`;
    const { lo, hi } = hash64(id);
    const at = checked * RECORD_WORDS;
    if (table.keyOf(checked) !== id) problems.push(`${id}: key`);
    if (table.records.u32[at + FIELD.keyLo] !== lo) problems.push(`${id}: hash`);
    if (table.records.u32[at + FIELD.topic] === 0) problems.push(`${id}: topic`);
    const norm = Math.hypot(...table.vectors.subarray(checked * 64, checked * 64 + 64));
    if (Math.abs(norm - 1) > 1e-3) problems.push(`${id}: vector`);
    // The newest row may be published and not findable for an instant, never findable and not published.
    const row = table.rowOf(lo, hi);
    if (row !== checked && !(row === -1 && checked === rows - 1)) problems.push(`${id}: row ${row}`);
  }
}
parentPort?.postMessage({ checked, problems: problems.slice(0, 5), watchedGrowth: looks > 1 });
