// Columns of ids, packed: a number behind a prefix takes the bits that the largest number of its column needs, a UUID 16
// bytes, anything else stands in a table of texts. Called by history-codec.ts.
import { Buffer } from 'node:buffer';
import { type BitReader, type BitWriter, widthOf } from './packed-bits.ts';

/** Bits of a place in the table of texts. */
const PLACE_BITS = 8;

/** How an id is stored where it is not the usual one: whole text, prefix and number, UUID. */
const ID_KIND_BITS = 2;
const ID_TEXT = 0;
const ID_NUMBERED = 1;
const ID_UUID = 2;
const UUID_BYTES = 16;
const UUID_CHARACTERS = 36;

/** Digits of a number behind a prefix: all such numbers are safe integers. */
const DIGITS = 15;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** Different values, each with its place in the order of their coming. */
export class Table<T> {
  readonly values: T[] = [];
  readonly #places = new Map<T, number>();

  place(value: T): number {
    const known = this.#places.get(value);
    if (known !== undefined) return known;
    this.#places.set(value, this.values.length);
    return this.values.push(value) - 1;
  }
}

/** At most 255 different prefixes and texts in both columns together. */
export function writeIds(out: BitWriter, posts: readonly string[], authors: readonly string[]): void {
  const texts = new Table<string>();
  COLUMNS[0].read(posts, texts);
  COLUMNS[1].read(authors, texts);
  out.put(texts.values.length, PLACE_BITS);
  for (const text of texts.values) out.text(text);
  for (const column of COLUMNS) column.write(out);
}

/** Two columns of `count` ids. */
export function readIds(input: BitReader, count: number): [string[], string[]] {
  const texts: string[] = [];
  for (let left = input.get(PLACE_BITS); left > 0 && input.ok; left--) texts.push(input.text());
  return [readColumn(input, count, texts), readColumn(input, count, texts)];
}

/** A column on its way to its bytes: its arrays serve the next one, as bulk writes pack tens of millions of ids. */
class IdColumn {
  #count = 0;
  #kinds = new Uint8Array(64);
  /** Places in the table of texts: the prefix, or the whole id. */
  #texts = new Uint8Array(64);
  #numbers = new Float64Array(64);
  #uuids: (string | null)[] = [];
  #largest = 0;

  read(ids: readonly string[], texts: Table<string>): void {
    if (ids.length > this.#kinds.length) {
      this.#kinds = new Uint8Array(ids.length);
      this.#texts = new Uint8Array(ids.length);
      this.#numbers = new Float64Array(ids.length);
    }
    this.#count = ids.length;
    this.#largest = 0;
    let prefix = '';
    let place = -1;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i];
      this.#numbers[i] = 0;
      this.#texts[i] = 0;
      this.#uuids[i] = null;
      if (id.length === UUID_CHARACTERS && UUID.test(id)) {
        this.#kinds[i] = ID_UUID;
        this.#uuids[i] = id;
        continue;
      }
      const at = this.#readNumber(id, i);
      if (at === id.length) {
        this.#kinds[i] = ID_TEXT;
        this.#texts[i] = texts.place(id);
        continue;
      }
      // Mostly the prefix of the one before.
      if (place < 0 || at !== prefix.length || !id.startsWith(prefix)) {
        prefix = id.slice(0, at);
        place = texts.place(prefix);
      }
      this.#kinds[i] = ID_NUMBERED;
      this.#texts[i] = place;
      if (this.#numbers[i] > this.#largest) this.#largest = this.#numbers[i];
    }
  }

  /** Keeps the number without leading zeros that ends the id, and gives its place; the id's length where there is none. */
  #readNumber(id: string, i: number): number {
    let at = id.length;
    let number = 0;
    let power = 1;
    for (let c = id.length - 1; c >= Math.max(0, id.length - DIGITS); c--) {
      const digit = id.charCodeAt(c) - 48;
      if (digit < 0 || digit > 9) break;
      number += digit * power;
      power *= 10;
      if (digit > 0 || c === id.length - 1) at = c;
    }
    this.#numbers[i] = number;
    return at;
  }

  /** Width of the numbers, kind and text of the usual id (the first one's), whether all are so, then each. */
  write(out: BitWriter): void {
    const width = widthOf(this.#largest);
    let all = true;
    for (let i = 0; i < this.#count && all; i++) all = this.#isUsual(i);
    out.width(width);
    out.put(all ? 1 : 0, 1);
    if (this.#count > 0) this.#writeKind(out, 0);
    for (let i = 0; i < this.#count; i++) {
      const usual = all || this.#isUsual(i);
      if (!all) out.put(usual ? 1 : 0, 1);
      if (!usual) this.#writeKind(out, i);
      const uuid = this.#uuids[i];
      if (uuid !== null) out.bytes(Buffer.from(uuid.replaceAll('-', ''), 'hex'));
      else if (this.#kinds[i] === ID_NUMBERED) out.put(this.#numbers[i], width);
    }
  }

  #isUsual(i: number): boolean {
    return (
      this.#kinds[i] !== ID_TEXT && this.#kinds[i] === this.#kinds[0] && this.#texts[i] === this.#texts[0]
    );
  }

  #writeKind(out: BitWriter, i: number): void {
    out.put(this.#kinds[i], ID_KIND_BITS);
    if (this.#kinds[i] !== ID_UUID) out.put(this.#texts[i], PLACE_BITS);
  }
}

const COLUMNS = [new IdColumn(), new IdColumn()];

function readColumn(input: BitReader, count: number, texts: readonly string[]): string[] {
  const width = input.width();
  const all = input.get(1) === 1;
  const readKind = () => {
    const kind = input.get(ID_KIND_BITS);
    const text = kind === ID_UUID ? '' : texts[input.get(PLACE_BITS)];
    if (text === undefined || kind > ID_UUID) input.ok = false;
    return { kind, text };
  };
  const usual = count > 0 ? readKind() : null;
  const ids: string[] = [];
  for (let i = 0; i < count && input.ok; i++) {
    const id = usual && (all || input.get(1) === 1) ? usual : readKind();
    if (id.kind === ID_NUMBERED) ids.push(id.text + input.get(width));
    else ids.push(id.kind === ID_TEXT ? id.text : uuidOf(input.bytes(UUID_BYTES)));
  }
  return ids;
}

function uuidOf(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
