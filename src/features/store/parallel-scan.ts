// Reads consecutive segments of a keyset scan at the same time and hands their pages on in order. Memory is bounded:
// each segment that is not its turn yet reads PAGES_AHEAD pages and waits. Called by the scans of the offline jobs.

import type { SqlClient, Statement } from './sql-client.ts';

const PAGES_AHEAD = 2;
/** Parts for each reader: several, so that uneven ones still keep all readers busy. */
const SEGMENTS_PER_READER = 8;

/** What a scan of `column` is split at, so that `partitions` readers have equal shares; from a sample of the pages. */
export async function sampledBounds(
  client: SqlClient,
  table: { name: string; column: string },
  partitions: number,
): Promise<number[]> {
  if (partitions <= 1) return [];
  const segments = partitions * SEGMENTS_PER_READER;
  const shares = Array.from({ length: segments - 1 }, (_, i) => (i + 1) / segments);
  const statement: Statement = {
    name: `${table.name}_bounds`,
    text: `select percentile_disc($1::float8[]) within group (order by ${table.column}) as bounds
from ${table.name} tablesample system (1)`,
  };
  const [row] = await client.scan<{ bounds: number[] | null }>(`sampling ${table.name}`, statement, [shares]);
  return [...new Set(row.bounds ?? [])];
}

/** Pages of all segments in their order; at most `width` of them are read at a time. */
export async function* inOrder<T>(
  segments: readonly (() => AsyncIterable<T>)[],
  width: number,
): AsyncIterable<T> {
  const reading: ReadAhead<T>[] = segments.slice(0, width).map((open) => new ReadAhead(open()));
  let next = reading.length;
  try {
    while (reading.length > 0) {
      for (;;) {
        const page = await reading[0].take();
        if (page === null) break;
        yield page.value;
      }
      reading.shift();
      if (next < segments.length) reading.push(new ReadAhead(segments[next++]()));
    }
  } finally {
    for (const one of reading) one.stop();
  }
}

/** Start values of the segments: `bounds` split the whole; null is open. `[null, b1), [b1, b2), …, [bn, null)`. */
export function between<B>(bounds: readonly B[]): { from: B | null; to: B | null }[] {
  return Array.from({ length: bounds.length + 1 }, (_, i) => ({
    from: i === 0 ? null : bounds[i - 1],
    to: i === bounds.length ? null : bounds[i],
  }));
}

class ReadAhead<T> {
  readonly #pages: T[] = [];
  #done = false;
  #failure: { error: unknown } | null = null;
  #stopped = false;
  #wakeReader: (() => void) | null = null;
  #wakeTaker: (() => void) | null = null;

  constructor(source: AsyncIterable<T>) {
    this.#read(source).then(
      () => this.#end(null),
      (error) => this.#end({ error }),
    );
  }

  /** null at the end; rejects with what the source threw, after the pages before it. */
  async take(): Promise<{ value: T } | null> {
    while (this.#pages.length === 0 && !this.#done) {
      await new Promise<void>((resolve) => {
        this.#wakeTaker = resolve;
      });
    }
    if (this.#pages.length > 0) {
      const value = this.#pages.shift() as T;
      this.#wakeReader?.();
      return { value };
    }
    if (this.#failure) throw this.#failure.error;
    return null;
  }

  stop(): void {
    this.#stopped = true;
    this.#wakeReader?.();
  }

  async #read(source: AsyncIterable<T>): Promise<void> {
    for await (const page of source) {
      this.#pages.push(page);
      this.#wakeTaker?.();
      while (this.#pages.length >= PAGES_AHEAD && !this.#stopped) {
        await new Promise<void>((resolve) => {
          this.#wakeReader = resolve;
        });
      }
      if (this.#stopped) return;
    }
  }

  #end(failure: { error: unknown } | null): void {
    this.#failure = failure;
    this.#done = true;
    this.#wakeTaker?.();
  }
}
