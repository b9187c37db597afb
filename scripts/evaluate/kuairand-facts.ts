// What is known of the reader at each impression besides counters: profile, and the time since the last impression.
// Called by kuairand-impressions.ts.
import { Codes, type ImpressionSet } from './replay-as-of.ts';

/** User columns with at most this many values are taken as categories, others with numbers as quantities. */
const MOST_CATEGORIES = 400;

/** ln(1 + seconds) since the reader's impression before; 12 (two days) for the first. */
export function sinceLast(user: Int32Array, at: Float64Array, users: number): Float32Array {
  const last = new Float64Array(users).fill(Number.NaN);
  return Float32Array.from(user, (code, i) => {
    const ms = at[i] - last[code];
    last[code] = at[i];
    return Number.isNaN(ms) ? 12 : Math.log1p(ms / 1000);
  });
}

/** Columns of the user file by impression: few values as categories, quantities as numbers too. */
export function profileColumns(profiles: Map<string, Map<string, string>>, users: Float64Array) {
  const ids: ImpressionSet['ids'] = [];
  const numbers: { name: string; values: Float32Array }[] = [];
  for (const [column, values] of profiles) {
    const name = `profile_${column}`;
    const texts = [...users].map((id) => values.get(String(id)) ?? '');
    const distinct = new Set(texts);
    if (distinct.size < 2) continue;
    if (distinct.size <= MOST_CATEGORIES) {
      const table = new Codes();
      const codes = Int32Array.from(texts, (text) => table.of(text));
      ids.push({ name, codes, size: table.size });
    }
    if (distinct.size > 20 && texts.every((text) => text === '' || Number.isFinite(Number(text)))) {
      numbers.push({
        name,
        values: Float32Array.from(texts, (text) => Math.log1p(Math.max(0, Number(text)))),
      });
    }
  }
  return { ids, numbers };
}
