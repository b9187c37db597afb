// All that was seen of one stage of one trial, by this replica and by the others, and the verdict on it. A new stage
// starts with nothing.
import { z } from 'zod';
import type { FeedAnswer, ServedPost } from '../../contracts.ts';
import type { EventType } from '../../vocabulary.ts';
import { ArmEvidence, type ArmFigures, keptArm } from './arm-evidence.ts';
import { bucketOf } from './buckets.ts';
import type { Verdict } from './gates.ts';
import { type Judges, RANKER_JUDGES } from './judges.ts';
import type { RolloutConfig } from './rollout-config.ts';
import { keptShadow, ShadowEvidence, type ShadowFigures } from './shadow-evidence.ts';
import type { Trial } from './stage-file.ts';

export type TrialGroup = 'canary' | 'control';

export interface TrialFigures {
  verdict: Verdict;
  shadow: ShadowFigures;
  canary: ArmFigures | null;
  control: ArmFigures | null;
}

/** What one replica knows of a stage, as it is kept over a restart. */
export const keptTrial = z.strictObject({
  name: z.string(),
  trial: z.unknown(),
  shadow: keptShadow,
  canary: keptArm,
  control: keptArm,
});
export type KeptTrial = z.infer<typeof keptTrial>;

interface Sums extends Record<TrialGroup, ArmEvidence> {
  shadow: ShadowEvidence;
}

const newSums = (): Sums => ({
  shadow: new ShadowEvidence(),
  canary: new ArmEvidence(),
  control: new ArmEvidence(),
});

export class TrialEvidence {
  readonly trial: Trial;
  readonly #config: RolloutConfig;
  readonly #salt: string;
  readonly #name: string;
  readonly #judges: Judges;
  readonly #own = newSums();
  /** What others saw, and this replica before it was started again. */
  #others: Sums | null = null;

  /** `judges`: absent = as rankers are compared. */
  constructor(name: string, trial: Trial, config: RolloutConfig, judges = RANKER_JUDGES) {
    this.#name = name;
    this.#judges = judges;
    this.trial = trial;
    this.#config = config;
    this.#salt = `canary:${name}@${trial.version}`;
  }

  toJSON(): KeptTrial {
    const { shadow, canary, control } = this.#own;
    return {
      name: this.#name,
      trial: this.trial,
      shadow: shadow.toJSON(),
      canary: canary.toJSON(),
      control: control.toJSON(),
    };
  }

  /** Whether this was kept of the same stage of the same trial. */
  isOf(kept: KeptTrial): boolean {
    return kept.name === this.#name && JSON.stringify(kept.trial) === JSON.stringify(this.trial);
  }

  /** From now on it is judged together with these, and with no others. */
  join(others: readonly KeptTrial[]): void {
    const sums = newSums();
    for (const kept of others) {
      sums.shadow.addKept(kept.shadow);
      sums.canary.add(kept.canary);
      sums.control.add(kept.control);
    }
    this.#others = others.length === 0 ? null : sums;
  }

  /** Sticky: a larger share keeps every user of a smaller one. The control group is as large as the canary. */
  groupOf(userId: string): TrialGroup | null {
    const { stage, share } = this.trial;
    if (stage !== 'canary') return null;
    const bucket = bucketOf(this.#salt, userId);
    if (bucket < share) return 'canary';
    // From the other end, so that a control user of a small share is no canary user of a larger one before half.
    return bucket >= 1 - share ? 'control' : null;
  }

  /** Whether this request is to be scored by the trial too. */
  samples(requestId: string): boolean {
    return bucketOf('shadow', requestId) < this.#config.schedule.shadowSampleShare;
  }

  get shadow(): ShadowEvidence {
    return this.#own.shadow;
  }

  /** What this replica sees of a group. */
  arm(group: TrialGroup): Pick<ArmEvidence, 'answered' | 'failed' | 'served'> {
    return this.#own[group];
  }

  answered(group: TrialGroup, answer: Pick<FeedAnswer, 'degraded' | 'failures' | 'stageMs'>): void {
    this.#own[group].answered(answer);
  }

  failed(group: TrialGroup, reason: string): void {
    this.#own[group].failed(reason);
  }

  served(
    group: TrialGroup,
    requestId: string,
    posts: readonly ServedPost[],
    authorOf: (postId: string) => string | null,
  ): void {
    this.#own[group].served(requestId, posts, authorOf);
  }

  engaged(requestId: string, postId: string, type: EventType): void {
    if (!this.#own.canary.engaged(requestId, postId, type)) {
      this.#own.control.engaged(requestId, postId, type);
    }
  }

  figures(): TrialFigures {
    const { gates, schedule } = this.#config;
    const others = this.#others;
    const shadow = this.#own.shadow.figures(others?.shadow);
    if (this.trial.stage === 'shadow') {
      return { verdict: this.#judges.shadow(shadow, gates, schedule), shadow, canary: null, control: null };
    }
    const canary = this.#own.canary.figures(others?.canary);
    const control = this.#own.control.figures(others?.control);
    return {
      verdict: this.#judges.canary(canary, control, shadow, gates, schedule),
      shadow,
      canary,
      control,
    };
  }

  /** What comes after this stage when every gate passes: a canary's share, or promotion. */
  next(): { stage: 'canary'; share: number } | 'promote' {
    const { canaryShares } = this.#config.schedule;
    const { stage, share } = this.trial;
    const larger = canaryShares.find((one) => stage === 'shadow' || one > share);
    return larger === undefined ? 'promote' : { stage: 'canary', share: larger };
  }
}
