// Resident memory of processes over time, and how fast it grows. Linux only: elsewhere there are no samples.
// Called by run.ts and soak.ts.
import { residentMiB } from '../bench/machine.ts';

export interface MemoryReport {
  process: string;
  /** MiB: first and last sample, mean of the second half. */
  first: number;
  last: number;
  mean: number;
  /** MiB a minute over the second half, by least squares. */
  slope: number;
  /** [seconds since the start, MiB], some KEPT of them; of a process that was started again, its last life. */
  samples: [number, number][];
}

const EVERY_MS = 2000;
const KEPT = 60;

export class MemoryTrend {
  readonly #pids: Record<string, () => number>;
  readonly #samples = new Map<string, { pid: number; samples: [number, number][] }>();
  #timer: NodeJS.Timeout | undefined;
  #startedAtMs = 0;

  /** @param pids by name of the process; 0 while it does not run */
  constructor(pids: Record<string, () => number>) {
    this.#pids = pids;
  }

  start(): void {
    this.#startedAtMs = Date.now();
    this.#timer = setInterval(() => this.#sample(), EVERY_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Seconds since the start. */
  get seconds(): number {
    return (Date.now() - this.#startedAtMs) / 1000;
  }

  get report(): MemoryReport[] {
    return [...this.#samples].map(([process, { samples }]) => ({
      process,
      ...trendOf(samples),
      samples: thinned(samples),
    }));
  }

  #sample(): void {
    for (const [name, pidOf] of Object.entries(this.#pids)) {
      try {
        const pid = pidOf();
        if (pid === 0) continue;
        const mib = residentMiB(pid);
        const known = this.#samples.get(name);
        const life = known?.pid === pid ? known : { pid, samples: [] };
        life.samples.push([Math.round(this.seconds), mib]);
        this.#samples.set(name, life);
      } catch {
        // It ended between the question and the look, or there is no /proc.
      }
    }
  }
}

/** Numbers of the second half: the first holds what a process grows to. */
export function trendOf(
  samples: readonly [number, number][],
): Pick<MemoryReport, 'first' | 'last' | 'mean' | 'slope'> {
  const half = samples.slice(Math.floor(samples.length / 2));
  const average = (at: 0 | 1) => half.reduce((sum, sample) => sum + sample[at], 0) / half.length;
  const [seconds, mean] = [average(0), average(1)];
  const along = half.reduce((sum, sample) => sum + (sample[0] - seconds) ** 2, 0);
  const across = half.reduce((sum, sample) => sum + (sample[0] - seconds) * (sample[1] - mean), 0);
  return {
    first: samples[0]?.[1] ?? 0,
    last: samples.at(-1)?.[1] ?? 0,
    mean: Math.round(mean || 0),
    slope: along === 0 ? 0 : Number(((60 * across) / along).toFixed(2)),
  };
}

/** Evenly, with the first and the last. */
function thinned(samples: readonly [number, number][]): [number, number][] {
  const step = Math.max(1, (samples.length - 1) / (KEPT - 1));
  const kept = Math.min(samples.length, KEPT);
  return Array.from({ length: kept }, (_, i) => samples[Math.round(i * step)]);
}
