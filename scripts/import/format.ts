// What an importer is: an async generator of validated batches. Every row goes through the domain schemas; what fails
// is reported with file, row, field and reason and left out. Implemented by the formats beside this file.
import type { z } from 'zod';
import type { Edge, EngagementEvent, Post, User } from '../../src/contracts.ts';
import { detectLanguage } from '../../src/features/detect-language.ts';
import { datedSchemas, eventSchema, fieldProblems, postSchema } from '../../src/features/domain-schema.ts';

/** Items of one batch: large enough for the store's rate, small enough for its memory. */
const BATCH_ITEMS = 5_000;

export interface Batch {
  posts: Post[];
  users: User[];
  edges: Edge[];
  events: EngagementEvent[];
  /** Input rows read so far. */
  rows: number;
  /** Part of the input read so far, 0 to 1. */
  fraction: number;
}

export interface Reject {
  /** Name within the folder. */
  file: string;
  /** 1-based; a CSV's header does not count. */
  row: number;
  field: string;
  reason: string;
}

export interface ImportOptions {
  dir: string;
  /** At most so many rows of each file. */
  limit: number;
  /** Fill in absent languages from the text. */
  detectLanguage: boolean;
  reject: (reject: Reject) => void;
}

export interface ImportFormat {
  /** Files it reads, for --help and for the message when they are missing. */
  files: readonly string[];
  /** Whether absent languages are detected unless a flag says otherwise. */
  detectsLanguage: boolean;
  read(options: ImportOptions): AsyncGenerator<Batch>;
}

// An absent createdAt is "long ago", so that reading a file twice changes nothing.
const dated = datedSchemas(() => 0);

/** Validates rows into the batch being filled. One per import. */
export class BatchBuilder {
  readonly #options: ImportOptions;
  #batch = emptyBatch();
  #rows = 0;

  constructor(options: ImportOptions) {
    this.#options = options;
  }

  addPost(value: unknown, file: string, row: number): void {
    const post = this.#check(postSchema, value, file, row);
    if (!post) return;
    if (this.#options.detectLanguage && post.language === undefined) {
      const language = detectLanguage([post.title, post.text].filter(Boolean).join('. '));
      if (language) post.language = language;
    }
    this.#batch.posts.push(post);
  }

  addUser(value: unknown, file: string, row: number): void {
    const user = this.#check(dated.user, value, file, row);
    if (user) this.#batch.users.push(user);
  }

  addFollow(value: unknown, file: string, row: number): void {
    const edge = this.#check(dated.follow, value, file, row);
    if (edge) this.#batch.edges.push(edge);
  }

  addBlock(value: unknown, file: string, row: number): void {
    const edge = this.#check(dated.block, value, file, row);
    if (edge) this.#batch.edges.push(edge);
  }

  addEvent(value: unknown, file: string, row: number): void {
    const event = this.#check(eventSchema, value, file, row);
    if (event) this.#batch.events.push(event);
  }

  reject(file: string, row: number, field: string, reason: string): void {
    this.#options.reject({ file, row, field, reason });
  }

  /** Counts an input row; true when the batch is large enough to be taken. */
  countRow(): boolean {
    this.#rows++;
    const { posts, users, edges, events } = this.#batch;
    return posts.length + users.length + edges.length + events.length >= BATCH_ITEMS;
  }

  take(fraction: number): Batch {
    const batch = { ...this.#batch, rows: this.#rows, fraction: Math.min(1, fraction) };
    this.#batch = emptyBatch();
    return batch;
  }

  #check<T>(schema: z.ZodType<T>, value: unknown, file: string, row: number): T | null {
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const [{ field, reason }] = fieldProblems(parsed.error);
    this.reject(file, row, field, reason);
    return null;
  }
}

function emptyBatch() {
  return {
    posts: [] as Post[],
    users: [] as User[],
    edges: [] as Edge[],
    events: [] as EngagementEvent[],
  };
}
