// Fills the slate position by position: pins, fresh slots, then the best item that the constraints allow.
// Constraints give way, last one first, only when no remaining item satisfies them.
import type { Constraint } from './constraint.ts';
import { addEffect, type Draft } from './draft.ts';
import { chooseFresh, freshItems, isFreshSlot, plackettLucePick } from './exploration.ts';
import type { RulesConfig } from './rules-config.ts';

export interface Placed {
  item: number;
  /** Probability of this item at this position, given the items above it. */
  propensity: number;
  /** Items that it was sampled from; null where its place was not sampled. */
  sampledFrom: readonly number[] | null;
}

export interface Sampling {
  /** Items that may be sampled, others only follow once these are used up. */
  pool: Uint32Array;
  /** By item. */
  logits: Float64Array;
  /** Positions that are sampled. */
  depth: number;
}

export interface Arrangement {
  length: number;
  /** Most important first. */
  constraints: readonly Constraint[];
  /** Items by position, all below `length`. */
  pins: ReadonlyMap<number, number>;
  freshSlots: RulesConfig['freshSlots'];
  /** null = take the order of the draft. */
  sampling: Sampling | null;
  random: () => number;
}

export function arrange(draft: Draft, plan: Arrangement): Placed[] {
  const { constraints, random } = plan;
  const placed: Placed[] = [];
  const taken = new Uint8Array(draft.size);
  const sampled = new Uint8Array(draft.size);
  /** Position at which an item was first put off, + 1, and by which constraint. */
  const deferredAt = new Uint32Array(draft.size);
  const deferredBy = new Uint8Array(draft.size);
  const fresh = plan.sampling || plan.freshSlots.every === null ? null : freshItems(draft, plan.freshSlots);
  let sinceFresh = Number.POSITIVE_INFINITY;
  /** Positions in `order` of the items still to place, as a list: `next[at]` follows `at`, `next[size]` is its head. */
  const next = Uint32Array.from({ length: draft.size + 1 }, (_, at) => at + 1);
  next[draft.size] = 0;
  for (const item of plan.pins.values()) taken[item] = 1;
  for (const item of plan.sampling?.pool ?? []) sampled[item] = 1;

  /** Number of leading constraints that allow the item. */
  const satisfied = (item: number): number => {
    let count = 0;
    while (count < constraints.length && constraints[count].allows(item)) count++;
    return count;
  };

  const place = (item: number, propensity: number, sampledFrom: readonly number[] | null = null): void => {
    taken[item] = 1;
    placed.push({ item, propensity, sampledFrom });
    for (const constraint of constraints) constraint.placed(item);
    sinceFresh = fresh?.[item] === 1 ? 0 : sinceFresh + 1;
  };

  /** Remaining items that satisfy the most leading constraints, at most `limit`, of those that `eligible` takes. */
  const best = (limit: number, eligible: (item: number) => boolean, defers = false) => {
    let level = -1;
    let items: number[] = [];
    // What a constraint with nothing open blocks, it blocks for all: no item reaches a higher level.
    const closed = constraints.findIndex((constraint) => constraint.open === 0);
    const highest = closed < 0 ? constraints.length : closed;
    let before = draft.size;
    for (let at = next[before]; at < draft.size; at = next[at]) {
      const item = draft.order[at];
      if (taken[item] === 1) {
        next[before] = next[at];
        continue;
      }
      before = at;
      if (!eligible(item)) continue;
      const count = satisfied(item);
      if (defers && count < constraints.length && deferredAt[item] === 0) {
        deferredAt[item] = placed.length + 1;
        deferredBy[item] = count;
      }
      if (count > level) {
        level = count;
        items = [];
      }
      if (count === level && items.length < limit) items.push(item);
      if (level === highest && items.length >= limit) break;
    }
    return { items, level };
  };

  const explain = (item: number, level: number): void => {
    const position = placed.length + 1;
    if (deferredAt[item] !== 0 && deferredAt[item] < position) {
      addEffect(draft, item, constraints[deferredBy[item]].name, `${deferredAt[item]} → ${position}`);
    }
    if (level < constraints.length)
      addEffect(draft, item, constraints[level].name, 'gave way, nothing else left');
  };

  while (placed.length < plan.length) {
    const position = placed.length;
    const pinned = plan.pins.get(position);
    if (pinned !== undefined) {
      addEffect(draft, pinned, 'pins', `pinned at ${position + 1}`);
      place(pinned, 1);
      continue;
    }
    if (fresh && isFreshSlot(plan.freshSlots, position) && sinceFresh >= plan.freshSlots.every! - 1) {
      const { items, level } = best(plan.freshSlots.pool, (item) => fresh[item] === 1);
      if (items.length > 0 && level === constraints.length) {
        const choice = chooseFresh(draft, items, plan.freshSlots, random);
        addEffect(
          draft,
          items[choice.index],
          'fresh-slot',
          `chosen from ${items.length} for ${position + 1}`,
        );
        place(items[choice.index], choice.probability);
        continue;
      }
    }

    const { sampling } = plan;
    if (sampling && position < sampling.depth) {
      const { items, level } = best(sampling.pool.length, (item) => sampled[item] === 1);
      if (items.length > 0) {
        const choice = plackettLucePick(
          items.map((item) => sampling.logits[item]),
          random(),
        );
        const item = items[choice.index];
        explain(item, level);
        addEffect(draft, item, 'exploration', `sampled from ${items.length}`);
        place(item, choice.probability, items);
        continue;
      }
    }

    // Never empty: length ≤ size, and every pinned item has a position of its own.
    const { items, level } = best(1, () => true, true);
    explain(items[0], level);
    place(items[0], 1);
  }
  return placed;
}
