// Interaction files of the retrieval evaluation: LightGCN-style text in, compressed rows out, and the split of it
// that tuning may look at. Ids become dense; a bad line stops with its number.
import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Interactions } from '../../src/candidates/item-graph.ts';

/** Raw ids, user by user, without repeats. */
export type RawPairs = Map<number, Set<number>>;

/**
 * Reads `user item item …` lines; a user may have several lines or none, repeats count once.
 * Throws with file and line number on anything but non-negative integers below 2^32.
 */
export async function readPairs(path: string): Promise<RawPairs> {
  const pairs: RawPairs = new Map();
  let lineNumber = 0;
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
    lineNumber++;
    const fields = line.trim().split(/\s+/);
    if (fields[0] === '') continue;
    let items: Set<number> | undefined;
    for (let i = 0; i < fields.length; i++) {
      const id = Number(fields[i]);
      if (!/^\d{1,10}$/.test(fields[i]) || id > 0xffffffff) {
        throw new Error(
          `${path}, line ${lineNumber}: '${fields[i].slice(0, 40)}' is not a non-negative integer id`,
        );
      }
      if (items === undefined) {
        items = pairs.get(id) ?? new Set();
        pairs.set(id, items);
      } else items.add(id);
    }
  }
  return pairs;
}

export interface TrainingSet {
  all: Interactions;
  /** Raw id → dense, for users and items of the training file. */
  userOf: Map<number, number>;
  itemOf: Map<number, number>;
}

/** Dense ids in ascending order of raw ids; a user's items stay in the order of the file. */
export function toTrainingSet(raw: RawPairs): TrainingSet {
  const users = [...raw.keys()].filter((user) => raw.get(user)!.size > 0).sort((a, b) => a - b);
  const ids = new Set<number>();
  for (const items of raw.values()) for (const item of items) ids.add(item);
  const userOf = new Map(users.map((id, dense) => [id, dense]));
  const itemOf = new Map([...ids].sort((a, b) => a - b).map((id, dense) => [id, dense]));
  const rows = users.map((user) => Uint32Array.from(raw.get(user)!, (item) => itemOf.get(item)!));
  return { all: toInteractions(rows, itemOf.size), userOf, itemOf };
}

export function toInteractions(rows: ArrayLike<number>[], itemCount: number): Interactions {
  const start = new Uint32Array(rows.length + 1);
  for (let user = 0; user < rows.length; user++) start[user + 1] = start[user] + rows[user].length;
  const items = new Uint32Array(start[rows.length]);
  for (let user = 0; user < rows.length; user++) items.set(Uint32Array.from(rows[user]), start[user]);
  return { userCount: rows.length, itemCount, start, items };
}

/** The items of one user. */
export function historyOf(interactions: Interactions, user: number): Uint32Array {
  return interactions.items.subarray(interactions.start[user], interactions.start[user + 1]);
}

export interface Split {
  fit: Interactions;
  held: Interactions;
  /** Users with held-out items, in random order. */
  users: Uint32Array;
  /** Whether lines have an order of their own; `fit` keeps it then. */
  ordered: boolean;
}

/**
 * [count] what each item of a history counts, the last 1: (place / count)^recency, so that 0 makes all alike. Relative
 * to the length, because nothing is known of the times.
 */
export function recencyFactors(count: number, recency: number): Float64Array {
  return Float64Array.from({ length: count }, (_, place) => ((place + 1) / count) ** recency);
}

/**
 * Holds out `share` of every user's items, rounded at random so that the expectation is exact; every user keeps at
 * least one. The last of each line where lines have an order of their own (engagement time, as a rule): what is
 * drawn from between a user's other items is easier to find than anything of a test made apart, and rewards local
 * detail (high ranks, co-occurrence) that the test does not. Where lines are sorted by id the order says nothing,
 * and the share is random; `ordered` says it where the lines cannot.
 */
export function splitPairs(
  all: Interactions,
  share: number,
  seed: number,
  ordered = !sortedById(all),
): Split {
  const random = mulberry32(seed);
  const fit: Uint32Array[] = [];
  const held: Uint32Array[] = [];
  const users: number[] = [];
  for (let user = 0; user < all.userCount; user++) {
    const items = historyOf(all, user).slice();
    if (ordered) items.reverse();
    else shuffle(items, random);
    const out = Math.min(items.length - 1, Math.floor(items.length * share + random()));
    held.push(items.slice(0, out).sort());
    fit.push(ordered ? items.slice(out).reverse() : items.slice(out).sort());
    if (out > 0) users.push(user);
  }
  return {
    fit: toInteractions(fit, all.itemCount),
    held: toInteractions(held, all.itemCount),
    users: shuffle(Uint32Array.from(users), random),
    ordered,
  };
}

/** Whether nine of ten lines long enough to tell ascend by id. */
function sortedById(all: Interactions): boolean {
  let ascending = 0;
  let told = 0;
  for (let user = 0; user < all.userCount; user++) {
    const items = historyOf(all, user);
    if (items.length < 5) continue;
    told++;
    if (items.every((item, i) => i === 0 || item > items[i - 1])) ascending++;
  }
  return ascending >= 0.9 * told;
}

/** `NAME.shape`, `NAME.start`, `NAME.items` for scripts/train/retrieval.py: little-endian uint32. */
export async function writeInteractions(
  folder: string,
  name: string,
  interactions: Interactions,
): Promise<void> {
  const { userCount, itemCount, start, items } = interactions;
  await writeFile(join(folder, `${name}.shape`), Uint32Array.of(userCount, itemCount));
  await writeFile(join(folder, `${name}.start`), start);
  await writeFile(join(folder, `${name}.items`), items);
}

/** Uniform in [0, 1), 32 bits of state (Tommy Ettinger, 2017). */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
}

/** Fisher–Yates, in place. */
function shuffle(values: Uint32Array, random: () => number): Uint32Array {
  for (let i = values.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    const swap = values[i];
    values[i] = values[j];
    values[j] = swap;
  }
  return values;
}
