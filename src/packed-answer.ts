// The form in which an answer crosses from a feed worker to the main thread: columns instead of an object a post, of
// which a structured clone of 300 costs milliseconds. Made by pipeline.ts, opened by slate-maker.ts.
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

/** The columns of an answer's posts, which are added from the first to the last; all in one buffer. */
export class AnswerColumns {
  readonly #columns: Omit<PackedAnswer, 'answer'>;
  #size = 0;

  /** For `size` posts; `scored`: where some have probabilities, `explained`: where some have an explanation. */
  constructor(size: number, scored: boolean, explained: boolean) {
    const width = HEADS.length;
    const numbers = size * NUMBERS * 8;
    const probabilities = scored ? size * width * 4 : 0;
    const buffer = new ArrayBuffer(numbers + probabilities + size * 4);
    const lengthsAt = numbers + probabilities;
    this.#columns = {
      ids: '',
      idLengths: new Uint16Array(buffer, lengthsAt, size),
      numbers: new Float64Array(buffer, 0, size * NUMBERS),
      probabilities: scored ? new Float32Array(buffer, numbers, size * width) : null,
      scored: new Uint8Array(buffer, lengthsAt + size * 2, size),
      sources: new Uint8Array(buffer, lengthsAt + size * 3, size),
      explanations: explained ? new Array(size) : null,
    };
  }

  /** `probabilities` [… HEADS.length …] from `from` on, null where the post has none. */
  add(
    post: Pick<SlatePost, 'postId' | 'score' | 'propensity' | 'similarity' | 'explain'>,
    sourceBits: number,
    probabilities: Float32Array | null,
    from: number,
  ): void {
    const columns = this.#columns;
    const at = this.#size++;
    columns.ids += post.postId;
    columns.idLengths[at] = post.postId.length;
    columns.numbers[at * NUMBERS] = post.score;
    columns.numbers[at * NUMBERS + 1] = post.propensity;
    columns.numbers[at * NUMBERS + 2] = post.similarity;
    columns.sources[at] = sourceBits;
    if (columns.explanations) columns.explanations[at] = post.explain;
    if (!columns.probabilities || !probabilities) return;
    columns.scored[at] = 1;
    const to = at * HEADS.length;
    for (let h = 0; h < HEADS.length; h++) columns.probabilities[to + h] = probabilities[from + h];
  }

  /** After the last post. */
  packed(answer: PackedAnswer['answer']): PackedAnswer {
    return { answer, ...this.#columns };
  }
}

/** Its posts read the columns when they are asked: most of a slate's are only stored, or never shown. */
export function unpackAnswer(packed: PackedAnswer): FeedAnswer {
  const { answer, ids, idLengths } = packed;
  const posts: SlatePost[] = [];
  for (let i = 0, at = 0; i < idLengths.length; at += idLengths[i++]) {
    posts.push(new PackedPost(ids.slice(at, at + idLengths[i]), packed, i));
  }
  return { ...answer, posts };
}

/** Entry `at` of an answer's columns. Its lists and records are not to be changed: several share them. */
export class PackedPost implements SlatePost {
  readonly postId: string;
  readonly #packed: PackedAnswer;
  readonly #at: number;

  constructor(postId: string, packed: PackedAnswer, at: number) {
    this.postId = postId;
    this.#packed = packed;
    this.#at = at;
  }

  get score(): number {
    return this.#packed.numbers[this.#at * NUMBERS];
  }

  get propensity(): number {
    return this.#packed.numbers[this.#at * NUMBERS + 1];
  }

  get similarity(): number {
    return this.#packed.numbers[this.#at * NUMBERS + 2];
  }

  get sources(): Source[] {
    return SETS[this.sourceBits];
  }

  /** Bits `1 << SOURCES.indexOf(source)`. */
  get sourceBits(): number {
    return this.#packed.sources[this.#at] & (SETS.length - 1);
  }

  /** Made anew at each reading. */
  get probabilities(): Record<Head, number> | null {
    const { probabilities } = this.#packed;
    return probabilities && this.isScored ? headsOf(probabilities, this.#at * HEADS.length) : null;
  }

  get isScored(): boolean {
    return this.#packed.probabilities !== null && this.#packed.scored[this.#at] === 1;
  }

  /** The probability of HEADS[head], where it is scored. */
  probabilityOf(head: number): number {
    return this.#packed.probabilities?.[this.#at * HEADS.length + head] ?? 0;
  }

  get explain(): PostExplanation | undefined {
    return this.#packed.explanations?.[this.#at];
  }
}

/** The buffer of the columns, which a message may move instead of copying it. */
export function transferable({ numbers }: PackedAnswer): ArrayBuffer[] {
  return [numbers.buffer as ArrayBuffer];
}

function headsOf(values: Float32Array, at: number): Record<Head, number> {
  const heads = {} as Record<Head, number>;
  for (let h = 0; h < HEADS.length; h++) heads[HEADS[h]] = values[at + h];
  return heads;
}
