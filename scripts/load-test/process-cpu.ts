// CPU time and memory of other processes by their id, from /proc; null where there is no /proc. Called by campaign.ts.
import { readFileSync } from 'node:fs';
import { type CpuClock, foreignShare, readCpu, residentMiB } from '../bench/machine.ts';

/** Clock ticks a second in /proc/<pid>/stat: 100 on every Linux that Node runs on. */
const TICKS_A_SECOND = 100;

/** User and system time so far, all threads. */
export function cpuSeconds(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [user, system] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 13)
      .map(Number);
    return (user + system) / TICKS_A_SECOND;
  } catch {
    return null;
  }
}

export function rssMiB(pid: number): number | null {
  try {
    return residentMiB(pid);
  } catch {
    return null;
  }
}

export interface CpuMeasurement {
  seconds: number;
  serviceSeconds: number | null;
  foreignShare: number | null;
}

/** Starts measuring; the function returned ends it. `ours` are the generators, besides this process. */
export function measureCpu(servicePid: number | null, ours: readonly number[]): () => CpuMeasurement {
  const pids = servicePid === null ? ours : [servicePid, ...ours];
  const read = (): { clock: CpuClock; service: number | null } => ({
    clock: readCpu(pids),
    service: servicePid === null ? null : cpuSeconds(servicePid),
  });
  const before = read();
  return () => {
    const after = read();
    const known = after.clock.busy > 0 && servicePid !== null;
    return {
      seconds: after.clock.at - before.clock.at,
      serviceSeconds:
        after.service === null || before.service === null ? null : after.service - before.service,
      foreignShare: known ? Number(foreignShare(before.clock, after.clock).toFixed(3)) : null,
    };
  };
}
