// Which rules a user gets while a version is on trial, and what came of it. Buckets have the version's own salt, so that
// arms of rules and of rankers are independent. On the request's path: memory only, never throws.
import type { Change, FeedAnswer, ServingRecord } from './contracts.ts';
import { requestOf } from './model-choice.ts';
import type { ArmEvidence } from './ranking/lifecycle/arm-evidence.ts';
import type { TrialEvidence, TrialGroup } from './ranking/lifecycle/trial-evidence.ts';
import { DEFAULT_RULES_VERSION } from './rerank/rules-file.ts';

export interface RulesChoice {
  /** First 12 hex digits of the text's sha256, `default` without a file. */
  version: string;
  group: TrialGroup | null;
}

export interface RulesChoicesOptions {
  /** A key of the author of a servable post, null when it is gone. */
  authorOf(postId: string): string | null;
  /** A request of the canary failed: worth a look at the gates. */
  onFailure(): void;
}

export class RulesChoices {
  readonly #options: RulesChoicesOptions;
  /** Set by the coordinator, once every worker holds the versions. */
  serving: string = DEFAULT_RULES_VERSION.version;
  trial: TrialEvidence | null = null;
  /** Rules that came to everybody a short time ago. */
  probation: { version: string; evidence: ArmEvidence } | null = null;

  constructor(options: RulesChoicesOptions) {
    this.#options = options;
  }

  choose(userId: string): RulesChoice {
    const group = this.trial?.groupOf(userId) ?? null;
    return { version: this.#versionOf(group), group };
  }

  answered(
    { group, version }: RulesChoice,
    answer: Pick<FeedAnswer, 'rules' | 'degraded' | 'stageMs'>,
  ): void {
    if (version !== answer.rules) return;
    // What the ranker failed in is not the rules' fault, and the time that is theirs is re-ranking's.
    const degraded = answer.degraded.filter((cause) => cause === 'ranker_late');
    const seen = { degraded, failures: [], stageMs: { rank: answer.stageMs.rerank ?? 0 } };
    if (this.probation?.version === version) this.probation.evidence.answered(seen);
    if (this.#counts(group, version)) this.trial?.answered(group, seen);
  }

  /** No slate came of this choice, and not for want of time or room. */
  failed({ group, version }: RulesChoice, reason: string): void {
    const onProbation = this.probation?.version === version;
    if (onProbation) this.probation?.evidence.failed(reason);
    if (this.#counts(group, version)) this.trial?.failed(group, reason);
    if (onProbation || (group === 'canary' && this.#counts(group, version))) this.#options.onFailure();
  }

  /** A page as it was delivered; one cut from a slate of other rules than the user's is nobody's evidence. */
  served({
    requestId,
    userId,
    rules,
    posts,
  }: Pick<ServingRecord, 'requestId' | 'userId' | 'rules' | 'posts'>): void {
    const group = this.trial?.groupOf(userId) ?? null;
    if (this.#counts(group, rules)) this.trial?.served(group, requestId, posts, this.#options.authorOf);
  }

  /** What readers did, wherever it came in. */
  onChange(change: Change): void {
    if (change.kind !== 'event' || change.event.token === undefined || this.trial === null) return;
    const { token, postId, type } = change.event;
    this.trial.engaged(requestOf(token), postId, type);
  }

  #versionOf(group: TrialGroup | null): string {
    return group === 'canary' && this.trial ? this.trial.trial.version : this.serving;
  }

  #counts(group: TrialGroup | null, version: string): group is TrialGroup {
    return group !== null && version === this.#versionOf(group);
  }
}
