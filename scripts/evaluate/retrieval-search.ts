// Coordinate search over a few named settings, against a deadline. Used for the graph alone and for graph and blend
// together; knows nothing of either.

/** Allowed values of one setting, ascending. */
export type Axis = readonly number[];

export interface Trial<S> {
  settings: S;
  value: number;
}

/**
 * Walks along one axis after another while that helps, until a whole round changes nothing or the deadline is near:
 * a trial starts only where one of the usual length would still end in time. The start is always tried.
 */
export async function climb<S extends Record<string, number>>(
  start: S,
  axes: Partial<Record<keyof S, Axis>>,
  evaluate: (settings: S) => number,
  options: { deadlineMs: number; onTrial: (trial: Trial<S>, best: Trial<S>) => void },
): Promise<Trial<S>> {
  const known = new Map<string, number>();
  let longestMs = 0;
  const attempt = async (settings: S): Promise<Trial<S> | null> => {
    const key = JSON.stringify(settings);
    if (known.has(key) || Date.now() + longestMs > options.deadlineMs) return null;
    const began = Date.now();
    const trial = { settings, value: evaluate(settings) };
    longestMs = Math.max(longestMs, Date.now() - began);
    known.set(key, trial.value);
    options.onTrial(trial, best !== undefined && best.value >= trial.value ? best : trial);
    // Lets signals and the child's output through between trials.
    await new Promise((next) => setImmediate(next));
    return trial;
  };

  let best: Trial<S> | undefined;
  const first = { settings: start, value: evaluate(start) };
  known.set(JSON.stringify(start), first.value);
  options.onTrial(first, first);
  best = first;
  for (let moved = true; moved; ) {
    moved = false;
    for (const name of Object.keys(axes) as (keyof S & string)[]) {
      const axis = axes[name]!;
      for (const direction of [1, -1]) {
        let improved = false;
        for (;;) {
          const at: number = axis.indexOf(best.settings[name]) + direction;
          if (at < 0 || at >= axis.length) break;
          const trial: Trial<S> | null = await attempt({ ...best.settings, [name]: axis[at] });
          if (trial === null || trial.value <= best.value) break;
          best = trial;
          improved = true;
        }
        if (improved) {
          moved = true;
          break;
        }
      }
    }
  }
  return best;
}

/** `from`, `from + step` … `to`, free of rounding noise. */
export function range(from: number, to: number, step: number): number[] {
  const count = Math.round((to - from) / step) + 1;
  return Array.from({ length: count }, (_, i) => Number((from + i * step).toFixed(6)));
}
