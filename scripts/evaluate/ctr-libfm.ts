// libFM files of the click-through evaluation: text in, checked, flat arrays out for scripts/train/ctr.py. A bad line
// stops with its number.
import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface LibfmRows {
  /** [N], 1 = positive. */
  labels: Uint8Array;
  /** [N + 1]: the features of row i are offsets[i] to offsets[i + 1]. */
  offsets: Uint32Array;
  /** Feature ids as given, exact below 2^53. */
  ids: Float64Array;
  /** Null when every value is 1. */
  values: Float32Array | null;
  /** Least and most features in a row. */
  width: { min: number; max: number };
}

const ID_DIGITS = 15;
const ID = /^\d+$/;
const VALUE = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
const LABEL = /^([+-]?)([01])(\.0*)?$/;
const LARGEST_FLOAT32 = 3.4028234663852886e38;
/** Row offsets are 32 bits. */
const MOST_FEATURES = 0xffffffff;

/**
 * Reads `label id:value id:value …` lines; labels are 1 and -1, or 1 and 0. Blank lines are skipped, a row without
 * features is kept. Throws with file and line number on anything else, and on a file with one class or no rows.
 */
export async function readLibfm(path: string): Promise<LibfmRows> {
  const labels = new Growing(Uint8Array);
  const offsets = new Growing(Uint32Array);
  const ids = new Growing(Float64Array);
  const values = new Growing(Float32Array);
  const width = { min: Number.POSITIVE_INFINITY, max: 0 };
  const negatives = new Set<string>();
  let allOnes = true;
  let lineNumber = 0;
  offsets.push(0);
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
    lineNumber++;
    const refuse = (token: string, reason: string) => {
      const shown = token.length > 40 ? `${token.slice(0, 40)}…` : token;
      throw new Error(`${path}, line ${lineNumber}: '${shown}' ${reason}`);
    };
    const tokens = line.trim().split(/\s+/);
    if (tokens[0] === '') continue;
    const label = LABEL.exec(tokens[0]);
    if (label === null) return refuse(tokens[0], 'is not a label: must be 1 or -1, or 1 or 0');
    const positive = label[2] === '1' && label[1] !== '-';
    if (!positive) negatives.add(label[2] === '1' ? '-1' : '0');
    if (negatives.size > 1) return refuse(tokens[0], 'mixes the two ways to write a negative: 0 and -1');
    for (let i = 1; i < tokens.length; i++) {
      const token = tokens[i];
      const colon = token.indexOf(':');
      if (colon < 0) return refuse(token, 'is not id:value');
      const id = token.slice(0, colon);
      const text = token.slice(colon + 1);
      if (!ID.test(id)) return refuse(token, 'has an id that is not a non-negative integer');
      if (id.length > ID_DIGITS) return refuse(token, `has an id of more than ${ID_DIGITS} digits`);
      let value = 1;
      if (text !== '1') {
        value = VALUE.test(text) ? Number(text) : Number.NaN;
        if (!(Math.abs(value) <= LARGEST_FLOAT32))
          return refuse(token, 'has a value that is not a finite number');
        allOnes &&= value === 1;
      }
      ids.push(Number(id));
      values.push(value);
    }
    if (ids.length > MOST_FEATURES)
      return refuse(tokens[0], `is beyond ${MOST_FEATURES} features in one file`);
    labels.push(positive ? 1 : 0);
    offsets.push(ids.length);
    width.min = Math.min(width.min, tokens.length - 1);
    width.max = Math.max(width.max, tokens.length - 1);
  }
  if (labels.length === 0) throw new Error(`${path}: holds no rows`);
  const rows = { labels: labels.view(), offsets: offsets.view(), ids: ids.view(), width };
  const first = rows.labels[0];
  if (rows.labels.every((label) => label === first)) {
    throw new Error(
      `${path}: every label is ${first === 1 ? 'positive' : 'negative'}, both classes are needed`,
    );
  }
  if (width.max === 0) throw new Error(`${path}: no row has a feature`);
  return { ...rows, values: allOnes ? null : values.view() };
}

/** `NAME.labels` (uint8), `NAME.offsets` (uint32), `NAME.ids` (float64), `NAME.values` (float32, only when not all 1). */
export async function writeLibfmArrays(folder: string, name: string, rows: LibfmRows): Promise<void> {
  await writeFile(join(folder, `${name}.labels`), rows.labels);
  await writeFile(join(folder, `${name}.offsets`), rows.offsets);
  await writeFile(join(folder, `${name}.ids`), rows.ids);
  if (rows.values !== null) await writeFile(join(folder, `${name}.values`), rows.values);
}

type Numbers = Uint8Array | Uint32Array | Float32Array | Float64Array;

/** A typed array that doubles when full. */
class Growing<T extends Numbers> {
  length = 0;
  private data: T;
  private readonly make: new (
    length: number,
  ) => T;

  constructor(make: new (length: number) => T) {
    this.make = make;
    this.data = new make(1024);
  }

  push(value: number): void {
    if (this.length === this.data.length) {
      const larger = new this.make(this.length * 2);
      larger.set(this.data);
      this.data = larger;
    }
    this.data[this.length++] = value;
  }

  view(): T {
    return this.data.subarray(0, this.length) as T;
  }
}
