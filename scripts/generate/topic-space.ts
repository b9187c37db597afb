// The latent space of a generated world: sub-topics as unit vectors that lie near their topic and lean towards a
// second one, so that interests overlap. Called by post-table.ts, user-profile.ts and affinity.ts.
import { LEXICON } from './lexicon.ts';
import { Rng } from './rng.ts';

const LATENT_DIM = 24;
/** Parts of own topic, related topic and own noise: cosine ≈ .6 within a topic, ≈ .3 to the related one. */
const OWN = 0.72;
const RELATED = 0.38;
const NOISE = 0.45;
/** Exponent of the Zipf law of sub-topic popularity. */
const TOPIC_ZIPF = 0.6;

export interface TopicSpace {
  readonly size: number;
  /** [size × size] cosine between sub-topics. */
  readonly similarity: Float32Array;
  /** Running totals of popularity, for drawWeighted. */
  readonly popularity: Float64Array;
  /** The eight or so sub-topics nearest to each, nearest first, itself left out. */
  readonly nearest: number[][];
}

export function makeTopicSpace(seed: number): TopicSpace {
  const { topics, subTopics } = LEXICON;
  const rng = new Rng(seed, 'topic');
  const topicVectors = topics.map((_, index) => unit(gaussian(rng.at(index))));
  const vectors = subTopics.map(({ topic, related }, index) => {
    const noise = unit(gaussian(rng.at(1_000 + index)));
    return unit(
      noise.map((x, i) => NOISE * x + OWN * topicVectors[topic][i] + RELATED * topicVectors[related][i]),
    );
  });
  const size = subTopics.length;
  const similarity = new Float32Array(size * size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      similarity[i * size + j] = vectors[i].reduce((sum, x, k) => sum + x * vectors[j][k], 0);
    }
  }
  const nearest = subTopics.map((_, index) =>
    [...subTopics.keys()]
      .filter((other) => other !== index)
      .sort((x, y) => similarity[index * size + y] - similarity[index * size + x])
      .slice(0, 8),
  );
  return { size, similarity, popularity: zipfTotals(size, TOPIC_ZIPF, rng.at(10_000)), nearest };
}

/** Running totals of Zipf weights `rank^−exponent`, the ranks in random order. */
export function zipfTotals(size: number, exponent: number, rng: Rng): Float64Array {
  const ranks = Uint32Array.from({ length: size }, (_, index) => index + 1);
  for (let i = size - 1; i > 0; i--) {
    const j = rng.below(i + 1);
    [ranks[i], ranks[j]] = [ranks[j], ranks[i]];
  }
  const totals = new Float64Array(size);
  let sum = 0;
  for (let i = 0; i < size; i++) totals[i] = sum += ranks[i] ** -exponent;
  return totals;
}

function gaussian(rng: Rng): number[] {
  return Array.from({ length: LATENT_DIM }, () => rng.normal());
}

function unit(vector: number[]): number[] {
  const norm = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0));
  return vector.map((x) => x / norm);
}
