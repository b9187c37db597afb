// Fills the slate position by position: pins, fresh slots, then the best item that the constraints allow.
// Constraints give way, last one first, only when no remaining item satisfies them.
import type { Constraint } from './constraint.ts';
import { addEffect, type Draft } from './draft.ts';
import { chooseFresh, freshItems, isFreshSlot, plackettLucePick } from './exploration.ts';
import { OpenItems } from './open-items.ts';
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
  const { constraints, random, sampling, freshSlots, pins } = plan;
  const placed: Placed[] = [];
  const open = new OpenItems(draft, constraints);
  const fresh = sampling || freshSlots.every === null ? null : freshItems(draft, freshSlots);
  let sinceFresh = Number.POSITIVE_INFINITY;
  const sampled = sampling && new Uint8Array(draft.size);
  if (sampling) for (const item of sampling.pool) sampled![item] = 1;
  for (const item of pins.values()) open.take(item);

  const place = (item: number, propensity: number, sampledFrom: readonly number[] | null = null): void => {
    open.take(item);
    placed.push({ item, propensity, sampledFrom });
    for (let c = 0; c < constraints.length; c++) constraints[c].placed(item);
    sinceFresh = fresh?.[item] === 1 ? 0 : sinceFresh + 1;
  };

  while (placed.length < plan.length) {
    const position = placed.length;
    const pinned = pins.size > 0 ? pins.get(position) : undefined;
    if (pinned !== undefined) {
      if (draft.explained) addEffect(draft, pinned, 'pins', `pinned at ${position + 1}`);
      place(pinned, 1);
      continue;
    }
    if (fresh && isFreshSlot(freshSlots, position) && sinceFresh >= freshSlots.every! - 1) {
      const { items, level } = open.best(position, freshSlots.pool, fresh);
      if (items.length > 0 && level === constraints.length) {
        const { index, probability } = chooseFresh(draft, items, freshSlots, random);
        if (draft.explained) {
          const effect = `chosen from ${items.length} for ${position + 1}`;
          addEffect(draft, items[index], 'fresh-slot', effect);
        }
        place(items[index], probability);
        continue;
      }
    }
    if (sampling && position < sampling.depth) {
      const { items, level } = open.best(position, sampling.pool.length, sampled);
      if (items.length > 0) {
        const logits = items.map((item) => sampling.logits[item]);
        const { index, probability } = plackettLucePick(logits, random());
        const item = items[index];
        open.explain(item, level, position);
        if (draft.explained) addEffect(draft, item, 'exploration', `sampled from ${items.length}`);
        place(item, probability, items);
        continue;
      }
    }
    // Never empty: length ≤ size, and every pinned item has a position of its own.
    const { items, level } = open.best(position, 1, null);
    open.explain(items[0], level, position);
    place(items[0], 1);
  }
  return placed;
}
