// A serving record as the log stores it: its posts as columns, numbers as base64 of their bytes. Fifty objects that each
// name their six heads took three fifths of a record, and the digits of their numbers half of the rest. Both older forms
// are read as they are. Called by postgres-serving-log.ts.
import type { ServedPost, ServingRecord } from '../../contracts.ts';
import { type Head, SOURCES, type Source } from '../../vocabulary.ts';

/** Float32 where that is exactly the numbers, else float64; little-endian. */
type Numbers = { f32: string } | { f64: string };

/** Entry i of every column belongs together. */
interface PackedPosts {
  ids: string[];
  /** What all tokens begin with (they are of one request), and the rest of each. */
  token: string;
  tokens: string[];
  /** That of the first, where each is one more than the one before. */
  positions: number | number[];
  scores: Numbers;
  propensities: Numbers;
  /** Bits `1 << SOURCES.indexOf(source)`. */
  sources: number[];
  heads: string[];
  /** [ranked posts × heads] */
  probabilities: Numbers;
  /** Places of the posts without probabilities. */
  unranked: number[];
}

/** As records were stored before: numbers in digits, nulls for a post without probabilities. */
interface Columns {
  ids: string[];
  tokens: string[];
  positions: number[];
  scores: number[];
  propensities: number[];
  sources: number[];
  heads: string[];
  probabilities: (number | null)[];
}

export type StoredRecord = Omit<ServingRecord, 'posts'> &
  ({ posts: ServedPost[] } | { columns: Columns } | { packed: PackedPosts });

export function encodeRecord({ posts, ...rest }: ServingRecord): StoredRecord {
  const ranked = posts.filter((post) => post.probabilities !== null);
  const heads = Object.keys(ranked[0]?.probabilities ?? {}) as Head[];
  const probabilities = new Float64Array(ranked.length * heads.length);
  ranked.forEach((post, i) => {
    for (let h = 0; h < heads.length; h++) {
      probabilities[i * heads.length + h] = post.probabilities?.[heads[h]] ?? 0;
    }
  });
  const scores = new Float64Array(posts.length);
  const propensities = new Float64Array(posts.length);
  for (let i = 0; i < posts.length; i++) {
    scores[i] = posts[i].score;
    propensities[i] = posts[i].propensity;
  }
  const first = posts[0]?.position ?? 0;
  const token = commonStart(posts);
  const packed: PackedPosts = {
    ids: posts.map((post) => post.postId),
    token,
    tokens: posts.map((post) => post.token.slice(token.length)),
    positions: posts.every(({ position }, i) => position === first + i)
      ? first
      : posts.map((post) => post.position),
    scores: packNumbers(scores),
    propensities: packNumbers(propensities),
    sources: posts.map((post) => bitsOf(post.sources)),
    heads,
    probabilities: packNumbers(probabilities),
    unranked: posts.flatMap((post, i) => (post.probabilities === null ? [i] : [])),
  };
  return { ...rest, packed };
}

export function decodeRecord(stored: StoredRecord): ServingRecord {
  if ('posts' in stored) return stored;
  if ('columns' in stored) return decodeColumns(stored);
  const { packed, ...rest } = stored;
  const { heads, positions } = packed;
  const [scores, propensities] = [unpackNumbers(packed.scores), unpackNumbers(packed.propensities)];
  const probabilities = unpackNumbers(packed.probabilities);
  const unranked = new Set(packed.unranked);
  let at = 0;
  const posts = packed.ids.map((postId, i): ServedPost => {
    const values = unranked.has(i) ? null : probabilities.slice(at, (at += heads.length));
    return {
      postId,
      token: packed.token + packed.tokens[i],
      position: typeof positions === 'number' ? positions + i : positions[i],
      score: scores[i],
      propensity: propensities[i],
      sources: sourcesOf(packed.sources[i]),
      probabilities: values && byHead(heads, values),
    };
  });
  return { ...rest, posts };
}

function decodeColumns(stored: Omit<ServingRecord, 'posts'> & { columns: Columns }): ServingRecord {
  const { columns, ...rest } = stored;
  const { heads } = columns;
  const posts = columns.ids.map((postId, i): ServedPost => {
    const values = columns.probabilities.slice(i * heads.length, (i + 1) * heads.length);
    const isRanked = values.length > 0 && values[0] !== null;
    return {
      postId,
      token: columns.tokens[i],
      position: columns.positions[i],
      score: columns.scores[i],
      propensity: columns.propensities[i],
      sources: sourcesOf(columns.sources[i]),
      probabilities: isRanked ? byHead(heads, values as number[]) : null,
    };
  });
  return { ...rest, posts };
}

function packNumbers(values: Float64Array): Numbers {
  const short = new Float32Array(values);
  let isExact = true;
  for (let i = 0; i < values.length; i++) isExact &&= short[i] === values[i];
  const { buffer } = isExact ? short : values;
  const text = Buffer.from(buffer).toString('base64');
  return isExact ? { f32: text } : { f64: text };
}

function unpackNumbers(numbers: Numbers): number[] {
  const [text, width] = 'f32' in numbers ? [numbers.f32, 4] : [numbers.f64, 8];
  const bytes = Buffer.from(text, 'base64');
  return Array.from({ length: bytes.length / width }, (_, i) =>
    width === 4 ? bytes.readFloatLE(4 * i) : bytes.readDoubleLE(8 * i),
  );
}

function byHead(heads: readonly string[], values: readonly number[]): Record<Head, number> {
  return Object.fromEntries(heads.map((head, h) => [head, values[h]])) as Record<Head, number>;
}

function bitsOf(sources: readonly Source[]): number {
  let bits = 0;
  for (const source of sources) bits |= 1 << SOURCES.indexOf(source);
  return bits;
}

function sourcesOf(bits: number): Source[] {
  return SOURCES.filter((_, source) => bits & (1 << source));
}

function commonStart(posts: readonly ServedPost[]): string {
  const first = posts[0]?.token ?? '';
  let length = first.length;
  for (const { token } of posts) while (!token.startsWith(first.slice(0, length))) length--;
  return first.slice(0, length);
}
