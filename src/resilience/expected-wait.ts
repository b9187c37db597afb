// How long a job would wait for a worker, told before it is queued: what cannot be started in time is refused at once
// instead of after its deadline. Pure; called by pool.ts.

/** A running job this many usual times old is no usual job any more. */
const OVERDUE = 4;

/**
 * Milliseconds that a worker still needs for its job, which has run for `elapsedMs`. Of one that is overdue nothing is
 * known but its age: it is expected to need as long again, the median where durations have a heavy tail. With 200 ms left,
 * twice as long would refuse everybody from a pause of a tenth of a second on, as a collection beside other work makes it.
 */
export function expectedLeftMs(elapsedMs: number, serviceMs: number): number {
  if (elapsedMs > OVERDUE * serviceMs) return elapsedMs;
  return Math.max(0, serviceMs - elapsedMs);
}

/**
 * Milliseconds until the job at a 0-based `position` of the queue is started, when each waiting job takes `serviceMs` on
 * the worker that is free first. `leftMs`: what each worker still needs; reordered. Infinite without workers.
 */
export function expectedWaitMs(leftMs: number[], position: number, serviceMs: number): number {
  for (let ahead = 0; ; ahead++) {
    const first = indexOfLeast(leftMs);
    if (first < 0) return Number.POSITIVE_INFINITY;
    if (ahead === position) return leftMs[first];
    leftMs[first] += serviceMs;
  }
}

function indexOfLeast(values: readonly number[]): number {
  let least = values.length > 0 ? 0 : -1;
  for (let i = 1; i < values.length; i++) if (values[i] < values[least]) least = i;
  return least;
}
