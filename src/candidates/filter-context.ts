// What the filters know of a request: the user's sets, unpacked once into tables with constant-time look-ups.
import type { Catalogue, FeedQuery } from '../contracts.ts';
import type { RecordViews } from '../post-record.ts';
import { PairSet } from './pair-set.ts';
import type { AgeWindow } from './source.ts';

export interface FilterContext {
  records: RecordViews;
  userLo: number;
  userHi: number;
  oldestMs: number;
  newestMs: number;
  /** Seen, served or engaged with. */
  seen: PairSet;
  excluded: PairSet;
  blockedAuthors: PairSet;
  mutedAuthors: PairSet;
  mutedTopics: ReadonlySet<number>;
  /** 1 at the hash of each muted word; null when no word is muted. */
  mutedWords: Uint8Array | null;
  /** 1 at each language the user reads, unknown (0) included; null = any language. */
  languages: Uint8Array | null;
  showSensitive: boolean;
}

/** Makes contexts; one a worker, each call overwrites the context made before. */
export class FilterContexts {
  readonly #seen = new PairSet();
  readonly #excluded = new PairSet();
  readonly #blockedAuthors = new PairSet();
  readonly #mutedAuthors = new PairSet();
  readonly #words = new Uint8Array(0x10000);
  readonly #languages = new Uint8Array(0x100);

  make(query: Pick<FeedQuery, 'user' | 'exclude'>, catalogue: Catalogue, window: AgeWindow): FilterContext {
    const { user } = query;
    this.#seen.reset((user.seen.length + user.historyKeys.length) / 2);
    this.#seen.addAll(user.seen);
    this.#seen.addAll(user.historyKeys);
    fill(this.#excluded, query.exclude);
    fill(this.#blockedAuthors, user.blockedAuthors);
    fill(this.#mutedAuthors, user.mutedAuthors);
    this.#languages.fill(0);
    this.#languages[0] = 1;
    for (const code of user.languages) this.#languages[code] = 1;
    if (user.mutedWords.length > 0) {
      this.#words.fill(0);
      for (const word of user.mutedWords) this.#words[word] = 1;
      // 0 pads a record's words, so it can be nobody's muted word.
      this.#words[0] = 0;
    }
    return {
      records: catalogue.records,
      userLo: user.userLo,
      userHi: user.userHi,
      oldestMs: window.oldestMs,
      newestMs: window.newestMs,
      seen: this.#seen,
      excluded: this.#excluded,
      blockedAuthors: this.#blockedAuthors,
      mutedAuthors: this.#mutedAuthors,
      mutedTopics: new Set(user.mutedTopics),
      mutedWords: user.mutedWords.length > 0 ? this.#words : null,
      languages: user.languages.length > 0 ? this.#languages : null,
      showSensitive: user.showSensitive,
    };
  }
}

function fill(set: PairSet, pairs: Uint32Array): void {
  set.reset(pairs.length / 2);
  set.addAll(pairs);
}
