// Packed form of a user's history, about 11 bytes an entry where ids are numbered (`p1234`), 40 where they are UUIDs.
// Every text stands once in a table; an id that is a prefix and a number is stored as such. Called by state-fields.ts.
import type { HistoryEntry } from '../../contracts.ts';
import { EVENT_TYPES, HISTORY_LIMIT } from '../../vocabulary.ts';
import { PackedReader, PackedWriter } from './packed-bytes.ts';
import { FORMAT } from './state-codec.ts';

/** Engagements, and as many un-likes, which keep a like that comes late from coming back. */
export const STORED_HISTORY_LIMIT = HISTORY_LIMIT * 2;

/** Low bits of an entry's head: its type. */
const TYPE_BITS = 0x0f;
const HAS_DWELL = 0x10;
/** Post and author are numbers behind the first and the second text of the table. */
const USUAL_POST = 0x20;
const USUAL_AUTHOR = 0x40;

/** How an id is stored where it is not the usual one. */
const ID_TEXT = 0;
const ID_NUMBERED = 1;
const ID_UUID = 2;

/** Times are whole milliseconds, stored as differences; anything else as float64. */
const WHOLE_TIMES = 1;

const NUMBERED = /^(.*?)(0|[1-9]\d{0,14})$/s;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const LARGEST_WHOLE_DWELL = 2 ** 50;
/** Doubled by its sign, a difference of two times still is a safe integer. */
const LARGEST_TIME = 2 ** 51;

interface PackedId {
  kind: number;
  /** Place in the table of texts: the prefix, or the whole id. */
  text: number;
  number: number;
  uuid: Buffer | null;
}

/** format, flags, count, texts, entries: head, post, author, topic, time, dwell. */
export function encodeHistory(history: readonly HistoryEntry[]): Buffer {
  const texts = new Map<string, number>();
  const place = (text: string) => {
    const known = texts.get(text);
    if (known !== undefined) return known;
    texts.set(text, texts.size);
    return texts.size - 1;
  };
  const ids = history.map((entry) => ({
    post: packId(entry.postId, place),
    author: packId(entry.authorId, place),
  }));
  const topics = history.map((entry) => place(entry.topic));
  const usualPost = ids.find(({ post }) => post.kind === ID_NUMBERED)?.post.text ?? -1;
  const usualAuthor = ids.find(({ author }) => author.kind === ID_NUMBERED)?.author.text ?? -1;
  const whole = history.every(
    ({ at }) => Number.isInteger(at) && at >= 0 && at < LARGEST_TIME && !Object.is(at, -0),
  );
  const out = new PackedWriter();
  out.byte(FORMAT);
  out.byte(whole ? WHOLE_TIMES : 0);
  out.byte(history.length);
  out.varint(texts.size);
  for (const text of texts.keys()) out.text(text);
  out.varint(usualPost + 1);
  out.varint(usualAuthor + 1);
  let before = 0;
  history.forEach((entry, i) => {
    const { post, author } = ids[i];
    const isUsualPost = post.kind === ID_NUMBERED && post.text === usualPost;
    const isUsualAuthor = author.kind === ID_NUMBERED && author.text === usualAuthor;
    const hasDwell = !Object.is(entry.dwellMs, 0);
    out.byte(
      EVENT_TYPES.indexOf(entry.type) |
        (hasDwell ? HAS_DWELL : 0) |
        (isUsualPost ? USUAL_POST : 0) |
        (isUsualAuthor ? USUAL_AUTHOR : 0),
    );
    if (isUsualPost) out.varint(post.number);
    else writeId(out, post);
    if (isUsualAuthor) out.varint(author.number);
    else writeId(out, author);
    out.varint(topics[i]);
    if (whole) {
      const step = before - entry.at;
      out.varint(step >= 0 ? step * 2 : -step * 2 - 1);
      before = entry.at;
    } else out.double(entry.at);
    if (hasDwell) writeDwell(out, entry.dwellMs);
  });
  return out.take();
}

/** null for whatever does not decode exactly. */
export function decodeHistory(bytes: Uint8Array | null): HistoryEntry[] | null {
  if (!bytes || bytes.length < 3 || bytes[0] !== FORMAT || bytes[2] > STORED_HISTORY_LIMIT) return null;
  const input = new PackedReader(bytes, 3);
  const whole = bytes[1] === WHOLE_TIMES;
  const texts: string[] = [];
  for (let left = input.varint(); left > 0 && input.ok; left--) texts.push(input.text());
  const textAt = (place: number) => {
    if (place >= texts.length) input.ok = false;
    return texts[place] ?? '';
  };
  const usualPost = input.varint() - 1;
  const usualAuthor = input.varint() - 1;
  const history: HistoryEntry[] = [];
  let before = 0;
  for (let i = 0; i < bytes[2] && input.ok; i++) {
    const head = input.byte();
    const postId = head & USUAL_POST ? textAt(usualPost) + input.varint() : readId(input, textAt);
    const authorId = head & USUAL_AUTHOR ? textAt(usualAuthor) + input.varint() : readId(input, textAt);
    const topic = textAt(input.varint());
    let at: number;
    if (whole) {
      const step = input.varint();
      at = before - (step % 2 === 0 ? step / 2 : -(step + 1) / 2);
      before = at;
    } else at = input.double();
    const dwellMs = head & HAS_DWELL ? readDwell(input) : 0;
    const type = EVENT_TYPES[head & TYPE_BITS];
    if (!type || !Number.isFinite(at) || !Number.isFinite(dwellMs)) return null;
    history.push({ postId, authorId, topic, type, at, dwellMs });
  }
  return input.isDone ? history : null;
}

function packId(id: string, place: (text: string) => number): PackedId {
  if (UUID.test(id)) {
    return { kind: ID_UUID, text: 0, number: 0, uuid: Buffer.from(id.replaceAll('-', ''), 'hex') };
  }
  const numbered = NUMBERED.exec(id);
  if (numbered)
    return { kind: ID_NUMBERED, text: place(numbered[1]), number: Number(numbered[2]), uuid: null };
  return { kind: ID_TEXT, text: place(id), number: 0, uuid: null };
}

function writeId(out: PackedWriter, id: PackedId): void {
  out.byte(id.kind);
  if (id.uuid) out.bytes(id.uuid);
  else out.varint(id.text);
  if (id.kind === ID_NUMBERED) out.varint(id.number);
}

function readId(input: PackedReader, textAt: (place: number) => string): string {
  switch (input.byte()) {
    case ID_TEXT:
      return textAt(input.varint());
    case ID_NUMBERED:
      return textAt(input.varint()) + input.varint();
    case ID_UUID: {
      const hex = input.bytes(16).toString('hex');
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
    }
    default:
      input.ok = false;
      return '';
  }
}

/** Whole milliseconds doubled; 1 and a float64 for anything else. */
function writeDwell(out: PackedWriter, dwellMs: number): void {
  if (Number.isInteger(dwellMs) && dwellMs > 0 && dwellMs < LARGEST_WHOLE_DWELL) out.varint(dwellMs * 2);
  else {
    out.varint(1);
    out.double(dwellMs);
  }
}

function readDwell(input: PackedReader): number {
  const doubled = input.varint();
  if (doubled % 2 === 0) return doubled / 2;
  if (doubled !== 1) input.ok = false;
  return input.double();
}
