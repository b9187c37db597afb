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

/** Numbers of a kind or width among those that are being written. */
const TYPE_COUNTS = new Uint8Array(2 ** TYPE_BITS);
const WIDTH_COUNTS = new Uint8Array(64);

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
  TYPE_COUNTS.fill(0);
  const different: number[] = [];
  for (const type of types) if (TYPE_COUNTS[type]++ === 0) different.push(type);
  different.sort((a, b) => TYPE_COUNTS[b] - TYPE_COUNTS[a] || a - b);
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
  let whole = true;
  let falling = true;
  for (let i = 0; i < times.length; i++) {
    const at = times[i];
    whole &&= Number.isInteger(at) && at >= 0 && at < LARGEST_TIME && !Object.is(at, -0);
    falling &&= i === 0 || at <= times[i - 1];
  }
  out.put(whole ? 1 : 0, 1);
  if (!whole) {
    for (const at of times) out.double(at);
    return;
  }
  WIDTH_COUNTS.fill(0);
  let long = 0;
  for (let i = 1; i < times.length; i++) {
    const width = widthOf(stepCode(times, i, falling));
    WIDTH_COUNTS[width]++;
    if (width > long) long = width;
  }
  const short = cheapest(times.length - 1, long);
  out.put(falling ? 1 : 0, 1);
  out.width(short);
  out.width(long);
  if (times.length > 0) out.put(times[0], 51);
  for (let i = 1; i < times.length; i++) {
    const code = stepCode(times, i, falling);
    const isShort = widthOf(code) <= short;
    out.put(isShort ? 0 : 1, 1);
    out.put(code, isShort ? short : long);
  }
}

/** Where not all steps go back, a step's sign is its lowest bit. */
function stepCode(times: readonly number[], i: number, falling: boolean): number {
  const step = times[i - 1] - times[i];
  if (falling) return step;
  return step >= 0 ? step * 2 : -step * 2 - 1;
}

/** The shorter width with which the numbers counted in WIDTH_COUNTS take the fewest bits. */
function cheapest(numbers: number, long: number): number {
  let best = long;
  let fewest = numbers * long;
  let fit = 0;
  for (let short = 0; short < long; short++) {
    if (WIDTH_COUNTS[short] === 0) continue;
    fit += WIDTH_COUNTS[short];
    const bits = fit * short + (numbers - fit) * long;
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
