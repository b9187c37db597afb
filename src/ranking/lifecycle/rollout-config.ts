// Gates and schedule of the model life cycle, and the experiments file; both checked here, defaults with their reason.
import { z } from 'zod';
import { FeedrankError } from '../../errors.ts';
import { HEADS } from '../../vocabulary.ts';
import { bucketOf } from './buckets.ts';

const ratio = (value: number) => z.number().positive().default(value);
const samples = (value: number) => z.number().int().min(1).max(10_000_000).default(value);

export const gatesSchema = z.strictObject({
  /**
   * Spearman's correlation with the serving model on the same candidates. Measured on 240 posts: random weights .38 at
   * most, the light ranker against the main one .72 (test/fault/models).
   */
  minCorrelation: z.number().min(-1).max(1).default(0.6),
  /**
   * Stability index of the values; .25 is customarily a major shift, twice that stops. Measured: the light ranker
   * against the main one 1.3, odds 4.5 times too high 8.3.
   */
  maxDrift: ratio(0.5),
  /** Time a row, trial ÷ serving. */
  maxLatencyRatio: ratio(2),
  /** Share of answers in which the model failed; three failures are needed at least. */
  maxFailureShare: z.number().min(0).max(1).default(0.01),
  /** Share of answers for which the model was late, above the control's. */
  maxLateShare: z.number().min(0).max(1).default(0.05),
  /** Probability that two served posts have the same author, canary ÷ control. */
  maxAuthorConcentration: ratio(1.5),
  /** Share of posts by authors the user does not follow, absolute difference. */
  maxOutOfNetworkChange: z.number().min(0).max(1).default(0.2),
  /** Effective number of different posts served (inverse Simpson), canary ÷ control. */
  minCoverage: ratio(0.5),
  /** Mean predicted probability of a rejection, canary ÷ control. */
  maxNegatives: ratio(2),
  /** Clicks and likes a served post, canary ÷ control. */
  minEngagement: ratio(0.8),
  /** Observed ÷ predicted engagement, canary ÷ control: within [1 ÷ this, this]. */
  maxMiscalibration: ratio(2),
});

/** Limits of a trial of rules: rules are often meant to move what a ranker must leave alone. */
export const rulesGatesSchema = z.strictObject({
  /** Share of requests that failed; three failures are needed at least. */
  maxFailureShare: z.number().min(0).max(1).default(0.01),
  maxLateShare: z.number().min(0).max(1).default(0.05),
  /** Re-ranking time, canary ÷ control. */
  maxLatencyRatio: ratio(3),
  /** An author cap of two posts in a window instead of one doubles it. */
  maxAuthorConcentration: ratio(2.5),
  /** A share of followed authors moves it by design; half of the feed turned over wants an operator. */
  maxOutOfNetworkChange: z.number().min(0).max(1).default(0.35),
  minCoverage: ratio(0.4),
  maxNegatives: ratio(2),
  minEngagement: ratio(0.8),
});

/** Limits of a trial of an index: it holds the same posts, so little should move. Where they are a ranker's, they are its. */
export const indexGatesSchema = gatesSchema
  .pick({
    maxFailureShare: true,
    maxLatencyRatio: true,
    maxDrift: true,
    maxAuthorConcentration: true,
    maxOutOfNetworkChange: true,
    minCoverage: true,
    maxNegatives: true,
    minEngagement: true,
    maxMiscalibration: true,
  })
  .extend({
    /** Share of answers without a post, above the control's. */
    maxLateShare: z.number().min(0).max(1).default(0.02),
    /** Share of the serving index's candidates found too: two calibrated searches of recall .9 share .81 at least. */
    minOverlap: z.number().min(0).max(1).default(0.7),
  });

export const scheduleSchema = z.strictObject({
  /** Share of feeds that are scored by the trial too while it is in shadow. */
  shadowSampleShare: z.number().min(0).max(1).default(0.05),
  /** Compared feeds before the shadow is judged. */
  shadowSamples: samples(200),
  /** Shares of the users, one canary after the other; at most .5, the control group needs as many. */
  canaryShares: z.array(z.number().positive().max(0.5)).min(1).default([0.05, 0.25]),
  /** Feeds of canary and of control before the canary is judged. */
  canarySlates: samples(500),
  /** Engagements predicted on canary pages before calibration is judged. */
  calibrationEngagements: samples(50),
  /** No stage is shorter: daily rhythms and slow failures need time. */
  minStageMs: z
    .number()
    .int()
    .min(0)
    .max(30 * 86_400_000)
    .default(600_000),
  /** A promoted version that fails within this time goes back by itself. */
  probationMs: z
    .number()
    .int()
    .min(0)
    .max(30 * 86_400_000)
    .default(1_800_000),
  /**
   * An index stage that is older goes on where no gate failed, whatever it still waits for: two indexes in memory and a
   * live tier that fills are not held for a site without readers.
   */
  maxIndexStageMs: z
    .number()
    .int()
    .min(0)
    .max(30 * 86_400_000)
    .default(3_600_000),
});

export const rolloutConfigSchema = z.strictObject({
  gates: gatesSchema.prefault({}),
  schedule: scheduleSchema.prefault({}),
  /** Gates of a rules file. */
  rules: rulesGatesSchema.prefault({}),
  /** Gates of an index version. */
  index: indexGatesSchema.prefault({}),
});

export type Gates = z.infer<typeof gatesSchema>;
export type Schedule = z.infer<typeof scheduleSchema>;
export type RolloutConfig = z.infer<typeof rolloutConfigSchema>;

const armSchema = z.strictObject({
  /** Stands in the answer's model name, the serving log and the metrics. */
  name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,31}$/),
  share: z.number().positive().max(1),
  /** Version of the ranker; absent = the one that serves. */
  ranker: z
    .string()
    .regex(/^[1-9]\d{0,8}$/)
    .optional(),
  /** Value weights of single heads; the others keep theirs. */
  weights: z.partialRecord(z.enum(HEADS), z.number().min(-1000).max(1000)).optional(),
});

export const experimentsSchema = z
  .strictObject({
    /** Another name shuffles the users anew. */
    name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,31}$/),
    arms: z.array(armSchema).min(1).max(20),
  })
  .superRefine(({ arms }, context) => {
    const total = arms.reduce((sum, arm) => sum + arm.share, 0);
    if (total > 1 + 1e-9) {
      context.addIssue({ code: 'custom', path: ['arms'], message: `shares add up to ${total}, at most 1` });
    }
    const twice = arms.find((arm, i) => arms.findIndex((other) => other.name === arm.name) !== i);
    if (twice)
      context.addIssue({ code: 'custom', path: ['arms'], message: `two arms are named ${twice.name}` });
  });

export type Arm = z.infer<typeof armSchema>;
export type Experiments = z.infer<typeof experimentsSchema>;

/** The user's arm, null for the users that no arm has. Sticky for one `name`. */
export function armOf(experiments: Experiments | null, userId: string): Arm | null {
  if (experiments === null) return null;
  const bucket = bucketOf(`experiment:${experiments.name}`, userId);
  let from = 0;
  for (const arm of experiments.arms) {
    from += arm.share;
    if (bucket < from) return arm;
  }
  return null;
}

/** @throws FeedrankError(invalid_input) naming the first bad key. */
export function parseRolloutConfig(input: unknown): RolloutConfig {
  return parse(rolloutConfigSchema, input ?? {}, 'rollout');
}

/** The same schedule, judged by the limits of rules. */
export function rulesRolloutOf(config: RolloutConfig): RolloutConfig {
  return { ...config, gates: { ...config.gates, ...config.rules } };
}

/** The same schedule, judged by the limits of an index. */
export function indexRolloutOf(config: RolloutConfig): RolloutConfig {
  const { minOverlap, ...limits } = config.index;
  return { ...config, gates: { ...config.gates, ...limits, minCorrelation: minOverlap } };
}

/** @throws FeedrankError(invalid_input) naming the first bad key. */
export function parseExperiments(input: unknown): Experiments {
  return parse(experimentsSchema, input, 'experiments');
}

function parse<T>(schema: z.ZodType<T>, input: unknown, what: string): T {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0];
  const field = [what, ...path].join('.');
  throw new FeedrankError('invalid_input', `${field}: ${message}`, { fields: [{ field, reason: message }] });
}
