// The life of index versions in this replica: a published one is opened beside the one that serves, compared in shadow,
// answers a sticky share of the users, and goes on to everybody or back by its gates, also soon after that. What serves
// and what is refused is in the registry. Called by generations.ts, which owns what is open.
import { listVersions } from './candidates/index/artifact.ts';
import type { Generations, IndexPolicy } from './generations.ts';
import type { IndexChoices } from './index-choice.ts';
import { INDEX, indexRegistry } from './index-registry.ts';
import { ArmEvidence } from './ranking/lifecycle/arm-evidence.ts';
import { EvidenceFolder } from './ranking/lifecycle/evidence-folder.ts';
import type { Verdict } from './ranking/lifecycle/gates.ts';
import { INDEX_JUDGES, judgeIndexProbation } from './ranking/lifecycle/judges.ts';
import type { RolloutConfig } from './ranking/lifecycle/rollout-config.ts';
import { type HistoryEntry, NO_MODEL_STATE, type Trial } from './ranking/lifecycle/stage-file.ts';
import { TrialEvidence } from './ranking/lifecycle/trial-evidence.ts';
import type { StageMetrics } from './stage-metrics.ts';
import type { StagedRegistry, StagedState } from './staged-registry.ts';

export interface IndexRolloutOptions {
  indexDir: string;
  /** With the gates of an index. */
  config: RolloutConfig;
  choices: IndexChoices;
  metrics: StageMetrics;
  /** Why a version cannot be tried beside the one that serves, null when it can: it then serves at once, on probation. */
  tooLarge(version: string): Promise<string | null>;
  log(level: 'info' | 'warn', details: object, message: string): void;
}

export class IndexRollout implements IndexPolicy {
  readonly #options: IndexRolloutOptions;
  readonly #registry: StagedRegistry;
  readonly #kept: EvidenceFolder;
  #state: StagedState = { ...NO_MODEL_STATE, serving: null };

  constructor(options: IndexRolloutOptions) {
    this.#options = options;
    this.#registry = indexRegistry(options.indexDir);
    this.#kept = new EvidenceFolder(options.indexDir, INDEX, options.log);
    options.metrics.watch(() => {
      const { trial, serving } = options.choices;
      const stages = serving === null ? [] : [{ version: serving, stage: 'promoted' }];
      if (trial) stages.push({ version: trial.trial.version, stage: trial.trial.stage });
      return { stages, trial: trial?.trial.version ?? '', gates: trial?.figures().verdict.gates ?? [] };
    });
  }

  isCanary(userId: string): boolean {
    return this.#options.choices.isCanary(userId);
  }

  /** What served last: what was published since is no more than a wish. */
  async startWith(): Promise<string | null> {
    const serving = await this.#registry.serving();
    return serving !== null && (await listVersions(this.#options.indexDir)).includes(serving)
      ? serving
      : null;
  }

  /** What a ready check must name. */
  get problems(): string[] {
    const { serving, refused } = this.#state;
    const [last] = Object.entries(refused).sort(([, a], [, b]) => b.atMs - a.atMs);
    const isNewest = last !== undefined && serving !== null && last[0] > serving;
    return isNewest ? [`index ${last[0]} was rolled back (${last[1].reason}): ${serving} serves`] : [];
  }

  async step(generations: Generations, published: string | null): Promise<void> {
    this.#state = await this.#registry.read();
    await this.#follow(generations);
    await this.#take(generations, published);
    this.#state = await this.#registry.read();
    await this.#watch(generations);
    await this.#judge(generations);
    // What was decided is in force here at once.
    this.#state = await this.#registry.read();
    await this.#watch(generations);
    await this.#kept.keep(this.#options.choices.trial);
  }

  async close(): Promise<void> {
    await this.#kept.keep(this.#options.choices.trial, { now: true });
  }

  /** What another replica decided, or this one before it was started again. */
  async #follow(generations: Generations): Promise<void> {
    const { serving } = this.#state;
    if (serving === null || serving === generations.current.id || serving === generations.refused?.version)
      return;
    if ((await listVersions(this.#options.indexDir)).includes(serving))
      await this.#serve(generations, serving);
  }

  /** What a version that is published means. */
  async #take(generations: Generations, published: string | null): Promise<void> {
    const { id } = generations.current;
    if (this.#state.serving === null && (await listVersions(this.#options.indexDir)).includes(id)) {
      await this.#registry.promote(id, 'file', undefined);
      this.#state = await this.#registry.read();
    }
    const { serving, trial, refused, previous } = this.#state;
    if (published === null || published === generations.refused?.version) return;
    if (published === serving) {
      if (trial) await this.#registry.withdraw(trial.version, `${serving} is published again`);
    } else if (serving === null || published === previous) {
      // Nothing to compare with, or an operator's way back.
      if (await this.#serve(generations, published))
        await this.#registry.promote(published, 'file', undefined);
    } else if (trial === null && !Object.hasOwn(refused, published)) {
      // While a version is on trial a newer one waits: frequent builds would end every trial.
      await this.#begin(generations, published);
    }
  }

  async #begin(generations: Generations, version: string): Promise<void> {
    const { tooLarge, log } = this.#options;
    const { serving } = this.#state;
    const large = await tooLarge(version);
    if (large !== null) {
      if (await this.#serve(generations, version)) await this.#registry.promote(version, 'auto', large);
    } else if (await generations.tryOut(version)) {
      await this.#registry.startTrial({ version, stage: 'shadow', share: 0 }, null);
      log('info', { version, serving }, 'an index is on trial');
    }
  }

  async #watch(generations: Generations): Promise<void> {
    const { choices, config } = this.#options;
    const { trial, serving, previous, promotedAtMs } = this.#state;
    choices.serving = generations.current.id;
    if (trial === null || trial.version === serving) {
      choices.trial = null;
      await generations.dropTrial();
    } else if (generations.trial === trial.version || (await generations.tryOut(trial.version))) {
      if (JSON.stringify(choices.trial?.trial) !== JSON.stringify(trial)) {
        choices.trial = await this.#kept.joined(new TrialEvidence(INDEX, trial, config, INDEX_JUDGES));
      }
    } else {
      choices.trial = null;
      await this.#registry.rollBack(
        trial.version,
        'auto',
        generations.refusal ?? 'cannot be opened',
        trial.sinceMs,
      );
    }
    const isNew = promotedAtMs !== null && Date.now() - promotedAtMs < config.schedule.probationMs;
    if (!isNew || previous === null || choices.probation?.version !== serving) choices.probation = null;
  }

  async #judge(generations: Generations): Promise<void> {
    const { choices, config, log } = this.#options;
    const { gates, schedule } = config;
    const { probation, trial: evidence } = choices;
    if (probation) {
      const verdict = judgeIndexProbation(probation.evidence.figures(), probation.before, gates, schedule);
      if (verdict.outcome === 'roll_back') return this.#rollBack(generations, probation.version, verdict);
    }
    if (!evidence) return;
    const { trial } = evidence;
    const { verdict } = evidence.figures();
    if (verdict.outcome === 'roll_back') return this.#rollBack(generations, trial.version, verdict, trial);
    const age = Date.now() - trial.sinceMs;
    const isOverdue = age >= schedule.maxIndexStageMs;
    if (age < schedule.minStageMs || (verdict.outcome === 'wait' && !isOverdue)) return;
    const next = evidence.next();
    const reason = verdict.outcome === 'wait' ? `no gate failed in ${age} ms` : 'every gate passed';
    const entry: HistoryEntry | null =
      next === 'promote'
        ? await this.#registry.promote(trial.version, 'auto', reason, trial)
        : await this.#registry.startTrial({ version: trial.version, ...next }, trial);
    if (!entry) return;
    log('info', entry, 'an index moved on');
    if (next === 'promote') await this.#serve(generations, trial.version);
  }

  /** With the trial it ends, without one what serves and is on probation makes way for the version before. */
  async #rollBack(
    generations: Generations,
    version: string,
    { reason, gates }: Verdict,
    trial?: Trial,
  ): Promise<void> {
    const { choices, metrics, log } = this.#options;
    const gate = gates.find(({ status }) => status === 'fail')?.gate ?? 'unknown';
    if (trial) choices.trial = null;
    else choices.probation = null;
    metrics.rollbacks.inc({ reason: gate });
    log('warn', { version, reason }, 'an index was rolled back');
    const { previous } = this.#state;
    const entry = await this.#registry.rollBack(version, 'auto', reason ?? gate, trial?.sinceMs);
    if (trial) await generations.dropTrial();
    else if (entry && previous !== null) await generations.serve(previous);
    choices.serving = generations.current.id;
  }

  /** Serves a version, on probation against what was seen of the one before. */
  async #serve(generations: Generations, version: string): Promise<boolean> {
    const { choices } = this.#options;
    const before = choices.figuresOf(generations.current.id);
    if (choices.trial?.trial.version === version) choices.trial = null;
    if (!(await generations.serve(version))) return false;
    choices.serving = version;
    choices.probation = { version, evidence: new ArmEvidence(), before };
    return true;
  }
}
