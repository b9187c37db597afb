// The life of the rules in this replica: a changed file goes on trial beside the rules in force, in the stages of a
// ranker's canary, and on to everybody or back by its gates. What serves and what is refused is in the registry.
import type { RulesAdmin } from './api/app-context.ts';
import { FeedrankError } from './errors.ts';
import { ArmEvidence } from './ranking/lifecycle/arm-evidence.ts';
import { EvidenceFolder } from './ranking/lifecycle/evidence-folder.ts';
import { judgeProbation, type Verdict } from './ranking/lifecycle/gates.ts';
import { RULES_JUDGES } from './ranking/lifecycle/judges.ts';
import type { RolloutConfig } from './ranking/lifecycle/rollout-config.ts';
import { NO_MODEL_STATE, type Trial } from './ranking/lifecycle/stage-file.ts';
import { TrialEvidence } from './ranking/lifecycle/trial-evidence.ts';
import { RepeatedCheck } from './repeated-check.ts';
import {
  DEFAULT_RULES_VERSION,
  type RulesFile,
  type RulesText,
  type RulesVersion,
} from './rerank/rules-file.ts';
import type { RolloutMode } from './rollout-status.ts';
import type { RulesChoices } from './rules-choice.ts';
import { RULES, RulesRegistry, rulesFolder } from './rules-registry.ts';
import { longWait, type RulesStatus, rulesStatus } from './rules-status.ts';
import type { StageMetrics } from './stage-metrics.ts';
import type { StagedState } from './staged-registry.ts';
import type { RulesUpdate } from './worker.ts';

export interface RulesRolloutOptions {
  dataDir: string;
  /** null: there is no file, and the default rules serve. */
  file: RulesFile | null;
  /** `auto`: a changed file is tried first; `manual`: it is for everybody at once. */
  mode: RolloutMode;
  /** With the gates of rules. */
  config: RolloutConfig;
  choices: RulesChoices;
  metrics: StageMetrics;
  pollMs: number;
  /** Gives every worker its rules; resolves when they have them. */
  send(update: RulesUpdate): Promise<unknown>;
  log(level: 'info' | 'warn', details: object, message: string): void;
}

export class RulesRollout implements RulesAdmin {
  readonly #options: RulesRolloutOptions;
  readonly #registry: RulesRegistry;
  readonly #kept: EvidenceFolder;
  #state: StagedState = { ...NO_MODEL_STATE, serving: null };
  /** What the workers hold. */
  #held: { serving: RulesVersion; trial: RulesVersion | null } | null = null;
  /** Version of the file that was last looked at: a file is a wish once, when it changes and at the start. */
  #seen: string | null = null;
  /** Rolled back here; the registry may not know yet. */
  readonly #bad = new Map<string, { sinceMs: number; reason: string }>();
  readonly #repeated: RepeatedCheck;

  constructor(options: RulesRolloutOptions) {
    this.#options = options;
    this.#registry = new RulesRegistry(options.dataDir);
    this.#kept = new EvidenceFolder(rulesFolder(options.dataDir), RULES, options.log);
    this.#repeated = new RepeatedCheck({
      step: () => this.#step(),
      pollMs: options.pollMs,
      onProblem: (reason) => options.log('warn', { reason }, 'the rules could not be checked'),
    });
    options.metrics.watch(() => {
      const { serving, trial } = options.choices;
      const stages = [{ version: serving, stage: 'promoted' }];
      if (trial) stages.push({ version: trial.trial.version, stage: 'canary' });
      return { stages, trial: trial?.trial.version ?? '', gates: trial?.figures().verdict.gates ?? [] };
    });
  }

  /** The workers have rules when it resolves: those in force, the file's where none were yet. */
  async open(): Promise<void> {
    await this.check();
    // A registry that cannot be read must not leave the service without rules.
    if (this.#held === null) await this.#serveWhatIsKnown();
    this.#repeated.start();
  }

  async close(): Promise<void> {
    this.#options.file?.close();
    await this.#repeated.close();
    await this.#kept.keep(this.#options.choices.trial, { now: true });
  }

  /** Looks at the file and the gates now; never rejects. */
  check(): Promise<void> {
    return this.#repeated.check();
  }

  /** What a ready check must name; empty = the file serves, or is on trial. */
  get problems(): string[] {
    const { file, choices, config } = this.#options;
    const { problem } = this.#repeated;
    const version = file?.current.version ?? '';
    const refused = Object.hasOwn(this.#state.refused, version) ? this.#state.refused[version] : null;
    return [
      problem && `the rules could not be checked: ${problem}`,
      file?.error ?? null,
      refused && `rules ${version} were rolled back (${refused.reason}): ${choices.serving} serve`,
      longWait(choices.trial, config, Date.now()),
    ].filter((one) => one !== null);
  }

  status(): RulesStatus {
    const { mode, file, choices, config } = this.#options;
    return rulesStatus({
      mode,
      serving: choices.serving,
      file: file?.current.version ?? null,
      state: this.#state,
      trial: choices.trial,
      config,
      problems: this.problems,
    });
  }

  /** @throws FeedrankError(conflict | not_found) where there is nothing to move; (locked | unavailable). */
  async move({ action, version, reason }: Parameters<RulesAdmin['move']>[0]): Promise<RulesStatus> {
    const { file } = this.#options;
    if (file === null) throw new FeedrankError('conflict', 'there is no rules file: the default rules serve');
    const { serving, trial, previous } = await this.#registry.read();
    if (action === 'promote') {
      const wanted = version ?? trial?.version ?? file.current.version;
      if (wanted === serving) throw new FeedrankError('conflict', `rules ${wanted} serve already`);
      const rules = file.current.version === wanted ? file.current : await this.#registry.rules(wanted);
      if (rules === null) {
        throw new FeedrankError('not_found', `the text of rules ${wanted} is neither in the file nor kept`);
      }
      await this.#registry.promote(rules, 'operator', reason);
      this.#bad.delete(wanted);
    } else {
      const wanted = version ?? trial?.version ?? serving;
      if (wanted === null || (wanted !== trial?.version && wanted !== serving)) {
        throw new FeedrankError('conflict', `rules ${wanted} neither serve nor are on trial`);
      }
      if (wanted === serving && previous === null) {
        throw new FeedrankError('conflict', `rules ${wanted} serve and none before them are known`);
      }
      await this.#registry.rollBack(wanted, 'operator', reason ?? 'asked for by the operator');
    }
    await this.check();
    return this.status();
  }

  async #step(): Promise<void> {
    const { file, choices } = this.#options;
    if (file === null) return this.#hold(DEFAULT_RULES_VERSION, null);
    this.#state = await this.#registry.read();
    if (file.current.version !== this.#seen) {
      const wanted = file.current;
      await this.#take(wanted);
      this.#seen = wanted.version;
      this.#state = await this.#registry.read();
    }
    const { serving } = this.#state;
    const trial = await this.#activeTrial();
    const inForce = serving === null ? file.current : await this.#textOf(serving);
    if (inForce === null) throw new FeedrankError('corrupt_artifact', `the text of rules ${serving} is gone`);
    const tried = trial && (await this.#textOf(trial.version));
    await this.#hold(inForce, tried);
    await this.#watch(tried ? trial : null);
    await this.#judge();
    await this.#kept.keep(choices.trial);
  }

  /** What a file that is new here means. */
  async #take(rules: RulesText): Promise<void> {
    const { mode, config, log } = this.#options;
    const { serving, trial, refused } = this.#state;
    const { version } = rules;
    const isRefused = Object.hasOwn(refused, version);
    if (serving === null || (mode === 'manual' && !isRefused && version !== serving)) {
      await this.#registry.promote(rules, 'file', undefined);
      log('info', { version, before: serving }, 'new rules');
    } else if (version === serving || isRefused) {
      if (trial) await this.#registry.withdraw(trial.version, `the file holds ${version} again`);
    } else if (trial?.version !== version) {
      await this.#registry.startTrial(rules, config.schedule.canaryShares[0], null);
      log('info', { version, serving }, 'rules are on trial');
    }
  }

  async #activeTrial(): Promise<Trial | null> {
    const { trial, serving } = this.#state;
    if (trial === null || trial.version === serving) return null;
    const bad = this.#bad.get(trial.version);
    if (bad?.sinceMs !== trial.sinceMs) return trial;
    // It could not be recorded when it was rolled back here.
    await this.#registry.rollBack(trial.version, 'auto', bad.reason, trial.sinceMs);
    this.#repeated.again();
    return null;
  }

  async #textOf(version: string): Promise<RulesVersion | null> {
    const held = [this.#held?.serving, this.#held?.trial].find((one) => one?.version === version);
    const { file } = this.#options;
    return held ?? (file?.current.version === version ? file.current : this.#registry.rules(version));
  }

  /** Workers first, users after: no request may name rules that its worker lacks. */
  async #hold(serving: RulesVersion, trial: RulesVersion | null): Promise<void> {
    const { choices, send } = this.#options;
    const before = this.#held;
    if (before?.serving.version === serving.version && before.trial?.version === trial?.version) return;
    if (choices.trial?.trial.version !== trial?.version) choices.trial = null;
    const sent = ({ rules, version }: RulesVersion) => ({ rules, version });
    await send({ serving: sent(serving), trial: trial && sent(trial) });
    this.#held = { serving, trial };
    choices.serving = serving.version;
  }

  async #serveWhatIsKnown(): Promise<void> {
    const { file } = this.#options;
    const version = await this.#registry.serving().catch(() => null);
    const known = version === null ? null : await this.#registry.rules(version).catch(() => null);
    await this.#hold(known ?? file?.current ?? DEFAULT_RULES_VERSION, null);
  }

  /** Evidence begins anew with each stage of each trial, and goes on after a restart. */
  async #watch(trial: Trial | null): Promise<void> {
    const { choices, config } = this.#options;
    if (trial === null) choices.trial = null;
    else if (JSON.stringify(choices.trial?.trial) !== JSON.stringify(trial)) {
      choices.trial = await this.#kept.joined(new TrialEvidence(RULES, trial, config, RULES_JUDGES));
    }
    const { promotedAtMs, previous } = this.#state;
    const isNew = promotedAtMs !== null && Date.now() - promotedAtMs < config.schedule.probationMs;
    if (!isNew || previous === null) choices.probation = null;
    else if (choices.probation?.version !== choices.serving) {
      choices.probation = { version: choices.serving, evidence: new ArmEvidence() };
    }
  }

  async #judge(): Promise<void> {
    const { choices, config, mode } = this.#options;
    const { trial: evidence, probation } = choices;
    if (probation) {
      const verdict = judgeProbation(probation.evidence.figures(), config.gates);
      if (verdict.outcome === 'roll_back') return this.#rollBack({ version: probation.version }, verdict);
    }
    if (!evidence) return;
    const { trial } = evidence;
    const { verdict } = evidence.figures();
    if (verdict.outcome === 'roll_back') return this.#rollBack(trial, verdict);
    const isOver = Date.now() - trial.sinceMs >= config.schedule.minStageMs;
    if (verdict.outcome === 'wait' || mode === 'manual' || !isOver) return;
    const rules = await this.#registry.rules(trial.version);
    if (rules === null)
      throw new FeedrankError('corrupt_artifact', `the text of rules ${trial.version} is gone`);
    const next = evidence.next();
    const entry =
      next === 'promote'
        ? await this.#registry.promote(rules, 'auto', 'every gate passed', trial)
        : await this.#registry.startTrial(rules, next.share, trial);
    if (entry) this.#options.log('info', entry, 'rules moved on');
    this.#repeated.again();
  }

  /** Without `sinceMs` what serves and is on probation. */
  async #rollBack(
    { version, sinceMs }: Pick<Trial, 'version'> & Partial<Trial>,
    { reason, gates }: Verdict,
  ): Promise<void> {
    const { choices, metrics, log } = this.#options;
    const gate = gates.find(({ status }) => status === 'fail')?.gate ?? 'unknown';
    // In force here before the registry is asked, and even when it cannot be written.
    if (sinceMs === undefined) choices.probation = null;
    else {
      choices.trial = null;
      this.#bad.set(version, { sinceMs, reason: reason ?? gate });
    }
    metrics.rollbacks.inc({ reason: gate });
    log('warn', { version, reason }, 'rules were rolled back');
    this.#repeated.again();
    await this.#registry.rollBack(version, 'auto', reason ?? gate, sinceMs);
  }
}
