// How each row of a list stands beside the others of it. Called by ebnerd-impressions.
import type { AsOfColumns } from './replay-as-of.ts';

/** Each column less its largest value in the list, and the share of the list that lies below. Rows of a list are side by side. */
export function withinLists(names: string[], columns: Float32Array[], group: Int32Array): AsOfColumns {
  const out: AsOfColumns = { names: [], columns: [] };
  columns.forEach((column, c) => {
    const below = new Float32Array(column.length);
    const place = new Float32Array(column.length);
    for (let start = 0; start < column.length; ) {
      let end = start + 1;
      while (end < column.length && group[end] === group[start]) end++;
      let largest = column[start];
      for (let i = start; i < end; i++) largest = Math.max(largest, column[i]);
      for (let i = start; i < end; i++) {
        below[i] = column[i] - largest;
        let lower = 0;
        for (let j = start; j < end; j++)
          lower += column[j] < column[i] ? 1 : column[j] === column[i] ? 0.5 : 0;
        place[i] = lower / (end - start);
      }
      start = end;
    }
    out.names.push(`${names[c]}_below`, `${names[c]}_place`);
    out.columns.push(below, place);
  });
  return out;
}
