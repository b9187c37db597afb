// The order of a load test: warm-up, then one rate, or steps up to the knee, holds beyond it and the recovery after
// each. Bounded: every phase has its length. Called by run.ts.
import type { GeneratorPool, PhaseOutcome, PhasePlan } from './generator-pool.ts';
import type { Tally } from './interval.ts';
import { KneeSearch, type StepPlan } from './knee-search.ts';
import {
  type CpuReport,
  type Limits,
  type PhaseLabel,
  type PhaseReport,
  phaseReport,
  recoverySeconds,
} from './phase-report.ts';
import { type CpuMeasurement, measureCpu, rssMiB } from './process-cpu.ts';
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
  degraded: number;
  refused: number;
  refusedP99Ms: number | null;
  latencyP99Ms: number | null;
  /** From the end of the hold until half the knee was served well again; null = not within the phase. */
  recoverySeconds: number | null;
}

export interface CampaignResult {
  phases: PhaseReport[];
  knee: { rate: number | null; bounded: boolean } | null;
  holds: HoldReport[];
  interrupted: boolean;
}

export interface CampaignObserver {
  second(label: PhaseLabel, plan: PhasePlan, second: number, tally: Tally): void;
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
  #started = 0;

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
    const hold = this.#start({ role: 'hold', name: `${factor}× knee` }, rate, holdMs);
    // The recovery begins at the end of the hold, not when its last answer has come.
    const label: PhaseLabel = { role: 'recovery', name: `after ${factor}× knee` };
    const recovery =
      recoveryMs > 0 ? this.#start(label, knee.rate / 2, recoveryMs, hold.startAtMs + holdMs) : null;
    const [held, recovered] = await Promise.all([hold.report, recovery?.report ?? null]);
    if (held === null) return;
    this.#phases.push(held, ...(recovered ? [recovered] : []));
    const { counts } = held;
    this.#holds.push({
      factor,
      rate: held.rate,
      goodputPerSecond: held.goodputPerSecond,
      goodputOfKnee: Number((held.goodputPerSecond / knee.goodputPerSecond).toFixed(3)),
      degraded: counts.feed.degraded + counts.event.degraded,
      refused: counts.feed.refused + counts.event.refused,
      refusedP99Ms: held.refusedMs.p99,
      latencyP99Ms: held.latencyMs.p99,
      recoverySeconds: recovered && recoverySeconds(recovered, limits),
    });
  }

  /** null when it did not run, because of an interruption. */
  async #phase(label: PhaseLabel, rate: number, durationMs: number): Promise<PhaseReport | null> {
    if (this.#interrupted) return null;
    const report = await this.#start(label, rate, durationMs).report;
    if (report) this.#phases.push(report);
    return report;
  }

  /** `report` is null where the phase was interrupted before anything was due. */
  #start(
    label: PhaseLabel,
    rate: number,
    durationMs: number,
    startAtMs?: number,
  ): { startAtMs: number; report: Promise<PhaseReport | null> } {
    const { arrivals, burstSize, seed, maxRate } = this.#options;
    const plan: PhasePlan = {
      rate: Math.min(rate, maxRate),
      durationMs,
      arrivals,
      burstSize,
      seed: seed * 1000 + this.#started++,
      startAtMs,
    };
    const measure = () => measureCpu(this.#servicePid, this.#pool.pids);
    let measured = measure();
    const running = this.#pool.run(plan, (second, tally) =>
      this.#observer.second(label, plan, second, tally),
    );
    const untilStart = running.startAtMs - performance.timeOrigin - performance.now();
    const timer = setTimeout(() => {
      measured = measure();
    }, untilStart);
    const report = running.outcome.then((outcome) => {
      clearTimeout(timer);
      if (this.#interrupted && outcome.total.sum('offered') === 0) return null;
      const cpu = cpuReport(measured(), outcome, this.#servicePid);
      const made = phaseReport(label, plan, outcome, cpu, this.#options.limits);
      this.#observer.phaseEnds(made);
      return made;
    });
    return { startAtMs: running.startAtMs, report };
  }
}

function cpuReport(measured: CpuMeasurement, outcome: PhaseOutcome, servicePid: number | null): CpuReport {
  const { seconds, serviceSeconds, foreignShare } = measured;
  const answers = outcome.total.sum('good', 'degraded', 'short', 'wrong');
  const rounded = (value: number) => Number(value.toFixed(3));
  return {
    generatorCores: rounded(outcome.generatorCpuMs / 1000 / seconds),
    serviceCores: serviceSeconds === null ? null : rounded(serviceSeconds / seconds),
    serviceMsPerAnswer:
      serviceSeconds === null || answers === 0 ? null : rounded((serviceSeconds * 1000) / answers),
    serviceRssMiB: servicePid === null ? null : rssMiB(servicePid),
    foreignShare,
  };
}

export function formatRate(rate: number): string {
  return rate >= 100 ? rate.toFixed(0) : String(Number(rate.toFixed(1)));
}
