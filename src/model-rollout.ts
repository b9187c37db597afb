// The life of a ranker in this replica: watches the registry, has new versions checked, opens them in the workers, and
// moves a trial on or back by its gates. The state is in the registry, so replicas that share it agree.
import { join } from 'node:path';
import type { ModelAdmin } from './api/app-context.ts';
import { FeedrankError } from './errors.ts';
import type { ExperimentsFile } from './experiments-file.ts';
import { INDEX } from './index-registry.ts';
import { LightRollout } from './light-rollout.ts';
import type { ModelChoices } from './model-choice.ts';
import { ArmEvidence } from './ranking/lifecycle/arm-evidence.ts';
import { EvidenceFolder } from './ranking/lifecycle/evidence-folder.ts';
import { judgeProbation, type Verdict } from './ranking/lifecycle/gates.ts';
import type { RolloutConfig } from './ranking/lifecycle/rollout-config.ts';
import { promote, rollBack, startTrial } from './ranking/lifecycle/stage-changes.ts';
import { type HistoryEntry, readHistory, type Trial } from './ranking/lifecycle/stage-file.ts';
import { TrialEvidence } from './ranking/lifecycle/trial-evidence.ts';
import { LIGHT_RANKER, MAIN_RANKER, readCurrent, versionsOf } from './ranking/model-registry.ts';
import { type OtherRefusal, RegistryView, type RegistryViewOptions } from './registry-view.ts';
import { RepeatedCheck } from './repeated-check.ts';
import type { RolloutMetrics } from './rollout-metrics.ts';
import { type RolloutMode, type RolloutStatus, rolloutStatus, stagedModels } from './rollout-status.ts';
import { rulesFolder } from './rules-registry.ts';
import type { Refusal } from './serving-models.ts';

export interface ModelRolloutOptions extends RegistryViewOptions {
  /** `auto`: a new version goes through shadow and canaries to promotion by itself; `manual`: an operator moves it. */
  mode: RolloutMode;
  config: RolloutConfig;
  choices: ModelChoices;
  experiments: ExperimentsFile;
  metrics: RolloutMetrics;
  pollMs: number;
  /** What was refused of other artifacts, for the history. */
  refusals(): OtherRefusal[];
}

export class ModelRollout implements ModelAdmin {
  readonly #options: ModelRolloutOptions;
  readonly #registry: RegistryView;
  readonly #light: LightRollout;
  readonly #kept: EvidenceFolder;
  readonly #repeated: RepeatedCheck;

  constructor(options: ModelRolloutOptions) {
    this.#options = options;
    this.#registry = new RegistryView(options);
    this.#light = new LightRollout(
      {
        ...options,
        choices: options.choices.light,
        onRollback: (gate) => options.metrics.rollbacks.inc({ reason: gate }),
      },
      this.#registry,
    );
    this.#kept = new EvidenceFolder(options.modelsDir, MAIN_RANKER, options.log);
    this.#repeated = new RepeatedCheck({
      step: () => this.#step(),
      pollMs: options.pollMs,
      onProblem: (reason) => options.log('warn', { reason }, 'the models could not be checked'),
    });
    options.metrics.watch(() => {
      const { choices, models } = options;
      const trials = [
        { name: MAIN_RANKER, evidence: choices.trial },
        { name: LIGHT_RANKER, evidence: choices.light.trial },
      ].flatMap(({ name, evidence }) => (evidence ? [{ name, evidence }] : []));
      return {
        models: stagedModels(models, choices.trial?.trial ?? null, choices.light.trial?.trial ?? null),
        trials: trials.map(({ name, evidence }) => ({
          model: `${name}@${evidence.trial.version}`,
          gates: evidence.figures().verdict.gates,
        })),
      };
    });
  }

  /**
   * Opens what serves in every worker: the promoted version, else the best one below it that opens. In `auto` mode it
   * is checked before, like any other.
   */
  async open(): Promise<void> {
    const { modelsDir, mode, models, checks, experiments } = this.#options;
    const registry = this.#registry;
    await experiments.check();
    await registry.read().catch((error) => this.#repeated.fail(error));
    const light = await registry.targetOf(
      LIGHT_RANKER,
      (await versionsOf(modelsDir, LIGHT_RANKER)).at(-1) ?? null,
    );
    const refused = new Map<string, Refusal>();
    for (const version of [...(await registry.startOrder()), null]) {
      const reason = version === null || mode === 'manual' ? null : await checks.reason(MAIN_RANKER, version);
      const bad =
        version !== null && reason !== null
          ? [{ name: MAIN_RANKER, version, reason }]
          : await models.apply({ serving: version, light, others: [] });
      for (const one of bad) refused.set(`${one.name}@${one.version}`, one);
      if (reason === null && models.serving === version) break;
    }
    for (const one of refused.values()) await registry.refuse(one);
    if (models.serving === null || models.light === null) {
      this.#options.log('warn', { problems: this.problems }, 'not every model serves as configured');
    }
    this.#repeated.start();
  }

  async close(): Promise<void> {
    await this.#repeated.close();
    await this.#light.close();
    await this.shareEvidence();
  }

  /** Looks at the registry and the gates now; never rejects. */
  check(): Promise<void> {
    return this.#repeated.check();
  }

  /** Writes what this replica saw of the trial for the others now, and reads theirs; by the clock it is every 30 s. */
  async shareEvidence(): Promise<void> {
    await this.#kept.keep(this.#options.choices.trial, { now: true });
  }

  /** What a ready check must name; empty = the promoted models serve as configured. */
  get problems(): string[] {
    const { models, experiments } = this.#options;
    const missing = [
      ...(models.serving === null ? [`model ${MAIN_RANKER}: no version can serve`] : []),
      ...(models.light === null ? [`model ${LIGHT_RANKER}: no version can serve`] : []),
    ];
    return [...missing, ...models.problems, this.#repeated.problem, experiments.error].filter(
      (one) => one !== null,
    );
  }

  status(): RolloutStatus {
    const { mode, models, choices, experiments } = this.#options;
    const { state, versions, bad } = this.#registry;
    return rolloutStatus({
      mode,
      models,
      trial: choices.trial,
      lightTrial: choices.light.trial,
      state,
      versions,
      bad,
      experiments: experiments.current,
      problems: this.problems,
    });
  }

  history(limit: number): Promise<HistoryEntry[]> {
    const { modelsDir, dataDir } = this.#options;
    return readHistory([modelsDir, dataDir, rulesFolder(dataDir), join(dataDir, INDEX)], limit);
  }

  /**
   * Moves the ranker as an operator asks; a version is checked before.
   * @throws FeedrankError(conflict) with the reason why a version cannot serve; (invalid_input | not_found | locked |
   * unavailable) as the registry says.
   */
  async move(request: Parameters<ModelAdmin['move']>[0]): Promise<RolloutStatus> {
    const { modelsDir, checks, models } = this.#options;
    const { action, version = '', share = 0, reason } = request;
    const move = { modelsDir, name: MAIN_RANKER, by: 'operator' };
    if (action === 'rollback') {
      await rollBack(move, reason ?? 'asked for by the operator', request.version);
    } else {
      if (!(await versionsOf(modelsDir, MAIN_RANKER)).includes(version)) {
        throw new FeedrankError('not_found', `there is no ${MAIN_RANKER}@${version}`);
      }
      const refusal = models.isOpen(version) ? null : await checks.reason(MAIN_RANKER, version);
      if (refusal !== null) throw new FeedrankError('conflict', refusal);
      this.#registry.forgive(version);
      if (action === 'promote') await promote(move, version, reason === undefined ? {} : { reason });
      else await startTrial(move, version, action, share);
    }
    await this.check();
    return this.status();
  }

  async #step(): Promise<void> {
    const { mode, models, choices, experiments, refusals } = this.#options;
    const registry = this.#registry;
    await experiments.check();
    const { error } = experiments;
    await registry.noteOthers([
      ...refusals(),
      ...(error === null
        ? []
        : [{ kind: 'experiments', name: 'experiments', version: 'file', reason: error } as const]),
    ]);
    await registry.read();
    if (mode === 'auto') await this.#takeNewest();
    const serving = await registry.sound(
      MAIN_RANKER,
      await registry.targetOf(MAIN_RANKER, models.serving),
      models.serving,
    );
    const { light, lightTrial } = await this.#light.plan();
    const trial = await registry.activeTrial(serving);
    const arms = (experiments.current?.arms ?? []).flatMap(({ ranker }) =>
      ranker === undefined ? [] : [ranker],
    );
    const others = new Set<string>(trial ? [trial.version] : []);
    for (const version of arms) if (await registry.sound(MAIN_RANKER, version, null)) others.add(version);
    const { previous } = registry.state;
    // The way back stays open, for sessions that began on it too.
    if (previous !== null && models.isOpen(previous) && !registry.bad.has(previous)) others.add(previous);
    if (serving !== null) others.delete(serving);
    const before = models.serving;
    if (trial === null || choices.trial?.trial.version !== trial.version) choices.trial = null;
    const plan = { serving, light, lightTrial, others: [...others] };
    if (!models.holds(plan)) for (const one of await models.apply(plan)) await registry.refuse(one);
    if (models.serving !== before) {
      this.#options.log('info', { serving: models.serving, before }, 'another ranker serves');
    }
    await this.#watch(trial);
    await this.#judge();
    if (await this.#light.look()) this.#repeated.again();
    await this.#kept.keep(choices.trial);
  }

  /** Evidence begins anew with each stage of each trial, and goes on after a restart. */
  async #watch(trial: Trial | null): Promise<void> {
    const { choices, models, config } = this.#options;
    if (trial === null || !models.isOpen(trial.version)) choices.trial = null;
    else if (JSON.stringify(choices.trial?.trial) !== JSON.stringify(trial)) {
      choices.trial = await this.#kept.joined(new TrialEvidence(MAIN_RANKER, trial, config));
      this.#options.log('info', trial, 'a ranker is on trial');
    }
    const { promotedAtMs, previous } = this.#registry.state;
    const { serving } = models;
    const isNew = promotedAtMs !== null && Date.now() - promotedAtMs < config.schedule.probationMs;
    if (!isNew || previous === null || serving === null) choices.probation = null;
    else if (choices.probation?.version !== serving) {
      choices.probation = { version: serving, evidence: new ArmEvidence() };
    }
  }

  async #judge(): Promise<void> {
    const { modelsDir, mode, choices, config } = this.#options;
    const { trial: evidence, probation } = choices;
    if (probation) {
      const verdict = judgeProbation(probation.evidence.figures(), config.gates);
      if (verdict.outcome === 'roll_back') return this.#rollBack(probation.version, verdict);
    }
    if (!evidence) return;
    const { trial } = evidence;
    const { verdict } = evidence.figures();
    if (verdict.outcome === 'roll_back') return this.#rollBack(trial.version, verdict, trial.sinceMs);
    const isOver = Date.now() - trial.sinceMs >= config.schedule.minStageMs;
    if (verdict.outcome === 'wait' || mode === 'manual' || !isOver) return;
    const move = { modelsDir, name: MAIN_RANKER, by: 'auto' };
    const next = evidence.next();
    const entry =
      next === 'promote'
        ? await promote(move, trial.version, { expected: trial, reason: 'every gate passed' })
        : await startTrial(move, trial.version, next.stage, next.share, trial);
    if (entry) this.#options.log('info', entry, 'a ranker moved on');
    this.#repeated.again();
  }

  async #rollBack(version: string, { reason, gates }: Verdict, sinceMs?: number): Promise<void> {
    const { modelsDir, choices, metrics } = this.#options;
    const gate = gates.find(({ status }) => status === 'fail')?.gate ?? 'unknown';
    // In force here before the registry is asked, and even when it cannot be written.
    choices.trial = null;
    choices.probation = null;
    this.#registry.markBad(version, reason ?? gate);
    metrics.rollbacks.inc({ reason: gate });
    this.#options.log('warn', { version, reason }, 'a ranker was rolled back');
    this.#repeated.again();
    await rollBack({ modelsDir, name: MAIN_RANKER, by: 'auto' }, reason ?? gate, version, sinceMs);
  }

  /** `auto`: the newest version that nobody has tried goes into shadow. */
  async #takeNewest(): Promise<void> {
    const { modelsDir, models, checks } = this.#options;
    const registry = this.#registry;
    const { trial, refused } = registry.state;
    const newest = registry.versions.findLast(
      (version) => !Object.hasOwn(refused, version) && !registry.bad.has(version),
    );
    if (trial !== null || models.serving === null || newest === undefined) return;
    if (Number(newest) <= Number(models.serving) || (await readCurrent(modelsDir, MAIN_RANKER)) === newest)
      return;
    if (!(await checks.settled(MAIN_RANKER, newest))) return;
    if ((await registry.sound(MAIN_RANKER, newest, null)) === null) {
      this.#repeated.again();
      return;
    }
    await startTrial({ modelsDir, name: MAIN_RANKER, by: 'auto' }, newest, 'shadow', 0, 'none');
    await registry.read();
  }
}
