// Which cores the service and which the generators get. Called by options.ts and run.ts.
import { accessSync, constants } from 'node:fs';
import { availableParallelism } from 'node:os';
import { UsageError } from '../import/command.ts';

/** Lists of cores as taskset takes them: `0-2,4`. */
export interface Pinning {
  service: string;
  generator: string;
}

const CORES = /^\d+(-\d+)?(,\d+(-\d+)?)*$/;

/**
 * `auto` gives the generators the last core and the service the others; else `SERVICE:GENERATORS`.
 * @throws UsageError on anything else, on one core, and where there is no taskset.
 */
export function pinningOf(text: string, cores = availableParallelism()): Pinning {
  if (!hasTaskset()) throw new UsageError('--pin needs taskset (util-linux), which is not on the PATH');
  if (text === 'auto') {
    if (cores < 2) throw new UsageError('--pin auto needs two cores');
    return { service: cores === 2 ? '0' : `0-${cores - 2}`, generator: String(cores - 1) };
  }
  const [service, generator, ...rest] = text.split(':');
  if (rest.length > 0 || !CORES.test(service) || !CORES.test(generator ?? '')) {
    throw new UsageError(`--pin must be auto or SERVICE:GENERATORS, for example 0-2:3, not "${text}"`);
  }
  return { service, generator };
}

/** How many cores a list names. */
export function coreCount(list: string): number {
  return list.split(',').reduce((sum, part) => {
    const [first, last = first] = part.split('-').map(Number);
    return sum + Math.max(0, last - first) + 1;
  }, 0);
}

function hasTaskset(): boolean {
  return (process.env.PATH ?? '').split(':').some((dir) => {
    try {
      accessSync(`${dir}/taskset`, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
