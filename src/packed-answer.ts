// The form in which an answer crosses from a feed worker to the main thread: columns instead of an object a post, of
// which a structured clone of 300 costs milliseconds. Made by worker.ts, opened by slate-maker.ts.
import type { FeedAnswer, PostExplanation, SlatePost } from './contracts.ts';
import { HEADS, type Head, SOURCES, type Source } from './vocabulary.ts';

export interface PackedAnswer {
  answer: Omit<FeedAnswer, 'posts'>;
  /** Ids one after the other; their lengths in `idLengths`. */
  ids: string;
  idLengths: Uint16Array;
  /** [posts, 3]: score, propensity, similarity. */
  numbers: Float64Array;
  /** [posts, HEADS.length], null where no post has any. */
  probabilities: Float32Array | null;
  /** [posts] 1 where the post has probabilities. */
  scored: Uint8Array;
  /** Bits `1 << SOURCES.indexOf(source)`. */
  sources: Uint8Array;
  /** Null where no explanation was asked for. */
  explanations: (PostExplanation | undefined)[] | null;
}

const NUMBERS = 3;
/** The sources of every combination of bits. */
const SETS = Array.from({ length: 1 << SOURCES.length }, (_, bits) =>
  SOURCES.filter((_, i) => bits & (1 << i)),
);

export function packAnswer({ posts, ...answer }: FeedAnswer): PackedAnswer {
  const size = posts.length;
  const width = HEADS.length;
  const probabilities = posts.some((post) => post.probabilities) ? new Float32Array(size * width) : null;
  const packed = {
    answer,
    ids: posts.map((post) => post.postId).join(''),
    idLengths: Uint16Array.from(posts, (post) => post.postId.length),
    numbers: new Float64Array(size * NUMBERS),
    probabilities,
    scored: new Uint8Array(size),
    sources: new Uint8Array(size),
    explanations: posts.some((post) => post.explain) ? posts.map((post) => post.explain) : null,
  };
  posts.forEach((post, i) => {
    packed.numbers[i * NUMBERS] = post.score;
    packed.numbers[i * NUMBERS + 1] = post.propensity;
    packed.numbers[i * NUMBERS + 2] = post.similarity;
    for (const source of post.sources) packed.sources[i] |= 1 << SOURCES.indexOf(source);
    if (!probabilities || !post.probabilities) return;
    packed.scored[i] = 1;
    for (let h = 0; h < width; h++) probabilities[i * width + h] = post.probabilities[HEADS[h]];
  });
  return packed;
}

export function unpackAnswer(packed: PackedAnswer): FeedAnswer {
  const { answer, ids, idLengths, numbers, probabilities, scored, sources, explanations } = packed;
  const posts: SlatePost[] = [];
  for (let i = 0, at = 0; i < idLengths.length; at += idLengths[i++]) {
    const explain = explanations?.[i];
    posts.push({
      postId: ids.slice(at, at + idLengths[i]),
      score: numbers[i * NUMBERS],
      propensity: numbers[i * NUMBERS + 1],
      similarity: numbers[i * NUMBERS + 2],
      sources: sourcesOf(sources[i]),
      probabilities: probabilities && scored[i] === 1 ? headsOf(probabilities, i * HEADS.length) : null,
      ...(explain ? { explain } : {}),
    });
  }
  return { ...answer, posts };
}

/** Buffers that a message may move instead of copying them. */
export function transferable({
  idLengths,
  numbers,
  probabilities,
  scored,
  sources,
}: PackedAnswer): ArrayBuffer[] {
  const arrays = [idLengths, numbers, scored, sources, ...(probabilities ? [probabilities] : [])];
  return arrays.map(({ buffer }) => buffer as ArrayBuffer);
}

function sourcesOf(bits: number): Source[] {
  return [...SETS[bits & (SETS.length - 1)]];
}

function headsOf(values: Float32Array, at: number): Record<Head, number> {
  const heads = {} as Record<Head, number>;
  for (let h = 0; h < HEADS.length; h++) heads[HEADS[h]] = values[at + h];
  return heads;
}
