// Whether a post of a slate may still be shown: deletes, blocks and mutes as of now, checked again on every page, and
// what the pipeline would have left out where a rung without it made the slate.
// Synchronous; all reads are over before it.
import type { Edge, Post } from '../contracts.ts';
import { hash32, hash64 } from '../hashing.ts';
import type { RemovalReason } from '../vocabulary.ts';
import type { CatalogueEntry, CatalogueView } from './app-context.ts';
import { mutedWordTest } from './muted-words.ts';

/** Post as read now; null: the store has no such post; undefined: the store could not be asked. */
export type ReadPost = Post | null | undefined;

export interface PageReader {
  userId: string;
  edges: readonly Edge[];
  /** null: not known, and the pipeline has already decided; posts marked sensitive are then left alone. */
  showSensitive: boolean | null;
}

export class PageEligibility {
  readonly #userId: string;
  readonly #refusesSensitive: boolean;
  readonly #catalogue: Pick<CatalogueView, 'find'>;
  readonly #blocked: Set<string>;
  readonly #mutedAuthors: Set<string>;
  readonly #mutedTopics: Set<string>;
  readonly #mutedWord: ((post: Post) => boolean) | null;

  constructor(catalogue: Pick<CatalogueView, 'find'>, { userId, edges, showSensitive }: PageReader) {
    const targets = (kind: Edge['kind']) => {
      const found: string[] = [];
      for (const edge of edges) if (edge.kind === kind) found.push(edge.target);
      return found;
    };
    this.#catalogue = catalogue;
    this.#userId = userId;
    this.#refusesSensitive = showSensitive === false;
    this.#blocked = new Set(targets('block'));
    this.#mutedAuthors = new Set(targets('mute_author'));
    this.#mutedTopics = new Set(targets('mute_topic'));
    this.#mutedWord = mutedWordTest(targets('mute_word'));
  }

  /** null when the post may be shown. */
  refusal(postId: string, post: ReadPost): RemovalReason | null {
    const entry = this.#catalogue.find(postId);
    if (entry === null || post === null) return 'deleted';
    if (post === undefined) return this.#refusalByHash(entry);
    if (post.authorId === this.#userId) return 'own_post';
    if (post.sensitive && this.#refusesSensitive) return 'sensitive';
    if (this.#blocked.has(post.authorId)) return 'blocked_author';
    if (this.#mutedAuthors.has(post.authorId)) return 'muted_author';
    if (post.topic !== undefined && this.#mutedTopics.has(post.topic)) return 'muted_topic';
    return this.#mutedWord?.(post) ? 'muted_word' : null;
  }

  /** Without the post's text: authors, topics and flags as in memory; words were dropped by the pipeline. */
  #refusalByHash(entry: CatalogueEntry): RemovalReason | null {
    const isAuthor = (id: string) => {
      const { lo, hi } = hash64(id);
      return lo === entry.authorLo && hi === entry.authorHi;
    };
    if (isAuthor(this.#userId)) return 'own_post';
    if (entry.sensitive && this.#refusesSensitive) return 'sensitive';
    if ([...this.#blocked].some(isAuthor)) return 'blocked_author';
    if ([...this.#mutedAuthors].some(isAuthor)) return 'muted_author';
    return [...this.#mutedTopics].some((topic) => hash32(topic) === entry.topic) ? 'muted_topic' : null;
  }
}
