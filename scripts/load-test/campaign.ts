// The order of a load test: warm-up, then one rate, or steps up to the knee, holds beyond it and the recovery after
// each. Bounded: every phase has its length. Called by run.ts.
import type { GeneratorPool, PhasePlan } from './generator-pool.ts';
import type { Tally } from './interval.ts';
import { KneeSearch, type StepPlan } from './knee-search.ts';
import {
  type Limits,
  type PhaseLabel,
  type PhaseReport,
  phaseReport,
  recoverySeconds,
} from './phase-report.ts';
import { measureCpu, rssMiB } from './process-cpu.ts';
import type { ArrivalKind } from './schedule.ts';

export interface CampaignOptions {
  /** One rate, or the search for the knee. */
  load: { rate: number } | { steps: StepPlan };
  durationMs: number;
  /** 0 = none. */
  warmUpMs: number;
  /** Multiples of the knee to hold, and how long to watch half the knee after each. */
  holds: number[];
  holdMs: number;
  recoveryMs: number;
  arrivals: ArrivalKind;
  burstSize: number;
  seed: number;
  limits: Limits;
  /** Rates are cut at this: the bound of the whole test. */
  maxRate: number;
}

export interface HoldReport {
  factor: number;
  rate: number;
  goodputPerSecond: number;
  /** Relative to the goodput of the knee's step. */
  goodputOfKnee: number;
  refused: number;
  refusedP99Ms: number | null;
  latencyP99Ms: number | null;
  /** Until half the knee was served well again; null = not within the phase. */
  recoverySeconds: number | null;
}

export interface CampaignResult {
  phases: PhaseReport[];
  knee: { rate: number | null; bounded: boolean } | null;
  holds: HoldReport[];
  interrupted: boolean;
}

export interface CampaignObserver {
  phaseStarts(label: PhaseLabel, plan: PhasePlan): void;
  second(second: number, tally: Tally): void;
  phaseEnds(report: PhaseReport): void;
}

/** A generator late in a step may have been disturbed from outside: the step is tried once more. */
const TRIES_A_STEP = 2;

export class Campaign {
  readonly #options: CampaignOptions;
  readonly #pool: GeneratorPool;
  readonly #servicePid: number | null;
  readonly #observer: CampaignObserver;
  readonly #phases: PhaseReport[] = [];
  readonly #holds: HoldReport[] = [];
  #knee: CampaignResult['knee'] = null;
  #interrupted = false;

  constructor(
    options: CampaignOptions,
    parts: { pool: GeneratorPool; servicePid: number | null; observer: CampaignObserver },
  ) {
    this.#options = options;
    this.#pool = parts.pool;
    this.#servicePid = parts.servicePid;
    this.#observer = parts.observer;
  }

  /** Resolves early, with what was measured, after `interrupt`. */
  async run(): Promise<CampaignResult> {
    const { load, warmUpMs, durationMs } = this.#options;
    const first = 'rate' in load ? load.rate : (load.steps.list?.[0] ?? load.steps.start);
    if (warmUpMs > 0) await this.#phase({ role: 'warm-up', name: 'warm-up' }, first, warmUpMs);
    if ('rate' in load) {
      await this.#phase({ role: 'rate', name: `${load.rate}/s` }, load.rate, durationMs);
    } else {
      const knee = await this.#search(load.steps);
      if (knee !== null) for (const factor of this.#options.holds) await this.#hold(factor, knee);
    }
    return { phases: this.#phases, knee: this.#knee, holds: this.#holds, interrupted: this.#interrupted };
  }

  get interrupted(): boolean {
    return this.#interrupted;
  }

  interrupt(): void {
    this.#interrupted = true;
    this.#pool.stop();
  }

  /** The best sustained step. */
  async #search(steps: StepPlan): Promise<PhaseReport | null> {
    const search = new KneeSearch(steps);
    let best: PhaseReport | null = null;
    for (let rate = search.next(); rate !== null && !this.#interrupted; rate = search.next()) {
      const step = await this.#step(rate);
      if (step === null || step.void.length > 0) break;
      search.record(rate, step.problems.length === 0);
      if (step.problems.length === 0 && rate >= (best?.rate ?? 0)) best = step;
    }
    const { knee, bounded } = search;
    this.#knee = { rate: knee === null ? null : Number(knee.toFixed(1)), bounded };
    return best;
  }

  async #step(rate: number): Promise<PhaseReport | null> {
    let step: PhaseReport | null = null;
    for (let tried = 0; tried < TRIES_A_STEP; tried++) {
      step = await this.#phase(
        { role: 'step', name: `${formatRate(rate)}/s` },
        rate,
        this.#options.durationMs,
      );
      if (step === null || step.void.length === 0) return step;
      if (tried === 0) step.superseded = true;
    }
    return step;
  }

  async #hold(factor: number, knee: PhaseReport): Promise<void> {
    const { holdMs, recoveryMs, maxRate, limits } = this.#options;
    const rate = Math.min(maxRate, factor * knee.rate);
    const hold = await this.#phase({ role: 'hold', name: `${factor}× knee` }, rate, holdMs);
    if (hold === null) return;
    const label: PhaseLabel = { role: 'recovery', name: `after ${factor}× knee` };
    const recovery = recoveryMs > 0 ? await this.#phase(label, knee.rate / 2, recoveryMs) : null;
    const { counts } = hold;
    this.#holds.push({
      factor,
      rate: hold.rate,
      goodputPerSecond: hold.goodputPerSecond,
      goodputOfKnee: Number((hold.goodputPerSecond / knee.goodputPerSecond).toFixed(3)),
      refused: counts.feed.refused + counts.event.refused,
      refusedP99Ms: hold.refusedMs.p99,
      latencyP99Ms: hold.latencyMs.p99,
      recoverySeconds: recovery && recoverySeconds(recovery, limits),
    });
  }

  /** null when it did not run, because of an interruption. */
  async #phase(label: PhaseLabel, rate: number, durationMs: number): Promise<PhaseReport | null> {
    if (this.#interrupted) return null;
    const { arrivals, burstSize, seed, limits, maxRate } = this.#options;
    const plan: PhasePlan = {
      rate: Math.min(rate, maxRate),
      durationMs,
      arrivals,
      burstSize,
      seed: seed * 1000 + this.#phases.length,
    };
    this.#observer.phaseStarts(label, plan);
    const measured = measureCpu(this.#servicePid, this.#pool.pids);
    const outcome = await this.#pool.run(plan, (second, tally) => this.#observer.second(second, tally));
    const { seconds, serviceSeconds, foreignShare } = measured();
    const answers = outcome.total.sum('good', 'degraded', 'short', 'wrong');
    const cpu = {
      generatorCores: Number((outcome.generatorCpuMs / 1000 / seconds).toFixed(3)),
      serviceCores: serviceSeconds === null ? null : Number((serviceSeconds / seconds).toFixed(3)),
      serviceMsPerAnswer:
        serviceSeconds === null || answers === 0
          ? null
          : Number(((serviceSeconds * 1000) / answers).toFixed(3)),
      serviceRssMiB: this.#servicePid === null ? null : rssMiB(this.#servicePid),
      foreignShare,
    };
    const report = phaseReport(label, plan, outcome, cpu, limits);
    this.#phases.push(report);
    this.#observer.phaseEnds(report);
    return report;
  }
}

export function formatRate(rate: number): string {
  return rate >= 100 ? rate.toFixed(0) : String(Number(rate.toFixed(1)));
}
