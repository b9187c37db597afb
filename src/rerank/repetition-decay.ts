// Soft caps: each further post of an author or topic within a window of the list weighs less.
// After "author diversity" in public feed rankers (x-algorithm, 2025), over a window instead of the whole list.
import { addEffect, type Draft } from './draft.ts';
import { KeyLists } from './key-lists.ts';
import type { CapConfig } from './rules-config.ts';
import { WindowCounts } from './window-counts.ts';

/**
 * Reorders the first `depth` positions: each takes the item of largest utility × decay^(posts of its author in the
 * window before) × the same for its topic, and keeps that product as its utility; of equal ones the one that stood
 * first. Exact greedy, topic by topic: a topic is left at its first item whose author does not repeat, and not entered
 * where its best item could not win.
 */
export function decayRepetition(draft: Draft, author: CapConfig, topic: CapConfig, depth: number): void {
  if (author.decay === 1 && topic.decay === 1) return;
  const { order, size, utility } = draft;
  const authors = new WindowCounts(draft.authors, author.window);
  const topics = new WindowCounts(draft.topics, topic.window);
  const authorFactors = factors(author);
  const topicFactors = factors(topic);
  const lists = new KeyLists(order, draft.topics);
  const { first, next } = lists;
  /** By list: its largest utility, placed or not; and that of what is left, decayed as its topic is now. */
  const largest = new Float64Array(lists.count);
  const bounds = new Float64Array(lists.count);
  const renew = (list: number): void => {
    const at = first[list];
    bounds[list] = at === size ? -1 : utility[order[at]] * topicFactors[topics.before(order[at])];
  };
  for (let list = 0; list < lists.count; list++) {
    largest[list] = utility[order[first[list]]];
    renew(list);
  }
  const reordered = new Uint32Array(size);
  const used = new Uint8Array(size);
  /** By position: the list that its item came from. */
  const listAt = new Int32Array(size);
  const positions = Math.min(depth, size);
  for (let position = 0; position < positions; position++) {
    let bestAt = size;
    let bestList = 0;
    let bestValue = 0;
    // The lists follow by their largest: at the first that could not win none of the others could.
    for (let list = 0; list < lists.count && largest[list] >= bestValue; list++) {
      if (bounds[list] < bestValue) continue;
      let at = first[list];
      if (at === size) continue;
      const factor = topicFactors[topics.before(order[at])];
      for (; at < size && utility[order[at]] * factor >= bestValue; at = next[at]) {
        const item = order[at];
        const authorFactor = authorFactors[authors.before(item)];
        const value = utility[item] * authorFactor * factor;
        if (value > bestValue || (value === bestValue && at < bestAt)) {
          bestAt = at;
          bestList = list;
          bestValue = value;
        }
        if (authorFactor === 1) break;
      }
    }
    const best = order[bestAt];
    if (bestValue < utility[best]) {
      if (draft.explained) addEffect(draft, best, 'repetition', `×${(bestValue / utility[best]).toFixed(3)}`);
      utility[best] = bestValue;
    }
    used[best] = 1;
    lists.remove(bestAt);
    reordered[position] = best;
    listAt[position] = bestList;
    authors.place(best);
    topics.place(best);
    renew(bestList);
    // One that has left the window decays its topic no more.
    if (position + 1 >= topic.window) renew(listAt[position + 1 - topic.window]);
  }
  let end = positions;
  for (let at = 0; at < size; at++) if (used[order[at]] === 0) reordered[end++] = order[at];
  draft.order = reordered;
}

/** Factor by the number of posts before, of which a window holds at most `window` − 1. */
function factors({ window, decay, floor }: CapConfig): Float64Array {
  return Float64Array.from({ length: window }, (_, before) =>
    before === 0 ? 1 : Math.max(floor, decay ** before),
  );
}
