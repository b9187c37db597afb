// The life of the light ranker in this replica, in the stages of the main one: compared in shadow with the version that
// serves and with the main ranker, then for a sticky share of the users, then for all, or back by its gates. A step of
// model-rollout.ts, which opens what this names.
import type { LightChoices } from './light-choice.ts';
import { ArmEvidence } from './ranking/lifecycle/arm-evidence.ts';
import { EvidenceFolder } from './ranking/lifecycle/evidence-folder.ts';
import { judgeProbation, type Verdict } from './ranking/lifecycle/gates.ts';
import { LIGHT_JUDGES } from './ranking/lifecycle/judges.ts';
import type { RolloutConfig } from './ranking/lifecycle/rollout-config.ts';
import { promote, rollBack, startTrial } from './ranking/lifecycle/stage-changes.ts';
import {
  type ModelState,
  modelState,
  NO_MODEL_STATE,
  readRolloutState,
  type Trial,
} from './ranking/lifecycle/stage-file.ts';
import { TrialEvidence } from './ranking/lifecycle/trial-evidence.ts';
import { LIGHT_RANKER, versionsOf } from './ranking/model-registry.ts';
import type { RegistryView } from './registry-view.ts';
import type { RolloutMode } from './rollout-status.ts';
import type { ServingModels } from './serving-models.ts';
import type { VersionChecks } from './version-checks.ts';

export interface LightRolloutOptions {
  modelsDir: string;
  mode: RolloutMode;
  config: RolloutConfig;
  models: Pick<ServingModels, 'light' | 'lightTrial'>;
  checks: Pick<VersionChecks, 'settled'>;
  choices: LightChoices;
  /** Told of a rollback by the gate that failed. */
  onRollback(gate: string): void;
  log(level: 'info' | 'warn', details: object, message: string): void;
}

export class LightRollout {
  readonly #options: LightRolloutOptions;
  readonly #registry: RegistryView;
  readonly #kept: EvidenceFolder;
  #state: ModelState = NO_MODEL_STATE;
  /** When a trial of a version failed here; the registry may not know yet. */
  readonly #bad = new Map<string, number>();

  constructor(options: LightRolloutOptions, registry: RegistryView) {
    this.#options = options;
    this.#registry = registry;
    this.#kept = new EvidenceFolder(options.modelsDir, LIGHT_RANKER, options.log);
  }

  /** What is to be open; what cannot serve is refused. @throws FeedrankError(corrupt_artifact) on a state file that is none. */
  async plan(): Promise<{ light: string | null; lightTrial: string | null }> {
    const { modelsDir, models, mode } = this.#options;
    await this.#read();
    const light = await this.#registry.sound(
      LIGHT_RANKER,
      await this.#registry.targetOf(LIGHT_RANKER, models.light),
      models.light,
    );
    if (mode === 'auto') await this.#takeNewest(light);
    const { trial } = this.#state;
    if (trial === null || trial.version === light || (this.#bad.get(trial.version) ?? 0) >= trial.sinceMs)
      return { light, lightTrial: null };
    if (!(await versionsOf(modelsDir, LIGHT_RANKER)).includes(trial.version))
      return { light, lightTrial: null };
    return { light, lightTrial: await this.#registry.sound(LIGHT_RANKER, trial.version, null) };
  }

  /** After the plan is carried out: evidence begins anew with each stage. Says whether something moved. */
  async look(): Promise<boolean> {
    const { models, choices, config } = this.#options;
    const { trial, promotedAtMs, previous } = this.#state;
    if (trial === null || models.lightTrial !== trial.version) choices.trial = null;
    else if (JSON.stringify(choices.trial?.trial) !== JSON.stringify(trial)) {
      choices.trial = await this.#kept.joined(new TrialEvidence(LIGHT_RANKER, trial, config, LIGHT_JUDGES));
    }
    const isNew = promotedAtMs !== null && Date.now() - promotedAtMs < config.schedule.probationMs;
    if (!isNew || previous === null || models.light === null) choices.probation = null;
    else if (choices.probation?.version !== models.light) {
      choices.probation = { version: models.light, evidence: new ArmEvidence() };
    }
    const moved = await this.#judge();
    await this.#kept.keep(choices.trial);
    return moved;
  }

  async close(): Promise<void> {
    await this.#kept.keep(this.#options.choices.trial, { now: true });
  }

  async #judge(): Promise<boolean> {
    const { modelsDir, mode, choices, config, log } = this.#options;
    const { trial: evidence, probation } = choices;
    if (probation) {
      const verdict = judgeProbation(probation.evidence.figures(), config.gates);
      if (verdict.outcome === 'roll_back') return this.#rollBack(probation.version, verdict);
    }
    if (!evidence) return false;
    const { trial } = evidence;
    const { verdict } = evidence.figures();
    if (verdict.outcome === 'roll_back') return this.#rollBack(trial.version, verdict, trial);
    const isOver = Date.now() - trial.sinceMs >= config.schedule.minStageMs;
    if (verdict.outcome === 'wait' || mode === 'manual' || !isOver) return false;
    const move = { modelsDir, name: LIGHT_RANKER, by: 'auto' };
    const next = evidence.next();
    const entry =
      next === 'promote'
        ? await promote(move, trial.version, { expected: trial, reason: 'every gate passed' })
        : await startTrial(move, trial.version, next.stage, next.share, trial);
    if (entry) log('info', entry, 'a light ranker moved on');
    return true;
  }

  async #rollBack(version: string, { reason, gates }: Verdict, trial?: Trial): Promise<true> {
    const { modelsDir, choices, onRollback, log } = this.#options;
    const gate = gates.find(({ status }) => status === 'fail')?.gate ?? 'unknown';
    // In force here before the registry is asked, and even when it cannot be written.
    if (trial) {
      choices.trial = null;
      this.#bad.set(version, trial.sinceMs);
    } else choices.probation = null;
    onRollback(gate);
    log('warn', { version, reason }, 'a light ranker was rolled back');
    await rollBack({ modelsDir, name: LIGHT_RANKER, by: 'auto' }, reason ?? gate, version, trial?.sinceMs);
    return true;
  }

  /** The newest version that nobody has tried goes into shadow, once its files stay as they are. */
  async #takeNewest(light: string | null): Promise<void> {
    const { modelsDir, checks } = this.#options;
    const { trial, refused } = this.#state;
    const newest = (await versionsOf(modelsDir, LIGHT_RANKER)).findLast(
      (one) => !Object.hasOwn(refused, one),
    );
    if (trial !== null || light === null || newest === undefined || Number(newest) <= Number(light)) return;
    if (!(await checks.settled(LIGHT_RANKER, newest))) return;
    // A refusal is in the registry from then on.
    if ((await this.#registry.sound(LIGHT_RANKER, newest, null)) === null) return;
    await startTrial({ modelsDir, name: LIGHT_RANKER, by: 'auto' }, newest, 'shadow', 0, 'none');
    await this.#read();
  }

  async #read(): Promise<void> {
    this.#state = modelState(await readRolloutState(this.#options.modelsDir), LIGHT_RANKER);
  }
}
