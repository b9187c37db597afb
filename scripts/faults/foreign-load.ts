// How much of the machine others used while a scenario ran: figures measured beside them say less. Linux; called by
// run-scenario.ts.
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

interface Reading {
  /** Seconds that all cores were busy. */
  busy: number;
  /** Seconds of this process and of those of its descendants that have ended. */
  own: number;
  atMs: number;
}

const TICKS_A_SECOND = 100;

/** Starts measuring. The function returned gives the others' share of all cores, once what was started has ended. */
export function measureForeignLoad(): () => number | null {
  const before = read();
  return () => {
    const after = read();
    if (before === null || after === null) return null;
    const seconds = (after.atMs - before.atMs) / 1000;
    const others = after.busy - before.busy - (after.own - before.own);
    return Number(Math.max(0, others / (seconds * availableParallelism())).toFixed(2));
  };
}

function read(): Reading | null {
  try {
    const [user, nice, system, , , irq, softirq] = numbers(
      readFileSync('/proc/stat', 'utf8').split('\n')[0].slice(4),
    );
    const stat = readFileSync('/proc/self/stat', 'utf8');
    const times = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 15)
      .map(Number);
    const own = times.reduce((sum, ticks) => sum + ticks, 0);
    return {
      busy: (user + nice + system + irq + softirq) / TICKS_A_SECOND,
      own: own / TICKS_A_SECOND,
      atMs: performance.now(),
    };
  } catch {
    return null;
  }
}

function numbers(text: string): number[] {
  return text.trim().split(/\s+/).map(Number);
}
