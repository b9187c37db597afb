// The rest of a re-ranked slate as kept between two pages: about 45 bytes a post. Immutable once stored, so that a
// repeated request gives the same page. Written and read by feed-sessions.ts only.
import type { Edge, PackedUser, PostExplanation, SlatePost } from '../contracts.ts';
import { PackedPost } from '../packed-answer.ts';
import { HEADS, type Head, SOURCES } from '../vocabulary.ts';
import type { SlateResult } from './app-context.ts';
import { UTF8_MOST, writeText } from './write-text.ts';

/** What the slate said about itself; shown on each page that is cut from it and written to the serving log. */
export interface SlateFacts {
  model: string;
  index: string;
  rules: string;
  search: string;
  embeddingKind: PackedUser['embeddingKind'];
  degraded: string[];
  watermark: string;
  explored: boolean;
}

/** A post of the slate, without what only explain shows, unless it was asked for. */
export type SnapshotEntry = Pick<
  SlatePost,
  'postId' | 'score' | 'propensity' | 'sources' | 'probabilities'
> & {
  explain?: PostExplanation;
};

export interface FeedSnapshot {
  /** When the feed's first page was asked for. */
  startedAtMs: number;
  facts: SlateFacts;
  /** Edges that the slate was made with: used when no store can be asked. */
  edges: Edge[];
  entries: SnapshotEntry[];
  /** hash64 pairs of posts that were delivered or passed over before `entries`. */
  prior: Uint32Array;
}

/** Before any slate. */
export const NO_FACTS: SlateFacts = {
  model: 'none',
  index: 'none',
  rules: 'none',
  search: 'none',
  embeddingKind: 'cold',
  degraded: [],
  watermark: '',
  explored: false,
};

export const NO_SNAPSHOT: FeedSnapshot = {
  startedAtMs: 0,
  facts: NO_FACTS,
  edges: [],
  entries: [],
  prior: new Uint32Array(0),
};

export function factsOf(slate: SlateResult, explored: boolean): SlateFacts {
  const { model, generation: index, rules, search, embeddingKind, degraded, watermark } = slate;
  return { model, index, rules, search, embeddingKind, degraded, watermark, explored };
}

const VERSION = 1;
const FIXED_BYTES = 1 + 4 + 4 + 4;
/** score, propensity, source bits, id length. */
const ENTRY_BYTES = 4 + 4 + 1 + 2;

export function encodeSnapshot(snapshot: FeedSnapshot): Uint8Array {
  const { entries, prior, ...rest } = snapshot;
  const explains = entries.some((entry) => entry.explain)
    ? entries.map((entry) => entry.explain ?? null)
    : null;
  const header = Buffer.from(JSON.stringify({ ...rest, explains }));
  const entryBytes = ENTRY_BYTES + 1 + 4 * HEADS.length;
  let idRoom = 0;
  for (const { postId } of entries) idRoom += postId.length * UTF8_MOST;
  const out = Buffer.allocUnsafe(
    FIXED_BYTES + header.length + 4 * prior.length + entries.length * entryBytes + idRoom,
  );
  let at = out.writeUInt8(VERSION, 0);
  at = out.writeUInt32LE(header.length, at);
  at = out.writeUInt32LE(prior.length, at);
  at = out.writeUInt32LE(entries.length, at);
  at += header.copy(out, at);
  for (let i = 0; i < prior.length; i++) at = out.writeUInt32LE(prior[i], at);
  for (const entry of entries) {
    const idBytes = writeText(entry.postId, out, at + 2);
    at = out.writeUInt16LE(idBytes, at) + idBytes;
    at = out.writeFloatLE(entry.score, at);
    at = out.writeFloatLE(entry.propensity, at);
    at = out.writeUInt8(sourceBits(entry), at);
    at = writeProbabilities(entry, out, at);
  }
  return out.subarray(0, at);
}

function sourceBits(entry: SnapshotEntry): number {
  if (entry instanceof PackedPost) return entry.sourceBits;
  return entry.sources.reduce((bits, source) => bits | (1 << SOURCES.indexOf(source)), 0);
}

/** Whether there are any, then each. A post of a slate gives its own without an object in between. */
function writeProbabilities(entry: SnapshotEntry, out: Buffer, from: number): number {
  const packed = entry instanceof PackedPost ? entry : null;
  const values = packed ? null : entry.probabilities;
  const isScored = packed ? packed.isScored : values !== null;
  out[from] = isScored ? 1 : 0;
  if (!isScored) return from + 1;
  for (let h = 0; h < HEADS.length; h++) {
    FLOATS[h] = packed ? packed.probabilityOf(h) : (values?.[HEADS[h]] ?? 0);
  }
  for (let i = 0; i < FLOAT_BYTES.length; i++) out[from + 1 + i] = FLOAT_BYTES[i];
  return from + 1 + FLOAT_BYTES.length;
}

/** One post's probabilities on their way to their bytes, little-endian as every machine that this runs on. */
const FLOATS = new Float32Array(HEADS.length);
const FLOAT_BYTES = new Uint8Array(FLOATS.buffer);

/** null when the bytes are not a snapshot of this version. */
export function decodeSnapshot(bytes: Uint8Array): FeedSnapshot | null {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    return buffer.readUInt8(0) === VERSION ? read(buffer) : null;
  } catch {
    return null;
  }
}

function read(buffer: Buffer): FeedSnapshot {
  const headerBytes = buffer.readUInt32LE(1);
  const prior = new Uint32Array(buffer.readUInt32LE(5));
  const count = buffer.readUInt32LE(9);
  let at = FIXED_BYTES + headerBytes;
  const { explains, ...rest } = JSON.parse(buffer.toString('utf8', FIXED_BYTES, at)) as Omit<
    FeedSnapshot,
    'entries' | 'prior'
  > & { explains: (PostExplanation | null)[] | null };
  for (let i = 0; i < prior.length; i++, at += 4) prior[i] = buffer.readUInt32LE(at);
  const entries: SnapshotEntry[] = [];
  for (let i = 0; i < count; i++) {
    const idBytes = buffer.readUInt16LE(at);
    const postId = buffer.toString('utf8', at + 2, at + 2 + idBytes);
    at += 2 + idBytes;
    const bits = buffer.readUInt8(at + 8);
    const entry: SnapshotEntry = {
      postId,
      score: buffer.readFloatLE(at),
      propensity: buffer.readFloatLE(at + 4),
      sources: SOURCES.filter((_, source) => bits & (1 << source)),
      probabilities: null,
    };
    const ranked = buffer.readUInt8(at + 9) === 1;
    at += 10;
    if (ranked) {
      const base = at;
      entry.probabilities = Object.fromEntries(
        HEADS.map((head, h) => [head, buffer.readFloatLE(base + 4 * h)]),
      ) as Record<Head, number>;
      at += 4 * HEADS.length;
    }
    const explain = explains?.[i];
    if (explain) entry.explain = explain;
    entries.push(entry);
  }
  return { ...rest, entries, prior };
}
