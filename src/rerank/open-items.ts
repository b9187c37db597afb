// The items of a draft that are still to be placed, best first, and which of them the constraints allow next. Keeps, for
// explanations, where an item was first put off and by what. Called by arrange.ts.
import type { Constraint } from './constraint.ts';
import { addEffect, type Draft } from './draft.ts';

/** Items that satisfy the most leading constraints, and how many those are. */
export interface Best {
  items: readonly number[];
  level: number;
}

export class OpenItems {
  readonly #draft: Draft;
  readonly #constraints: readonly Constraint[];
  readonly #taken: Uint8Array;
  /** Positions in `order`, as a list: `next[at]` follows `at`, `next[size]` is its head. */
  readonly #next: Uint32Array;
  /** Position at which an item was first put off, + 1, and by which constraint. */
  readonly #deferredAt: Uint32Array;
  readonly #deferredBy: Uint8Array;

  constructor(draft: Draft, constraints: readonly Constraint[]) {
    const { size, explained } = draft;
    this.#draft = draft;
    this.#constraints = constraints;
    this.#taken = new Uint8Array(size);
    const next = new Uint32Array(size + 1);
    for (let at = 0; at < size; at++) next[at] = at + 1;
    this.#next = next;
    this.#deferredAt = new Uint32Array(explained ? size : 0);
    this.#deferredBy = new Uint8Array(explained ? size : 0);
  }

  take(item: number): void {
    this.#taken[item] = 1;
  }

  /**
   * At most `limit`, of those that `eligible` marks with 1; null = of all, and then what is passed over counts as put
   * off at `position`.
   */
  best(position: number, limit: number, eligible: Uint8Array | null): Best {
    const { order, size, explained } = this.#draft;
    const constraints = this.#constraints;
    const next = this.#next;
    const taken = this.#taken;
    const defers = explained && eligible === null;
    const highest = this.#highest();
    let level = -1;
    let items: number[] = [];
    let before = size;
    for (let at = next[before]; at < size; at = next[at]) {
      const item = order[at];
      if (taken[item] === 1) {
        next[before] = next[at];
        continue;
      }
      before = at;
      if (eligible !== null && eligible[item] !== 1) continue;
      let count = 0;
      while (count < constraints.length && constraints[count].allows(item)) count++;
      if (defers && count < constraints.length && this.#deferredAt[item] === 0) {
        this.#deferredAt[item] = position + 1;
        this.#deferredBy[item] = count;
      }
      if (count > level) {
        level = count;
        items = [];
      }
      if (count === level && items.length < limit) items.push(item);
      if (level === highest && items.length >= limit) break;
    }
    return { items, level };
  }

  /** Says of an item that is placed at `position` whether it was put off, or which constraint gave way. */
  explain(item: number, level: number, position: number): void {
    const draft = this.#draft;
    if (!draft.explained) return;
    const deferredAt = this.#deferredAt[item];
    if (deferredAt !== 0 && deferredAt < position + 1) {
      const { name } = this.#constraints[this.#deferredBy[item]];
      addEffect(draft, item, name, `${deferredAt} → ${position + 1}`);
    }
    if (level < this.#constraints.length) {
      addEffect(draft, item, this.#constraints[level].name, 'gave way, nothing else left');
    }
  }

  /** What a constraint with nothing open blocks, it blocks for all: no item reaches a higher level. */
  #highest(): number {
    const constraints = this.#constraints;
    let at = 0;
    while (at < constraints.length && constraints[at].open !== 0) at++;
    return at;
  }
}
