// The retrieved lists as rows for the ranker, for the two-stage figures. Called by kuairand.ts.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KuairandData } from './kuairand-impressions.ts';
import type { RetrievedLists } from './kuairand-retrieval.ts';
import { type AsOfColumns, rowMajor } from './replay-as-of.ts';

/**
 * `service` are the service's own features of the same rows, which come after the others.
 * Writes numbers.f32 [L × S, D], ids.i32 [L × S, K], retrieval.f32 [L × S], clicked.u8 [L × S] (the clicked video; all 0
 * where it was not retrieved), times.f64 [L] and lists.json, last. L lists of S rows, in the order of time.
 */
export async function writeLists(
  dir: string,
  data: KuairandData,
  lists: RetrievedLists,
  service: AsOfColumns,
  progress: (fraction: number) => void,
): Promise<void> {
  const { size } = lists;
  const rows = lists.source.length * size;
  const source = new Int32Array(rows);
  const video = new Int32Array(rows);
  const retrieval = new Float32Array(rows);
  const clicked = new Uint8Array(rows);
  lists.source.forEach((row, l) => {
    source.fill(row, l * size, (l + 1) * size);
    // A place for which no video was proposed is filled with the first, at a score that puts it last.
    video.set(
      lists.video[l].map((v) => (v < 0 ? lists.video[l][0] : v)),
      l * size,
    );
    retrieval.set(lists.score[l], l * size);
    const at = lists.video[l].indexOf(data.video[row]);
    if (at >= 0) clicked[l * size + at] = 1;
  });
  const durationMs = Float64Array.from(video, (code) => data.details.get(data.videos[code])?.durationMs ?? 0);
  const { numbers, ids } = data.describe({ source, video, durationMs }, progress);
  numbers.columns.push(...service.columns);
  await writeFile(
    join(dir, 'numbers.f32'),
    rowMajor(numbers.columns, new Float32Array(rows * numbers.columns.length)),
  );
  const codes = ids.map((column) => column.codes);
  await writeFile(join(dir, 'ids.i32'), rowMajor(codes, new Int32Array(rows * codes.length)));
  await writeFile(join(dir, 'retrieval.f32'), retrieval);
  await writeFile(join(dir, 'clicked.u8'), clicked);
  await writeFile(
    join(dir, 'times.f64'),
    Float64Array.from(lists.source, (row) => data.set.at[row]),
  );
  await writeFile(join(dir, 'lists.json'), JSON.stringify({ lists: lists.source.length, size }));
}
