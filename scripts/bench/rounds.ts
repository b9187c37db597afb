// Figures beside their baseline: all cases in every round, one after the other and in turning order, so that what
// drifts on a shared machine drifts for all of them. Rounds that others disturbed are void.
import { foreignShare, readCpu } from './machine.ts';
import { median } from './statistics.ts';

export interface BenchCase {
  name: string;
  /** Median or mean of one round, in the comparison's unit. */
  run(): number | Promise<number>;
  /** Share of the true k nearest, where the case is a search. */
  recall?: number;
}

export interface Comparison {
  name: string;
  unit: string;
  /** The case that the others are compared with. */
  baseline: string;
  cases: { name: string; median: number; ratio: number; recall?: number; rounds: number[] }[];
  /** Rounds in which others used more than a fifth of the machine: left out, unless all were. */
  voidRounds: number;
  /** True where every round was void: upper bounds, not a measurement. */
  disturbed: boolean;
}

const MAX_FOREIGN = 0.2;

/** Runs `rounds` undisturbed rounds, trying at most twice as many; ratios are to the first case. */
export async function compareCases(
  name: string,
  unit: string,
  cases: readonly BenchCase[],
  rounds: number,
): Promise<Comparison> {
  const good: number[][] = [];
  const disturbed: number[][] = [];
  for (const one of cases) await one.run();
  for (let attempt = 0; good.length < rounds && attempt < rounds * 2; attempt++) {
    const before = readCpu([]);
    const figures: number[] = [];
    for (let i = 0; i < cases.length; i++) {
      const at = (i + attempt) % cases.length;
      figures[at] = await cases[at].run();
    }
    (foreignShare(before, readCpu([])) > MAX_FOREIGN ? disturbed : good).push(figures);
  }
  const used = good.length > 0 ? good : disturbed;
  const medians = cases.map((_, at) => median(used.map((figures) => figures[at])));
  return {
    name,
    unit,
    baseline: cases[0].name,
    cases: cases.map((one, at) => ({
      name: one.name,
      median: Number(medians[at].toPrecision(4)),
      ratio: Number((medians[at] / medians[0]).toFixed(3)),
      ...(one.recall === undefined ? {} : { recall: Number(one.recall.toFixed(4)) }),
      rounds: used.map((figures) => Number(figures[at].toPrecision(4))),
    })),
    voidRounds: disturbed.length,
    disturbed: good.length === 0,
  };
}

/** Median time of `work` over its arguments, milliseconds. */
export async function medianMs<T>(items: readonly T[], work: (item: T) => unknown): Promise<number> {
  const times: number[] = [];
  for (const item of items) {
    const startedAt = performance.now();
    const result = work(item);
    if (result instanceof Promise) await result;
    times.push(performance.now() - startedAt);
  }
  return median(times);
}
