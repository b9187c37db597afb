// What an explored request sampled, step by step, as the serving log keeps it: enough to compute the probability of the
// same picks under other value weights (scripts/evaluate/ope-exploration-record.ts). Made for explored requests only.
import type { Catalogue, ExplorationRecord, RankedSet } from '../contracts.ts';
import { HEADS, type Head } from '../vocabulary.ts';
import type { Placed, Sampling } from './arrange.ts';

/** Steps that are logged, from the top: some 12 kB of JSON at most, and estimates below them have no support anyway. */
const LOGGED_STEPS = 50;

export interface SampledOrder {
  /** Indexes into the RankedSet. */
  pool: Uint32Array;
  /** By place in the pool: product of the boosts; null where no boost applied. */
  boosts: Float32Array | null;
  temperature: number;
  steps: SampledStep[];
}

export interface SampledStep {
  /** Index into the RankedSet of what stands here. */
  item: number;
  /** Its place in the pool; null where nothing was sampled (a pin, or a used-up pool). */
  pick: number | null;
  propensity: number;
  /** Bitmap over the pool of what could be picked; null = all that the steps before left. */
  eligible: Uint8Array | null;
}

/** `before` are the utilities without boosts, by item; `utility` those that were sampled by. */
export function sampledOrder(
  placed: readonly Placed[],
  { pool, depth }: Sampling,
  temperature: number,
  before: Float64Array,
  utility: Float64Array,
): SampledOrder {
  const placeOf = new Map<number, number>();
  pool.forEach((item, place) => void placeOf.set(item, place));
  let left = pool.length;
  const steps = placed.slice(0, Math.min(depth, LOGGED_STEPS)).map(({ item, propensity, sampledFrom }) => {
    if (sampledFrom === null) return { item, pick: null, propensity, eligible: null };
    const eligible = sampledFrom.length === left ? null : new Uint8Array(Math.ceil(pool.length / 8));
    if (eligible) {
      for (const open of sampledFrom) {
        const place = placeOf.get(open)!;
        eligible[place >> 3] |= 1 << (place & 7);
      }
    }
    left--;
    return { item, pick: placeOf.get(item)!, propensity, eligible };
  });
  const boosted = pool.some((item) => utility[item] !== before[item]);
  const boosts = boosted ? Float32Array.from(pool, (item) => utility[item] / before[item]) : null;
  return { pool, boosts, temperature, steps };
}

/** The record of a sampled order; undefined where a fallback without probabilities ranked. */
export function explorationRecord(
  sampled: SampledOrder,
  ranked: RankedSet,
  weights: Readonly<Record<Head, number>>,
  catalogue: Pick<Catalogue, 'keyOf'>,
): ExplorationRecord | undefined {
  const { probabilities } = ranked;
  if (probabilities === null) return undefined;
  const heads = HEADS.length;
  const ofPool = new Float32Array(sampled.pool.length * heads);
  sampled.pool.forEach((item, place) => {
    ofPool.set(probabilities.subarray(item * heads, (item + 1) * heads), place * heads);
  });
  return {
    temperature: sampled.temperature,
    probabilities: base64(ofPool),
    boosts: sampled.boosts && base64(sampled.boosts),
    weights: HEADS.map((head) => weights[head]),
    steps: sampled.steps.map(({ item, pick, propensity, eligible }) => ({
      postId: catalogue.keyOf(ranked.rows[item]),
      pick,
      propensity,
      eligible: eligible && base64(eligible),
    })),
  };
}

/** Little-endian, as every platform that the service runs on is. */
function base64({ buffer, byteOffset, byteLength }: Float32Array | Uint8Array): string {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength).toString('base64');
}
