// CPU time of a process by its threads, from /proc: which part of the service it went to. Called by capacity.
import { readdirSync, readFileSync } from 'node:fs';

export interface ThreadTimes {
  /** Main thread: HTTP, stores, pages. */
  main: number;
  /** The feed workers: threads of lower priority. */
  feedWorkers: number;
  /** Other threads of JavaScript: the embedded SQL store, the embedding of posts. */
  otherWorkers: number;
  /** V8's own: garbage collection and compilation. */
  engine: number;
  /** libuv's pool, LMDB's writer and whatever else there is. */
  pool: number;
}

const NICE_FIELD = 16;

/** ms so far; zeros where there is no /proc. */
export function threadTimes(pid: number): ThreadTimes {
  const times: ThreadTimes = { main: 0, feedWorkers: 0, otherWorkers: 0, engine: 0, pool: 0 };
  for (const thread of names(`/proc/${pid}/task`)) {
    const folder = `/proc/${pid}/task/${thread}`;
    try {
      const stat = readFileSync(`${folder}/stat`, 'utf8');
      const nice = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[NICE_FIELD]);
      const name = readFileSync(`${folder}/comm`, 'utf8').trim();
      const ms = Number(readFileSync(`${folder}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
      times[partOf(thread === String(pid), name, nice)] += ms;
    } catch {
      // A thread that ended meanwhile.
    }
  }
  return times;
}

export function lessThreadTimes(after: ThreadTimes, before: ThreadTimes, divisor: number): ThreadTimes {
  const each = Object.entries(after).map(([part, ms]) => [
    part,
    Number(((ms - before[part as keyof ThreadTimes]) / divisor).toFixed(3)),
  ]);
  return Object.fromEntries(each) as ThreadTimes;
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function partOf(isMain: boolean, name: string, nice: number): keyof ThreadTimes {
  if (isMain) return 'main';
  if (name.startsWith('V8')) return 'engine';
  if (nice > 0) return 'feedWorkers';
  return name.startsWith('Worker') ? 'otherWorkers' : 'pool';
}
