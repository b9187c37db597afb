// Packed form of a user's history, column by column and bit by bit: some 9 bytes an entry where ids are numbered
// (`p1234`), 38 where they are UUIDs. Texts stand once in a table, topics as their hashes. Called by state-fields.ts.
import type { Buffer } from 'node:buffer';
import type { HistoryEntry } from '../../contracts.ts';
import { EVENT_TYPES, HISTORY_LIMIT } from '../../vocabulary.ts';
import { BitReader, BitWriter, widthOf } from './packed-bits.ts';
import { readIds, Table, writeIds } from './packed-ids.ts';
import { FORMAT } from './state-codec.ts';

/** Engagements, and as many un-likes, which keep a like that comes late from coming back. */
const STORED_HISTORY_LIMIT = HISTORY_LIMIT * 2;

/** Bits of an event type's code, of the number of entries or of the topics among them, of a topic's hash. */
const TYPE_BITS = 4;
const COUNT_BITS = 7;
const TOPIC_BITS = 32;

/** Doubled by its sign, a difference of two times still is a safe integer. */
const LARGEST_TIME = 2 ** 51;
/** Longest dwell, 136 years. */
const LARGEST_SECONDS = 2 ** 32 - 1;

/**
 * Dwell times as they are kept: whole seconds, 0 for less than one. Nothing that reads a history looks at more than
 * whether a dwell was long.
 */
export function keptDwellMs(dwellMs: number): number {
  return Math.min(LARGEST_SECONDS, Math.max(0, Math.floor(dwellMs / 1000))) * 1000;
}

/** At most STORED_HISTORY_LIMIT entries; dwell times as `keptDwellMs` has them. */
export function encodeHistory(history: readonly HistoryEntry[]): Buffer {
  const out = new BitWriter();
  out.put(FORMAT, 8);
  out.put(history.length, COUNT_BITS);
  writeIds(
    out,
    history.map(({ postId }) => postId),
    history.map(({ authorId }) => authorId),
  );
  writeTopics(
    out,
    history.map(({ topic }) => topic),
  );
  writeTypes(
    out,
    history.map(({ type }) => EVENT_TYPES.indexOf(type)),
  );
  writeTimes(
    out,
    history.map(({ at }) => at),
  );
  writeDwells(out, history);
  return out.take();
}

/** null for whatever does not decode exactly. */
export function decodeHistory(bytes: Uint8Array | null): HistoryEntry[] | null {
  if (!bytes || bytes[0] !== FORMAT) return null;
  const input = new BitReader(bytes);
  input.get(8);
  const count = input.get(COUNT_BITS);
  if (count > STORED_HISTORY_LIMIT) return null;
  const [postIds, authorIds] = readIds(input, count);
  const topics = readTopics(input, count);
  const types = readTypes(input, count);
  const times = readTimes(input, count);
  const dwells = readDwells(input, types);
  if (!input.isDone || !times.every(Number.isFinite)) return null;
  const history: HistoryEntry[] = [];
  for (let i = 0; i < count; i++) {
    const type = EVENT_TYPES[types[i]];
    if (!type) return null;
    const [postId, authorId, topic] = [postIds[i], authorIds[i], topics[i]];
    history.push({ postId, authorId, topic, type, at: times[i], dwellMs: dwells[i] * 1000 });
  }
  return history;
}

/** The different ones, then each by its place among them. */
function writeTopics(out: BitWriter, topics: readonly number[]): void {
  const table = new Table<number>();
  const places = topics.map((topic) => table.place(topic));
  out.put(table.values.length, COUNT_BITS);
  for (const topic of table.values) out.put(topic, TOPIC_BITS);
  const width = widthOf(Math.max(0, table.values.length - 1));
  for (const place of places) out.put(place, width);
}

function readTopics(input: BitReader, count: number): number[] {
  const different = input.get(COUNT_BITS);
  const table: number[] = [];
  for (let i = 0; i < different; i++) table.push(input.get(TOPIC_BITS));
  const width = widthOf(Math.max(0, different - 1));
  const topics: number[] = [];
  for (let i = 0; i < count; i++) {
    const place = input.get(width);
    if (place >= different) input.ok = false;
    topics.push(table[place]);
  }
  return topics;
}

/** The different ones, the commonest first, which then takes one bit. */
function writeTypes(out: BitWriter, types: readonly number[]): void {
  const counts = new Map<number, number>();
  for (const type of types) counts.set(type, (counts.get(type) ?? 0) + 1);
  const different = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([type]) => type);
  const width = widthOf(Math.max(0, different.length - 2));
  out.put(different.length, TYPE_BITS);
  for (const type of different) out.put(type, TYPE_BITS);
  if (different.length < 2) return;
  for (const type of types) {
    const place = different.indexOf(type);
    out.put(place === 0 ? 0 : 1, 1);
    if (place > 0) out.put(place - 1, width);
  }
}

function readTypes(input: BitReader, count: number): number[] {
  const different: number[] = [];
  for (let left = input.get(TYPE_BITS); left > 0; left--) different.push(input.get(TYPE_BITS));
  const width = widthOf(Math.max(0, different.length - 2));
  const types: number[] = [];
  for (let i = 0; i < count; i++) {
    const place = different.length > 1 && input.get(1) === 1 ? 1 + input.get(width) : 0;
    types.push(different[place] ?? -1);
  }
  return types;
}

/**
 * Whole milliseconds as the first time and the steps back from each to the next: of two widths, the shorter one chosen
 * so that all together take the least, as most steps lie within a session. Other times as float64.
 */
function writeTimes(out: BitWriter, times: readonly number[]): void {
  const whole = times.every(
    (at) => Number.isInteger(at) && at >= 0 && at < LARGEST_TIME && !Object.is(at, -0),
  );
  out.put(whole ? 1 : 0, 1);
  if (!whole) {
    for (const at of times) out.double(at);
    return;
  }
  const steps = times.slice(1).map((at, i) => times[i] - at);
  const falling = steps.every((step) => step >= 0);
  const codes = falling ? steps : steps.map((step) => (step >= 0 ? step * 2 : -step * 2 - 1));
  const widths = codes.map(widthOf);
  const long = Math.max(0, ...widths);
  const short = cheapest(widths, long);
  out.put(falling ? 1 : 0, 1);
  out.width(short);
  out.width(long);
  if (times.length > 0) out.put(times[0], 51);
  codes.forEach((code, i) => {
    out.put(widths[i] <= short ? 0 : 1, 1);
    out.put(code, widths[i] <= short ? short : long);
  });
}

/** The shorter width with which numbers of these widths take the fewest bits. */
function cheapest(widths: readonly number[], long: number): number {
  let best = long;
  let fewest = widths.length * long;
  for (const short of new Set(widths)) {
    const bits = widths.reduce((sum, width) => sum + (width <= short ? short : long), 0);
    if (bits < fewest) [best, fewest] = [short, bits];
  }
  return best;
}

function readTimes(input: BitReader, count: number): number[] {
  if (input.get(1) === 0) return Array.from({ length: count }, () => input.double());
  const falling = input.get(1) === 1;
  const [short, long] = [input.width(), input.width()];
  const times: number[] = [];
  for (let i = 0; i < count && input.ok; i++) {
    if (i === 0) {
      times.push(input.get(51));
      continue;
    }
    const code = input.get(input.get(1) === 0 ? short : long);
    const step = falling ? code : code % 2 === 0 ? code / 2 : -(code + 1) / 2;
    times.push(times[i - 1] - step);
  }
  return times;
}

/** Seconds; where not exactly the dwell events have any, a bit each says so. */
function writeDwells(out: BitWriter, history: readonly HistoryEntry[]): void {
  const seconds = history.map(({ dwellMs }) => keptDwellMs(dwellMs) / 1000);
  const width = seconds.reduce((widest, value) => Math.max(widest, widthOf(value)), 0);
  out.width(width);
  if (width === 0) return;
  const usual = history.every(({ type }, i) => (type === 'dwell') === seconds[i] > 0);
  out.put(usual ? 1 : 0, 1);
  for (const value of seconds) {
    if (!usual) out.put(value > 0 ? 1 : 0, 1);
    if (value > 0) out.put(value, width);
  }
}

function readDwells(input: BitReader, types: readonly number[]): number[] {
  const width = input.width();
  if (width === 0) return types.map(() => 0);
  const usual = input.get(1) === 1;
  const dwell = EVENT_TYPES.indexOf('dwell');
  return types.map((type) => ((usual ? type === dwell : input.get(1) === 1) ? input.get(width) : 0));
}
