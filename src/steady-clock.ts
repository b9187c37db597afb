// Milliseconds for deadlines, the same in every thread of the process: Unix time as it was when the process began, and
// from then on a clock that no correction moves. Called by deadline.ts and by what works against a deadline.
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';

/** Threads inherit it from the one that starts them. */
const OFFSET = 'feedrank steady clock';

/** Since the machine was started, in every thread. */
function uptimeMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

function offsetMs(): number {
  const inherited = getEnvironmentData(OFFSET);
  if (typeof inherited === 'number') return inherited;
  const offset = Date.now() - uptimeMs();
  setEnvironmentData(OFFSET, offset);
  return offset;
}

const startedAtMs = offsetMs() + uptimeMs() - performance.now();

export function steadyNow(): number {
  return startedAtMs + performance.now();
}
