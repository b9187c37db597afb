// What is known of the reader at each impression besides counters: profile, and the time since the last impression; and
// how the period is split.
// Called by kuairand-impressions.ts.
import { Codes, type ImpressionSet } from './replay-as-of.ts';

export const DAY_MS = 24 * 3_600_000;
/** Days in China, as the data set counts them. */
export const ZONE_MS = 8 * 3_600_000;
/** User columns with at most this many values are taken as categories, others with numbers as quantities. */
const MOST_CATEGORIES = 400;

/** Keys whose impressions and outcomes are counted for good, besides video and user. */
export const SHOWN_KEYS = [
  'author',
  'tag',
  'music',
  'tab',
  'length',
  'user_author',
  'user_tag',
  'user_tab',
  'user_length',
  'video_tab',
  'tag_tab',
  'length_tab',
  'tab_hour',
] as const;
/** Keys of the earlier watches. */
export const WATCHED_KEYS = [
  'video',
  'author',
  'tag',
  'user',
  'user_author',
  'user_tag',
  'user_video',
] as const;

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

/** The last day (in China) is the test, the one before chooses; of less than three days, the last two fifths are. */
export function splitDays(at: Float64Array): { validationFromMs: number; testFromMs: number } {
  const first = at[0];
  const last = at[at.length - 1];
  const testFromMs = Math.floor((last + ZONE_MS) / DAY_MS) * DAY_MS - ZONE_MS;
  if (testFromMs - 1.5 * DAY_MS > first) return { validationFromMs: testFromMs - DAY_MS, testFromMs };
  return { validationFromMs: last - 0.4 * (last - first), testFromMs: last - 0.2 * (last - first) };
}
