// What a figure was measured on, and how much of the machine somebody else used meanwhile.
import { readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';

export interface Machine {
  cpu: string;
  cores: number;
  memoryGiB: number;
  node: string;
  platform: string;
}

export function machine(): Machine {
  const cores = cpus();
  return {
    cpu: cores[0]?.model.trim() ?? 'unknown',
    cores: cores.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
  };
}

export interface CpuClock {
  /** Seconds that all cores were busy. */
  busy: number;
  /** Seconds that the named processes, and this one, were busy. */
  own: number;
  at: number;
}

/** CPU time so far; zeros where /proc is not there. */
export function readCpu(pids: readonly number[]): CpuClock {
  const at = performance.now() / 1000;
  try {
    const [user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'utf8')
      .split('\n')[0]
      .trim()
      .split(/\s+/)
      .slice(1)
      .map(Number);
    const busy = (user + nice + system + irq + softirq) / 100;
    const own = [process.pid, ...pids].reduce((sum, pid) => sum + processSeconds(pid), 0);
    return { busy, own, at };
  } catch {
    return { busy: 0, own: 0, at };
  }
}

/** Share of the machine's cores that others used between two readings. */
export function foreignShare(before: CpuClock, after: CpuClock): number {
  const others = after.busy - before.busy - (after.own - before.own);
  return Math.max(0, others / ((after.at - before.at) * cpus().length));
}

export function processSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Resident memory of a process, MiB. */
export function residentMiB(pid: number): number {
  const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return line ? Math.round(Number(line[1]) / 1024) : Number.NaN;
}
