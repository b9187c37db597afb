// What a running load test shows on stderr: one line that is rewritten on a terminal, else a plain line every five
// seconds and one a phase. Called by run.ts.
import type { CampaignObserver } from './campaign.ts';
import type { PhasePlan } from './generator-pool.ts';
import type { Tally } from './interval.ts';
import type { PhaseLabel, PhaseReport } from './phase-report.ts';

const PLAIN_EVERY_SECONDS = 5;

export class ProgressLine implements CampaignObserver {
  readonly #stream: NodeJS.WriteStream;
  #label = '';
  #totalSeconds = 0;

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
  }

  phaseStarts({ role, name }: PhaseLabel, plan: PhasePlan): void {
    this.#label = role === name || role === 'rate' ? name : `${role} ${name}`;
    this.#totalSeconds = plan.durationMs / 1000;
  }

  second(second: number, tally: Tally): void {
    const elapsed = second + 1;
    const left = Math.max(0, Math.ceil(this.#totalSeconds - elapsed));
    const { feed } = tally.histograms;
    const bad = tally.sum('failed', 'timedOut', 'wrong', 'unsent');
    const line =
      `${this.#label}: ${elapsed}/${Math.ceil(this.#totalSeconds)} s, ${left} s left | ` +
      `${tally.sum('offered')} due, ${tally.sum('good', 'short')} good, ${tally.sum('degraded')} degraded, ` +
      `${tally.sum('refused')} refused, ${bad} bad | p50 ${ms(feed.at(50))} p99 ${ms(feed.at(99))} | ` +
      `${tally.inFlight} in flight`;
    if (this.#stream.isTTY) this.#stream.write(`\r\x1b[K${line.slice(0, (this.#stream.columns ?? 120) - 1)}`);
    else if (elapsed % PLAIN_EVERY_SECONDS === 0) this.#stream.write(`${line}\n`);
  }

  phaseEnds(report: PhaseReport): void {
    this.#write(`${describePhase(report, this.#label)}`);
  }

  /** A line of its own. */
  note(text: string): void {
    this.#write(text);
  }

  #write(text: string): void {
    this.#stream.write(`${this.#stream.isTTY ? '\r\x1b[K' : ''}${text}\n`);
  }
}

function describePhase(report: PhaseReport, label: string): string {
  const { latencyMs, cpu } = report;
  const verdict =
    report.void.length > 0
      ? `VOID: ${report.void.join('; ')}`
      : report.problems.length > 0
        ? `not sustained: ${report.problems.join('; ')}`
        : 'sustained';
  const service = cpu.serviceCores === null ? '' : `, service ${cpu.serviceCores.toFixed(2)} cores`;
  return (
    `${label}: ${report.offeredPerSecond.toFixed(1)}/s due, ${report.goodputPerSecond.toFixed(1)}/s good, ` +
    `p50 ${ms(latencyMs.p50)} p99 ${ms(latencyMs.p99)}, late p99 ${ms(report.latenessMs.p99)}` +
    `${service}, generator ${cpu.generatorCores.toFixed(2)} cores: ${verdict}`
  );
}

function ms(value: number | null): string {
  return value === null ? '–' : `${value.toFixed(1)} ms`;
}
