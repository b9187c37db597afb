// What a post table is made from, and what another thread needs to open the same one.
import type { ItemGraphParts } from '../item-graph.ts';
import type { AuthorTableHandle } from './author-table.ts';
import type { KeyDirectoryHandle } from './key-directory.ts';
import type { ListsSize, MemoryLayout } from './table-layout.ts';

export interface TableOptions {
  generation: string;
  /** Rows of the base, in createdAt order; rows appended later are the live tier. */
  baseRows: number;
  /** Rows that fit, base and live. Reserved, not touched: unused rows take no memory. */
  capacity: number;
  /** Bytes for all ids. */
  keyBytes: number;
  /** Authors that fit who are followed and have no post; default half as many as rows. */
  authorsWithoutPosts?: number;
  /** Room for inverted lists over the base; default none. */
  lists?: ListsSize;
  /** Item graph over the base, in shared memory; default none. */
  neighbours?: ItemGraphParts | null;
}

/** Everything a worker needs to open the table; survives structured clone, no copy is made. */
export interface TableHandle {
  generation: string;
  baseRows: number;
  memory: WebAssembly.Memory;
  layout: MemoryLayout;
  /** [capacity, RECORD_BYTES] */
  records: SharedArrayBuffer;
  keys: KeyDirectoryHandle;
  authors: AuthorTableHandle;
  neighbours: ItemGraphParts | null;
}
