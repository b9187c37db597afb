// The generator processes on the main side: starts them (pinned where asked), starts a phase on all at once, and adds
// their seconds up. Called by campaign.ts.
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { GeneratorReport, GeneratorRequest, GeneratorSettings } from './generator.ts';
import { Tally } from './interval.ts';
import type { ArrivalKind } from './schedule.ts';

export interface PhasePlan {
  rate: number;
  durationMs: number;
  arrivals: ArrivalKind;
  burstSize: number;
  seed: number;
  /** Unix ms; absent = at once. */
  startAtMs?: number;
}

export interface RunningPhase {
  startAtMs: number;
  /** Rejects when a generator ends or fails. */
  outcome: Promise<PhaseOutcome>;
}

export interface PhaseOutcome {
  startedAtMs: number;
  /** Until the last request had its fate. */
  elapsedMs: number;
  total: Tally;
  /** By second from the start; the last ones, after the end of the schedule, hold late answers. */
  seconds: Tally[];
  generatorCpuMs: number;
  resent: number;
}

interface Waiting {
  second(report: Extract<GeneratorReport, { kind: 'second' }>): void;
  done(report: Extract<GeneratorReport, { kind: 'done' }>): void;
  failed(reason: string): void;
}

const SCRIPT = fileURLToPath(new URL('./generator.ts', import.meta.url));
/** Time that the word to start takes to reach every generator. */
const START_IN_MS = 150;
/** Also keeps the generators' random streams apart. */
export const MAX_GENERATORS = 16;

export class GeneratorPool {
  readonly #children: ChildProcess[] = [];
  /** By the phase's id; two while one's answers still come and the next has begun. */
  readonly #waiting = new Map<number, Waiting>();
  #phases = 0;
  #closing = false;
  /** Of the generators' processes, 0 = the usual one. */
  priority = 0;

  /** `cores` (as taskset takes them) pins every generator; null leaves it to the system. */
  static async start(
    settings: GeneratorSettings,
    options: { size: number; cores: string | null },
  ): Promise<GeneratorPool> {
    const pool = new GeneratorPool();
    try {
      const { size, cores } = options;
      const limits = { ...settings.limits, maxInFlight: Math.ceil(settings.limits.maxInFlight / size) };
      const seed = (i: number) => settings.traffic.seed * MAX_GENERATORS + i;
      await Promise.all(
        Array.from({ length: size }, (_, i) =>
          pool.#spawn({ ...settings, limits, traffic: { ...settings.traffic, seed: seed(i) } }, cores),
        ),
      );
    } catch (error) {
      pool.close();
      throw error;
    }
    return pool;
  }

  get pids(): number[] {
    return this.#children.map((child) => child.pid!);
  }

  /** `onSecond` is told whenever all have reported a second. */
  run(plan: PhasePlan, onSecond: (second: number, tally: Tally) => void): RunningPhase {
    const { promise, resolve, reject } = Promise.withResolvers<PhaseOutcome>();
    const id = this.#phases++;
    const size = this.#children.length;
    const now = performance.timeOrigin + performance.now();
    const startAtMs = Math.max(plan.startAtMs ?? 0, now + START_IN_MS);
    const total = new Tally();
    const seconds: Tally[] = [];
    const reported: number[] = [];
    let done = 0;
    let generatorCpuMs = 0;
    let resent = 0;
    this.#waiting.set(id, {
      second: ({ second, interval }) => {
        while (seconds.length <= second) seconds.push(new Tally());
        total.add(interval);
        seconds[second].add(interval);
        reported[second] = (reported[second] ?? 0) + 1;
        if (reported[second] === size) onSecond(second, seconds[second]);
      },
      done: (report) => {
        generatorCpuMs += report.cpuMs;
        resent += report.resent;
        if (++done < size) return;
        this.#waiting.delete(id);
        const elapsedMs = performance.timeOrigin + performance.now() - startAtMs;
        resolve({ startedAtMs: Math.round(startAtMs), elapsedMs, total, seconds, generatorCpuMs, resent });
      },
      failed: (reason) => {
        this.#waiting.delete(id);
        reject(new Error(`a load generator failed: ${reason}`));
      },
    });
    this.#children.forEach((child, i) => {
      const { arrivals: kind, burstSize, durationMs } = plan;
      const spec = { kind, burstSize, durationMs, rate: plan.rate / size, phase: i / size };
      const request: GeneratorRequest = {
        kind: 'phase',
        id,
        spec: { ...spec, startAtMs, seed: plan.seed * MAX_GENERATORS + i },
      };
      child.send(request);
    });
    return { startAtMs, outcome: promise };
  }

  /** Ends the phase early; `run` resolves with what was measured until now. */
  stop(): void {
    for (const child of this.#children)
      if (child.connected) child.send({ kind: 'stop' } satisfies GeneratorRequest);
  }

  close(): void {
    this.#closing = true;
    for (const child of this.#children) if (child.connected) child.disconnect();
  }

  #fail(reason: string): void {
    for (const waiting of [...this.#waiting.values()]) waiting.failed(reason);
  }

  #spawn(settings: GeneratorSettings, cores: string | null): Promise<void> {
    const command = [process.execPath, '--no-warnings', SCRIPT];
    const [file, ...args] = cores === null ? command : ['taskset', '-c', cores, ...command];
    const child = spawn(file, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#children.push(child);
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        if (this.#closing) return;
        reject(new Error(`a load generator ended with ${signal ?? code}`));
        this.#fail(`it ended with ${signal ?? code}`);
      });
      child.on('message', (report: GeneratorReport) => {
        if (report.kind === 'ready') {
          this.priority = report.priority;
          resolve();
        } else if (report.kind === 'second') this.#waiting.get(report.id)?.second(report);
        else if (report.kind === 'done') this.#waiting.get(report.id)?.done(report);
        else this.#fail(report.reason);
      });
      child.send({ kind: 'setup', settings } satisfies GeneratorRequest);
    });
  }
}
