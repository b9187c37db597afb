// The rankers that the feed workers have open, from the main thread: hands a plan to every worker, and takes a version
// away only when no request names it any more. Called by model-rollout.ts.
import { FeedrankError } from './errors.ts';
import type { WorkerPool } from './pool.ts';
import { LIGHT_RANKER, MAIN_RANKER } from './ranking/model-registry.ts';
import type { RankerPlan, ShelfReport } from './ranking/ranker-shelf.ts';

const DRAIN_POLL_MS = 10;

export interface Refusal {
  name: string;
  version: string;
  reason: string;
}

export class ServingModels {
  readonly #pool: Pick<WorkerPool, 'broadcast'>;
  readonly #uses = new Map<string, number>();
  #plan: RankerPlan = { serving: null, light: null, others: [] };
  #models: string[] = [];
  #problems: string[] = [];

  constructor(pool: Pick<WorkerPool, 'broadcast'>) {
    this.#pool = pool;
  }

  get serving(): string | null {
    return this.#plan.serving;
  }

  get light(): string | null {
    return this.#plan.light;
  }

  /** `ranker@1 on cpu`, …: what serves. */
  get models(): readonly string[] {
    return this.#models;
  }

  get problems(): readonly string[] {
    return this.#problems;
  }

  /** Version of the light ranker that is open beside the one that serves. */
  get lightTrial(): string | null {
    return this.#plan.lightTrial ?? null;
  }

  isOpen(version: string): boolean {
    return version === this.#plan.serving || this.#plan.others.includes(version);
  }

  /** Versions of the main ranker that are open beside the one that serves. */
  get others(): readonly string[] {
    return this.#plan.others;
  }

  /** Whether exactly this is open. */
  holds({ serving, light, lightTrial = null, others }: RankerPlan): boolean {
    const open = this.#plan.others;
    if (serving !== this.serving || light !== this.light || lightTrial !== this.lightTrial) return false;
    return open.length === others.length && others.every((version) => open.includes(version));
  }

  /** Keeps a version open until the returned function is called. */
  use(version: string | null): () => void {
    if (version === null) return () => {};
    this.#uses.set(version, (this.#uses.get(version) ?? 0) + 1);
    let done = false;
    return () => {
      if (done) return;
      done = true;
      const left = (this.#uses.get(version) ?? 1) - 1;
      if (left === 0) this.#uses.delete(version);
      else this.#uses.set(version, left);
    };
  }

  /**
   * Opens what `wanted` names in every worker, switches to it, drains what it does not name, and closes that. What a
   * worker refuses is left out; a refused `serving` or `light` leaves the one before in place.
   * @returns what was refused. @throws FeedrankError when a worker could not be told; the next call repairs it.
   */
  async apply(wanted: RankerPlan): Promise<Refusal[]> {
    const before = this.#plan;
    const open = before.serving === null ? before.others : [before.serving, ...before.others];
    // While one worker opens a model, the others serve.
    const reports = await this.#broadcast(
      { ...wanted, others: unique([...wanted.others, ...open], wanted.serving) },
      true,
    );
    const refused = firstOfEach(reports.flatMap((report) => report.refused));
    const bad = (name: string, version: string | null) =>
      refused.some((one) => one.name === name && one.version === version);
    const serving = bad(MAIN_RANKER, wanted.serving) ? before.serving : wanted.serving;
    const light = bad(LIGHT_RANKER, wanted.light) ? before.light : wanted.light;
    const others = unique(
      wanted.others.filter((version) => !bad(MAIN_RANKER, version)),
      serving,
    );
    const tried = wanted.lightTrial ?? null;
    const lightTrial = tried === light || bad(LIGHT_RANKER, tried) ? null : tried;
    // From here on requests name the new version; those before it end within their deadlines.
    this.#plan = { serving, light, ...(lightTrial === null ? {} : { lightTrial }), others };
    const stale = open.filter((version) => version !== serving && !others.includes(version));
    while (stale.some((version) => this.#uses.has(version))) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    }
    const last = refused.length > 0 || stale.length > 0 ? await this.#broadcast(this.#plan) : reports;
    this.#models = last[0]?.models ?? [];
    this.#problems = [...new Set(last.flatMap((report) => report.problems))];
    return refused;
  }

  async #broadcast(plan: RankerPlan, inTurn = false): Promise<ShelfReport[]> {
    const reports = (await this.#pool.broadcast('models', plan, 'models', inTurn)) as ShelfReport[];
    if (reports.length === 0) throw new FeedrankError('unavailable', 'no feed worker took the models');
    return reports;
  }
}

function unique(versions: readonly string[], without: string | null): string[] {
  return [...new Set(versions)].filter((version) => version !== without);
}

function firstOfEach(refused: readonly Refusal[]): Refusal[] {
  const byVersion = new Map(
    refused.map((one) => [`${one.name}@${one.version}`, one]).reverse() as [string, Refusal][],
  );
  return [...byVersion.values()];
}
