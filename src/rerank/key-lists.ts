// The positions of a list that share a key (a topic), in order, as linked lists: what is placed is taken out.

export class KeyLists {
  /** Number of lists; they are numbered as their first positions follow. */
  readonly count: number;
  /** By list: the first position that is left; `size` where none is. */
  readonly first: Int32Array;
  /** By list: the position that it began with. */
  readonly begins: Int32Array;
  /** By position: the next one of the same list; `size` at its end. */
  readonly next: Int32Array;
  readonly #previous: Int32Array;
  readonly #listOf: Int32Array;

  /** `order` [size]: items by position; `keys` [items]: dense numbers from 0, all negative ones are one key. */
  constructor(order: Uint32Array, keys: Int32Array) {
    const size = order.length;
    const listOfKey = new Int32Array(size + 1).fill(-1);
    const last = new Int32Array(size);
    const first = new Int32Array(size);
    const next = new Int32Array(size).fill(size);
    const previous = new Int32Array(size).fill(-1);
    const listOf = new Int32Array(size);
    let count = 0;
    for (let at = 0; at < size; at++) {
      const key = keys[order[at]];
      const slot = key < 0 ? size : key;
      let list = listOfKey[slot];
      if (list < 0) {
        list = listOfKey[slot] = count++;
        first[list] = at;
      } else {
        next[last[list]] = at;
        previous[at] = last[list];
      }
      last[list] = at;
      listOf[at] = list;
    }
    this.count = count;
    this.first = first;
    this.begins = first.slice(0, count);
    this.next = next;
    this.#previous = previous;
    this.#listOf = listOf;
  }

  remove(at: number): void {
    const before = this.#previous[at];
    const after = this.next[at];
    if (before < 0) this.first[this.#listOf[at]] = after;
    else this.next[before] = after;
    if (after < this.next.length) this.#previous[after] = before;
  }
}
