// The registry as one replica sees it: its versions and its state, which version is to serve or on trial, and what was
// found bad here, also where the registry cannot be written. Called by model-rollout.ts.
import { messageOf } from './errors.ts';
import { refuse } from './ranking/lifecycle/stage-changes.ts';
import {
  appendHistory,
  type HistoryEntry,
  type ModelState,
  modelState,
  NO_MODEL_STATE,
  readRolloutState,
  type Trial,
} from './ranking/lifecycle/stage-file.ts';
import { MAIN_RANKER, readCurrent, versionsOf } from './ranking/model-registry.ts';
import type { RolloutMetrics } from './rollout-metrics.ts';
import type { Refusal, ServingModels } from './serving-models.ts';
import type { VersionChecks } from './version-checks.ts';

/** What was refused of another artifact. */
export interface OtherRefusal {
  kind: Exclude<HistoryEntry['kind'], 'model'>;
  name: string;
  version: string;
  reason: string;
}

export interface RegistryViewOptions {
  modelsDir: string;
  /** Where the history of what is no model is kept; the registry may be others' and read-only. */
  dataDir: string;
  models: ServingModels;
  checks: VersionChecks;
  metrics: Pick<RolloutMetrics, 'refusals'>;
  log(level: 'info' | 'warn', details: object, message: string): void;
}

export class RegistryView {
  readonly #options: RegistryViewOptions;
  #state: ModelState = NO_MODEL_STATE;
  #versions: string[] = [];
  /** Refused or rolled back here; the registry may not know it, for it may be read-only. */
  readonly #bad = new Map<string, { reason: string; atMs: number }>();
  /** Reasons that are in the history already. */
  readonly #noted = new Map<string, string>();

  constructor(options: RegistryViewOptions) {
    this.#options = options;
  }

  /** Of the main ranker, as last read. */
  get state(): ModelState {
    return this.#state;
  }

  /** Versions of the main ranker, rising. */
  get versions(): readonly string[] {
    return this.#versions;
  }

  get bad(): ReadonlyMap<string, { reason: string }> {
    return this.#bad;
  }

  /** From now on the version neither serves nor is on trial here, unless somebody stages it again. */
  markBad(version: string, reason: string): void {
    this.#bad.set(version, { reason, atMs: Date.now() });
  }

  forgive(version: string): void {
    this.#bad.delete(version);
  }

  /** @throws FeedrankError(corrupt_artifact) on a state file that is none; the versions are read all the same. */
  async read(): Promise<void> {
    const { modelsDir } = this.#options;
    this.#versions = await versionsOf(modelsDir, MAIN_RANKER);
    this.#state = modelState(await readRolloutState(modelsDir), MAIN_RANKER);
  }

  /** What `current` names; `kept` where it names nothing that can serve. */
  async targetOf(name: string, kept: string | null): Promise<string | null> {
    const { modelsDir } = this.#options;
    const current = await readCurrent(modelsDir, name);
    const versions = name === MAIN_RANKER ? this.#versions : await versionsOf(modelsDir, name);
    if (current === null || !versions.includes(current)) return kept;
    if (name !== MAIN_RANKER) return current;
    const { previous, promotedAtMs, refused } = this.#state;
    const bad = this.#bad.get(current) ?? (Object.hasOwn(refused, current) ? refused[current] : undefined);
    if (!bad || bad.atMs < (promotedAtMs ?? 0)) return current;
    // Whoever wants it all the same says so by a promotion, not by the file alone.
    if (kept !== null && kept !== current) await this.refuse({ name, version: current, reason: bad.reason });
    return previous !== null && previous !== current && versions.includes(previous) ? previous : kept;
  }

  async startOrder(): Promise<string[]> {
    const { previous, trial, refused } = this.#state;
    const current = await this.targetOf(MAIN_RANKER, null);
    const sound = this.#versions.filter((one) => one !== trial?.version && !Object.hasOwn(refused, one));
    const order = [current, previous, ...sound.reverse()].filter((one) => one !== null);
    return [...new Set(order)].filter((one) => this.#versions.includes(one));
  }

  async activeTrial(serving: string | null): Promise<Trial | null> {
    const { trial } = this.#state;
    if (trial === null || trial.version === serving || !this.#versions.includes(trial.version)) return null;
    const bad = this.#bad.get(trial.version);
    // Staged again after it failed here: somebody wants it to be tried once more.
    if (bad && bad.atMs >= trial.sinceMs) return null;
    this.#bad.delete(trial.version);
    return (await this.sound(MAIN_RANKER, trial.version, null)) === null ? null : trial;
  }

  /** The version when it is open already or passes its check; else it is refused, and `instead` stays. */
  async sound(name: string, version: string | null, instead: string | null): Promise<string | null> {
    const { models, checks } = this.#options;
    if (version === null || version === instead) return version;
    const isOpen = name === MAIN_RANKER ? models.isOpen(version) : models.light === version;
    if (isOpen && !this.#bad.has(version)) return version;
    const reason = await checks.reason(name, version);
    if (reason === null) return version;
    await this.refuse({ name, version, reason });
    return instead;
  }

  async refuse({ name, version, reason }: Refusal): Promise<void> {
    const { modelsDir, models, metrics } = this.#options;
    if (name === MAIN_RANKER) this.#bad.set(version, { reason, atMs: Date.now() });
    const key = `${name}@${version}`;
    const promoted = (await readCurrent(modelsDir, name)) === version;
    if (this.#noted.get(key) === reason && !promoted) return;
    if (this.#noted.get(key) !== reason) {
      metrics.refusals.inc({ kind: 'model' });
      this.#options.log('warn', { name, version, reason }, 'a model was refused');
    }
    this.#noted.set(key, reason);
    const serving = name === MAIN_RANKER ? models.serving : models.light;
    await refuse({ modelsDir, name, by: 'auto' }, version, reason, serving).catch((error) => {
      if (this.#noted.get('unrecorded') === key) return;
      this.#noted.set('unrecorded', key);
      this.#options.log('warn', { reason: messageOf(error) }, 'a refusal could not be recorded');
    });
  }

  /** Refusals of the index, the rules and the experiments go into a history of this machine's own. */
  async noteOthers(all: readonly OtherRefusal[]): Promise<void> {
    const { dataDir, metrics } = this.#options;
    for (const { kind, name, version, reason } of all) {
      if (this.#noted.get(kind) === `${version} ${reason}`) continue;
      this.#noted.set(kind, `${version} ${reason}`);
      metrics.refusals.inc({ kind });
      await appendHistory(dataDir, { kind, name, version, action: 'refused', reason, by: 'auto' }).catch(
        (error) => {
          this.#options.log('warn', { reason: messageOf(error) }, 'a refusal could not be recorded');
        },
      );
    }
    for (const kind of ['index', 'rules', 'experiments']) {
      if (!all.some((one) => one.kind === kind)) this.#noted.delete(kind);
    }
  }
}
