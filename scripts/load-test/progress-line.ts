// What a running load test shows on stderr: one line that is rewritten on a terminal, else a plain line every five
// seconds and one a phase. Called by run.ts.
import type { CampaignObserver } from './campaign.ts';
import type { PhasePlan } from './generator-pool.ts';
import type { Tally } from './interval.ts';
import type { PhaseLabel, PhaseReport } from './phase-report.ts';

const PLAIN_EVERY_SECONDS = 5;

export class ProgressLine implements CampaignObserver {
  readonly #stream: NodeJS.WriteStream;

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
  }

  second(label: PhaseLabel, plan: PhasePlan, second: number, tally: Tally): void {
    const elapsed = second + 1;
    const total = Math.ceil(plan.durationMs / 1000);
    if (elapsed > total) return;
    const { feed } = tally.histograms;
    const bad = tally.sum('failed', 'timedOut', 'wrong', 'unsent');
    const line =
      `${titleOf(label)}: ${elapsed}/${total} s, ${total - elapsed} s left | ` +
      `${tally.sum('offered')} due, ${tally.sum('good', 'short')} good, ${tally.sum('degraded')} degraded, ` +
      `${tally.sum('refused')} refused, ${bad} bad | p50 ${ms(feed.at(50))} p99 ${ms(feed.at(99))} | ` +
      `${tally.inFlight} in flight`;
    if (this.#stream.isTTY) this.#stream.write(`\r\x1b[K${line.slice(0, (this.#stream.columns ?? 120) - 1)}`);
    else if (elapsed % PLAIN_EVERY_SECONDS === 0) this.#stream.write(`${line}\n`);
  }

  phaseEnds(report: PhaseReport): void {
    this.#write(describePhase(report));
  }

  /** A line of its own. */
  note(text: string): void {
    this.#write(text);
  }

  #write(text: string): void {
    this.#stream.write(`${this.#stream.isTTY ? '\r\x1b[K' : ''}${text}\n`);
  }
}

function titleOf({ role, name }: PhaseLabel): string {
  return role === name || role === 'rate' || role === 'recovery' ? name : `${role} ${name}`;
}

function describePhase(report: PhaseReport): string {
  const { latencyMs, cpu } = report;
  const verdict =
    report.void.length > 0
      ? `VOID: ${report.void.join('; ')}`
      : report.problems.length > 0
        ? `not sustained: ${report.problems.join('; ')}`
        : 'sustained';
  const service = cpu.serviceCores === null ? '' : `, service ${cpu.serviceCores.toFixed(2)} cores`;
  return (
    `${titleOf(report)}: ${report.offeredPerSecond.toFixed(1)}/s due, ${report.goodputPerSecond.toFixed(1)}/s good, ` +
    `p50 ${ms(latencyMs.p50)} p99 ${ms(latencyMs.p99)}, late p99 ${ms(report.latenessMs.p99)}` +
    `${service}, generator ${cpu.generatorCores.toFixed(2)} cores: ${verdict}`
  );
}

function ms(value: number | null): string {
  return value === null ? '–' : `${value.toFixed(1)} ms`;
}
