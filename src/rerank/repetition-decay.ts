// Soft caps: each further post of an author or topic within a window of the list weighs less.
// After "author diversity" in public feed rankers (x-algorithm, 2025), over a window instead of the whole list.
import { addEffect, type Draft } from './draft.ts';
import type { CapConfig } from './rules-config.ts';
import { WindowCounts } from './window-counts.ts';

/**
 * Reorders the first `depth` positions: each takes the item of largest utility × decay^(posts of its author in the
 * window before) × the same for its topic, and keeps that product as its utility. Exact greedy: the search stops
 * at the first item whose undecayed utility cannot win.
 */
export function decayRepetition(draft: Draft, author: CapConfig, topic: CapConfig, depth: number): void {
  if (author.decay === 1 && topic.decay === 1) return;
  const { order, size, utility } = draft;
  const authors = new WindowCounts(draft.authors, author.window);
  const topics = new WindowCounts(draft.topics, topic.window);
  const authorFactors = factors(author);
  const topicFactors = factors(topic);
  const next = new Uint32Array(size);
  const used = new Uint8Array(size);
  const positions = Math.min(depth, size);
  let head = 0;
  for (let position = 0; position < positions; position++) {
    while (used[order[head]] === 1) head++;
    let best = -1;
    let bestValue = Number.NEGATIVE_INFINITY;
    for (let at = head; at < size; at++) {
      const item = order[at];
      if (used[item] === 1) continue;
      if (utility[item] <= bestValue) break;
      const value = utility[item] * authorFactors[authors.before(item)] * topicFactors[topics.before(item)];
      if (value > bestValue) {
        best = item;
        bestValue = value;
      }
    }
    if (bestValue < utility[best]) {
      addEffect(draft, best, 'repetition', `×${(bestValue / utility[best]).toFixed(3)}`);
      utility[best] = bestValue;
    }
    used[best] = 1;
    next[position] = best;
    authors.place(best);
    topics.place(best);
  }
  let end = positions;
  for (const item of order) if (used[item] === 0) next[end++] = item;
  draft.order = next;
}

/** Factor by the number of posts before, of which a window holds at most `window` − 1. */
function factors({ window, decay, floor }: CapConfig): Float64Array {
  return Float64Array.from({ length: window }, (_, before) =>
    before === 0 ? 1 : Math.max(floor, decay ** before),
  );
}
