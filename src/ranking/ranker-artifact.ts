// What a model folder must say to be a ranker of this code: its kind, features and heads, and which of the features are
// the same for all candidates of a request. Called by the rankers, here and on the device, and by the check of a version.
import { FeedrankError } from '../errors.ts';
import { FeatureEncoder } from '../features/feature-encoder.ts';
import { compilePlan, type FeaturePlan } from '../features/feature-schema.ts';
import type { ModelArtifact } from '../features/model-artifact.ts';
import { HEADS } from '../vocabulary.ts';

export interface RankerArtifact {
  /** `ranker@3` */
  model: string;
  /** Of the input `features` [N, D]. */
  encoder: FeatureEncoder;
  /**
   * Of the input `user`: [1, U] for all candidates, or [N, U] with a row for each. null where the model has no such
   * input and `features` carries everything.
   */
  user: FeaturePlan | null;
  /** Candidates that the light ranker leaves to this one; 0 = all. */
  preRank: number;
  /** `post-tower@1`: the space whose vectors it was trained on. */
  tower: string | undefined;
  /** True when its features read single coordinates of the vectors: then it fits that space only. */
  needsTower: boolean;
}

const MAX_PRE_RANKED = 5000;

/**
 * @throws FeedrankError(corrupt_artifact) for another kind, unknown features or other heads, and where a feature said
 * to be the same for a whole request is not.
 */
export function readRankerArtifact({ manifest }: Pick<ModelArtifact, 'manifest'>): RankerArtifact {
  const model = `${manifest.name}@${manifest.version}`;
  const { features, heads, perRequest = [], preRank = 0 } = manifest as Record<string, unknown>;
  if (manifest.kind !== 'ranker') throw corruptRanker(model, `is a ${manifest.kind}, not a ranker`);
  if (!isStrings(features)) throw corruptRanker(model, 'features: must be a list of feature@version');
  if (!isStrings(heads) || heads.join() !== HEADS.join()) {
    throw corruptRanker(model, `heads: must be ${HEADS.join(', ')}`);
  }
  if (!isStrings(perRequest)) throw corruptRanker(model, 'perRequest: must be a list of feature@version');
  if (typeof preRank !== 'number' || !Number.isInteger(preRank) || preRank < 0 || preRank > MAX_PRE_RANKED) {
    throw corruptRanker(model, `preRank: must be a whole number from 0 to ${MAX_PRE_RANKED}`);
  }
  const whole = compilePlan(features);
  const rest = features.slice(perRequest.length);
  if (perRequest.some((id, i) => features[i] !== id) || rest.length === 0) {
    throw corruptRanker(model, 'perRequest: must be the first of its features, and not all of them');
  }
  const user = perRequest.length === 0 ? null : compilePlan(perRequest);
  const varies = user?.features.find(({ group }) => group !== 'user' && group !== 'context');
  if (varies) throw corruptRanker(model, `perRequest: ${varies.id} differs from candidate to candidate`);
  return {
    model,
    encoder: new FeatureEncoder(user ? compilePlan(rest) : whole),
    user,
    preRank,
    tower: manifest.tower,
    needsTower: whole.has('hadamard@1'),
  };
}

export function corruptRanker(model: string, reason: string): FeedrankError {
  return new FeedrankError('corrupt_artifact', `model ${model}: ${reason}`);
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}
