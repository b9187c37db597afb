// How V8 collects in the serving process: briefly on the main thread, and never ahead of a request. `npm start` gives
// the main thread a small young generation; at V8's own 64 MiB a collection took a replica with one core 15 to 18 ms,
// three times a second in overload, and every request that came meanwhile waited. Imported first by main.ts.
import { readdirSync, readFileSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';
import { setFlagsFromString } from 'node:v8';

/** Half of a young generation, MiB: V8's own. Feed workers live on throughput; read when a thread's heap is made. */
const WORKERS_SEMI_SPACE = 32;
/**
 * V8's helper threads collect and compile for all threads, and would run as first as the main one: this puts them between
 * it and the feed workers (worker.ts). `--v8-pool-size=0` in `npm start` makes them one for each core but one, not four:
 * four that mark at once outweigh the main thread of one core (its pauses of 10 to 12 ms became 5 to 6), and feed workers
 * hardly ran beside them.
 */
const NICENESS = 5;

setFlagsFromString(`--max-semi-space-size=${WORKERS_SEMI_SPACE}`);
lowerHelpers();

/** Linux gives each thread a priority of its own; elsewhere, and where it is not allowed, they keep theirs. */
function lowerHelpers(): void {
  const tasks = '/proc/self/task';
  const niceness = Math.min(constants.priority.PRIORITY_LOW, getPriority() + NICENESS);
  try {
    for (const id of readdirSync(tasks)) {
      const name = readFileSync(`${tasks}/${id}/comm`, 'utf8').trim();
      if (name.startsWith('V8Worker')) setPriority(Number(id), niceness);
    }
  } catch {
    // An optimisation only.
  }
}
