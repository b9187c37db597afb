// What an explored request must log so that another policy's probability of the same picks can be computed: the pool
// that was sampled from. Read from a serving record's `exploration`. Called by the serving log's evaluation.
import { z } from 'zod';
import type { ExplorationRecord, ServingRecord } from '../../src/contracts.ts';
import { explorationLogits } from '../../src/rerank/exploration.ts';
import { HEADS } from '../../src/vocabulary.ts';

/** Least utility of a pool's item, as the re-ranker's draft sets it. */
const LEAST_UTILITY = 1e-6;

const stepSchema = z.object({
  postId: z.string(),
  pick: z.number().int().nonnegative().nullable(),
  propensity: z.number().gt(0).lte(1),
  eligible: z.string().nullable(),
});

/** What may come from any log of the past; the fields' meaning is with the type. */
const explorationSchema: z.ZodType<ExplorationRecord> = z.object({
  temperature: z.number().positive(),
  probabilities: z.string().min(1),
  boosts: z.string().nullable(),
  weights: z.array(z.number()).length(HEADS.length),
  steps: z.array(stepSchema),
});

export interface ExplorationStep {
  postId: string;
  pick: number | null;
  propensity: number;
  /** [size] 1 = could be picked here. */
  eligible: Uint8Array;
}

export interface Exploration {
  size: number;
  temperature: number;
  /** [size, HEADS.length] */
  probabilities: Float32Array;
  /** [size] */
  boosts: Float32Array;
  weights: Float64Array;
  steps: ExplorationStep[];
}

/** null when the record has no pool, or one that contradicts itself. */
export function readExploration(record: ServingRecord): Exploration | null {
  const parsed = explorationSchema.safeParse(record.exploration);
  if (!parsed.success) return null;
  const { temperature, weights, steps } = parsed.data;
  const probabilities = floats(parsed.data.probabilities);
  const size = probabilities.length / HEADS.length;
  if (!Number.isInteger(size) || !probabilities.every((p) => p >= 0 && p <= 1)) return null;
  const boosts = parsed.data.boosts === null ? new Float32Array(size).fill(1) : floats(parsed.data.boosts);
  if (boosts.length !== size || !boosts.every((boost) => boost > 0 && Number.isFinite(boost))) return null;

  const taken = new Uint8Array(size);
  const read: ExplorationStep[] = [];
  for (const { postId, pick, propensity, eligible } of steps) {
    const open = new Uint8Array(size);
    const bits = eligible === null ? null : Buffer.from(eligible, 'base64');
    for (let item = 0; item < size; item++) {
      const named = bits === null || ((bits[item >> 3] ?? 0) & (1 << (item & 7))) !== 0;
      open[item] = named && taken[item] === 0 ? 1 : 0;
    }
    if (pick !== null) {
      if (pick >= size || open[pick] === 0) return null;
      taken[pick] = 1;
    }
    read.push({ postId, pick, propensity, eligible: open });
  }
  return { size, temperature, probabilities, boosts, weights: Float64Array.from(weights), steps: read };
}

function floats(base64: string): Float32Array {
  const bytes = Buffer.from(base64, 'base64');
  const values = new Float32Array(Math.floor(bytes.length / 4));
  for (let i = 0; i < values.length; i++) values[i] = bytes.readFloatLE(i * 4);
  return values;
}

/** Σ over heads of weight × probability for each item of the pool. [size] */
function poolScores({ size, probabilities }: Exploration, weights: ArrayLike<number>): Float64Array {
  const scores = new Float64Array(size);
  for (let item = 0; item < size; item++) {
    for (let h = 0; h < HEADS.length; h++)
      scores[item] += weights[h] * probabilities[item * HEADS.length + h];
  }
  return scores;
}

/**
 * Logits with which the re-ranker would sample this pool under other value weights, by its own rule: utility between 0
 * and 1 times the boosts, over its standard deviation and the temperature. The lowest score that utilities are scaled
 * by is the pool's, not that of all that was ranked: it matters only where boosts meet negative scores. [size]
 */
export function poolLogits(exploration: Exploration, weights: ArrayLike<number>): Float64Array {
  const { size, boosts, temperature } = exploration;
  const scores = poolScores(exploration, weights);
  const low = Math.min(0, ...scores);
  const span = Math.max(...scores) - low;
  const utility = scores.map((score, item) => {
    const scaled = span > 0 ? Math.max(LEAST_UTILITY, (score - low) / span) : 1;
    return scaled * boosts[item];
  });
  const all = Uint32Array.from(utility.keys());
  // The rule reads a draft's size and utilities only.
  return explorationLogits({ size, utility } as Parameters<typeof explorationLogits>[0], all, temperature);
}

/** Plackett–Luce probability of each eligible item at a step (Luce 1959, Plackett 1975); 0 for the others. [size] */
export function stepProbabilities(logits: Float64Array, eligible: Uint8Array): Float64Array {
  let largest = Number.NEGATIVE_INFINITY;
  for (let item = 0; item < logits.length; item++) {
    if (eligible[item] === 1 && logits[item] > largest) largest = logits[item];
  }
  const probabilities = new Float64Array(logits.length);
  let total = 0;
  for (let item = 0; item < logits.length; item++) {
    if (eligible[item] === 1) total += probabilities[item] = Math.exp(logits[item] - largest);
  }
  for (let item = 0; item < logits.length; item++) probabilities[item] /= total;
  return probabilities;
}
