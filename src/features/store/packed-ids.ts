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
interface PackedId {
  kind: number;
  /** Place in the table of texts: the prefix, or the whole id. */
  text: number;
  number: number;
  uuid: Buffer | null;
}

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

/** At most 255 different prefixes and texts in all columns together. */
export function writeIds(out: BitWriter, ...columns: (readonly string[])[]): void {
  const texts = new Table<string>();
  const packed = columns.map((ids) => ids.map((id) => packId(id, texts)));
  out.put(texts.values.length, PLACE_BITS);
  for (const text of texts.values) out.text(text);
  for (const ids of packed) writeColumn(out, ids);
}

/** Two columns of `count` ids. */
export function readIds(input: BitReader, count: number): [string[], string[]] {
  const texts: string[] = [];
  for (let left = input.get(PLACE_BITS); left > 0 && input.ok; left--) texts.push(input.text());
  return [readColumn(input, count, texts), readColumn(input, count, texts)];
}

function packId(id: string, texts: Table<string>): PackedId {
  if (id.length === UUID_CHARACTERS && UUID.test(id)) {
    return { kind: ID_UUID, text: 0, number: 0, uuid: Buffer.from(id.replaceAll('-', ''), 'hex') };
  }
  const at = numberAt(id);
  if (at < id.length) {
    const number = Number(id.slice(at));
    return { kind: ID_NUMBERED, text: texts.place(id.slice(0, at)), number, uuid: null };
  }
  return { kind: ID_TEXT, text: texts.place(id), number: 0, uuid: null };
}

/** Where a number without leading zeros begins that ends the id; its length where there is none. */
function numberAt(id: string): number {
  let at = id.length;
  for (let i = id.length - 1; i >= Math.max(0, id.length - DIGITS); i--) {
    const digit = id.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) break;
    if (digit > 0 || i === id.length - 1) at = i;
  }
  return at;
}

/** Width of the numbers, kind and text of the usual id (the first one's), whether all are so, then each. */
function writeColumn(out: BitWriter, ids: readonly PackedId[]): void {
  const width = ids.reduce((widest, { number }) => Math.max(widest, widthOf(number)), 0);
  const [usual] = ids;
  const isUsual = ({ kind, text }: PackedId) =>
    kind !== ID_TEXT && kind === usual.kind && text === usual.text;
  const all = ids.every(isUsual);
  out.width(width);
  out.put(all ? 1 : 0, 1);
  if (usual) writeKind(out, usual);
  for (const id of ids) {
    if (!all) out.put(isUsual(id) ? 1 : 0, 1);
    if (!isUsual(id)) writeKind(out, id);
    if (id.uuid) out.bytes(id.uuid);
    else if (id.kind === ID_NUMBERED) out.put(id.number, width);
  }
}

function writeKind(out: BitWriter, { kind, text }: PackedId): void {
  out.put(kind, ID_KIND_BITS);
  if (kind !== ID_UUID) out.put(text, PLACE_BITS);
}

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
