// All that one replica saw of one stage of one trial, and the verdict on it. A new stage starts with nothing.
import { z } from 'zod';
import type { FeedAnswer, ServedPost } from '../../contracts.ts';
import type { EventType } from '../../vocabulary.ts';
import { ArmEvidence, type ArmFigures, keptArm } from './arm-evidence.ts';
import { bucketOf } from './buckets.ts';
import { judgeCanary, judgeShadow, type Verdict } from './gates.ts';
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

export class TrialEvidence {
  readonly trial: Trial;
  readonly #config: RolloutConfig;
  readonly #salt: string;
  readonly #name: string;
  readonly #judge: typeof judgeCanary;
  #shadow = new ShadowEvidence();
  #arms: Record<TrialGroup, ArmEvidence> = { canary: new ArmEvidence(), control: new ArmEvidence() };

  /** `judge` compares canary and control; absent: as rankers are compared. */
  constructor(name: string, trial: Trial, config: RolloutConfig, judge = judgeCanary) {
    this.#name = name;
    this.#judge = judge;
    this.trial = trial;
    this.#config = config;
    this.#salt = `canary:${name}@${trial.version}`;
  }

  toJSON(): KeptTrial {
    const { canary, control } = this.#arms;
    return {
      name: this.#name,
      trial: this.trial,
      shadow: this.#shadow.toJSON(),
      canary: canary.toJSON(),
      control: control.toJSON(),
    };
  }

  /** Goes on from what was kept of this same stage of this same trial; says whether it was. */
  restore(kept: KeptTrial): boolean {
    if (kept.name !== this.#name || JSON.stringify(kept.trial) !== JSON.stringify(this.trial)) return false;
    this.#shadow = ShadowEvidence.of(kept.shadow);
    this.#arms = { canary: ArmEvidence.of(kept.canary), control: ArmEvidence.of(kept.control) };
    return true;
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
    return this.#shadow;
  }

  answered(group: TrialGroup, answer: Pick<FeedAnswer, 'degraded' | 'failures' | 'stageMs'>): void {
    this.#arms[group].answered(answer);
  }

  failed(group: TrialGroup, reason: string): void {
    this.#arms[group].failed(reason);
  }

  served(
    group: TrialGroup,
    requestId: string,
    posts: readonly ServedPost[],
    authorOf: (postId: string) => string | null,
  ): void {
    this.#arms[group].served(requestId, posts, authorOf);
  }

  engaged(requestId: string, postId: string, type: EventType): void {
    if (!this.#arms.canary.engaged(requestId, postId, type)) {
      this.#arms.control.engaged(requestId, postId, type);
    }
  }

  figures(): TrialFigures {
    const { gates, schedule } = this.#config;
    const shadow = this.#shadow.figures();
    if (this.trial.stage === 'shadow') {
      return { verdict: judgeShadow(shadow, gates, schedule), shadow, canary: null, control: null };
    }
    const [canary, control] = [this.#arms.canary.figures(), this.#arms.control.figures()];
    return { verdict: this.#judge(canary, control, shadow, gates, schedule), shadow, canary, control };
  }

  /** What comes after this stage when every gate passes: a canary's share, or promotion. */
  next(): { stage: 'canary'; share: number } | 'promote' {
    const { canaryShares } = this.#config.schedule;
    const { stage, share } = this.trial;
    const larger = canaryShares.find((one) => stage === 'shadow' || one > share);
    return larger === undefined ? 'promote' : { stage: 'canary', share: larger };
  }
}
