// What a feed shows in order to learn: sampled orders for a share of the requests, and slots for posts that few
// people were shown. Every choice comes with its probability, given the posts above it.
import { createdAtMs, FIELD, RECORD_WORDS } from '../post-record.ts';
import type { Draft } from './draft.ts';
import type { RulesConfig } from './rules-config.ts';

/** A click rate of 5 %, usual for feeds, until the pool has impressions of its own. */
const PRIOR_IMPRESSIONS = 20;

export interface Choice {
  /** Position in the list that was chosen from. */
  index: number;
  /** Probability of this choice; above 0. */
  probability: number;
}

/**
 * One Plackett–Luce pick (Luce 1959, Plackett 1975): item i with probability exp(logit i) ÷ Σ exp(logit).
 * Picks in a row without replacement have the distribution of Gumbel top-k (Kool et al., ICML 2019); picking one by
 * one keeps the probability exact where rules narrow the choice at some positions. `random` in [0, 1).
 */
export function plackettLucePick(logits: readonly number[], random: number): Choice {
  let largest = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > largest) largest = logit;
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - largest);
  let left = random * total;
  let index = -1;
  for (let i = 0; i < logits.length; i++) {
    const weight = Math.exp(logits[i] - largest);
    if (weight === 0) continue;
    index = i;
    left -= weight;
    if (left < 0) break;
  }
  return { index, probability: Math.exp(logits[index] - largest) / total };
}

/** Logit of each item of `pool`: its utility in standard deviations of the pool, over the temperature. */
export function explorationLogits(draft: Draft, pool: Uint32Array, temperature: number): Float64Array {
  let sum = 0;
  let squares = 0;
  for (const item of pool) sum += draft.utility[item];
  const mean = sum / Math.max(1, pool.length);
  for (const item of pool) squares += (draft.utility[item] - mean) ** 2;
  const deviation = Math.sqrt(squares / Math.max(1, pool.length));
  const logits = new Float64Array(draft.size);
  if (!(deviation > 0)) return logits;
  for (const item of pool) logits[item] = (draft.utility[item] - mean) / deviation / temperature;
  return logits;
}

/** 1 for each item that counts as fresh: new and shown to few. */
export function freshItems(draft: Draft, config: RulesConfig['freshSlots']): Uint8Array {
  const { size, rows } = draft;
  const { records } = draft.catalogue;
  const oldestMs = draft.query.nowMs - config.maxAgeHours * 3_600_000;
  const fresh = new Uint8Array(size);
  for (let item = 0; item < size; item++) {
    const row = rows[item];
    const isNew = createdAtMs(records, row) >= oldestMs;
    if (isNew && records.f32[row * RECORD_WORDS + FIELD.impressions] <= config.maxImpressions)
      fresh[item] = 1;
  }
  return fresh;
}

export function isFreshSlot(config: RulesConfig['freshSlots'], position: number): boolean {
  return (
    config.every !== null && position >= config.offset && (position - config.offset) % config.every === 0
  );
}

/** Chooses one of `pool` (items, not empty): uniformly, or the largest upper confidence bound of the click rate. */
export function chooseFresh(
  draft: Draft,
  pool: readonly number[],
  config: RulesConfig['freshSlots'],
  random: () => number,
): Choice {
  if (config.choice === 'uniform') {
    return { index: Math.floor(random() * pool.length), probability: 1 / pool.length };
  }
  // UCB1 (Auer et al., 2002) with every post credited one impression at the pool's mean click rate, which starts
  // from one click in PRIOR_IMPRESSIONS.
  const { f32 } = draft.catalogue.records;
  const counter = (item: number, field: number): number =>
    Math.max(0, f32[draft.rows[item] * RECORD_WORDS + field]) || 0;
  let impressions = 0;
  let clicks = 0;
  for (const item of pool) {
    impressions += counter(item, FIELD.impressions);
    clicks += counter(item, FIELD.clicks);
  }
  const mean = (clicks + 1) / (impressions + PRIOR_IMPRESSIONS);
  let index = 0;
  let best = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < pool.length; i++) {
    const trials = counter(pool[i], FIELD.impressions) + 1;
    const rate = (counter(pool[i], FIELD.clicks) + mean) / trials;
    const bound = rate + config.ucbWeight * Math.sqrt((2 * Math.log(impressions + pool.length)) / trials);
    if (bound > best) {
      best = bound;
      index = i;
    }
  }
  return { index, probability: 1 };
}
