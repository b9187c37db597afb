// Who owns an embedded database folder. One owner at a time; a dead owner's claim is taken over by exactly one
// process: claims are numbered files, made whole by link(2), which fails when the number is taken.
import { randomUUID } from 'node:crypto';
import { linkSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { FeedrankError } from '../../errors.ts';

/** What a claim file says; shown in the error that refuses a second owner. */
export interface Owner {
  pid: number;
  /** Kernel's start time of the process with the boot it belongs to; null where the system does not tell. */
  started: string | null;
  since: string;
  /** Folder of the socket at which the owner answers. */
  socketDir: string;
}

export interface FolderClaim {
  release(): void;
}

const PREFIX = 'owner.lock.';

/**
 * Claims `folder` for this process. Returns the live owner instead when there is one. A second claim of the same
 * process is refused too.
 */
export async function claimFolder(
  folder: string,
  socketDir: string,
): Promise<{ claim: FolderClaim } | { owner: Owner }> {
  const mine: Owner = {
    pid: process.pid,
    started: processStart(process.pid),
    since: new Date().toISOString(),
    socketDir,
  };
  while (true) {
    const numbers = claimNumbers(folder);
    const newest = numbers.at(-1) ?? 0;
    const owner = newest > 0 ? readOwner(join(folder, PREFIX + newest)) : null;
    if (owner && (isRunning(owner) || (await answers(owner.socketDir)))) return { owner };
    const file = join(folder, PREFIX + (newest + 1));
    if (!createWhole(folder, file, mine)) continue;
    for (const number of numbers) rmSync(join(folder, PREFIX + number), { force: true });
    // The file stays, emptied: a slow process that judged an older claim dead must still find this number taken.
    // Emptying takes no room, so that it works on a full disk.
    return { claim: { release: () => truncateSync(file, 0) } };
  }
}

export function lockedError(folder: string, owner: Owner): FeedrankError {
  return new FeedrankError(
    'locked',
    `the embedded database in ${folder} is in use by process ${owner.pid} since ${owner.since}: ` +
      'stop it, or set DATABASE_URL to share a Postgres server',
  );
}

function claimNumbers(folder: string): number[] {
  return readdirSync(folder)
    .filter((name) => name.startsWith(PREFIX) && /^\d+$/.test(name.slice(PREFIX.length)))
    .map((name) => Number(name.slice(PREFIX.length)))
    .sort((a, b) => a - b);
}

function readOwner(file: string): Owner | null {
  try {
    const owner = JSON.parse(readFileSync(file, 'utf8')) as Owner;
    return Number.isInteger(owner.pid) && typeof owner.socketDir === 'string' ? owner : null;
  } catch {
    return null;
  }
}

function createWhole(folder: string, file: string, owner: Owner): boolean {
  const draft = join(folder, `owner.${randomUUID()}.draft`);
  try {
    writeFileSync(draft, `${JSON.stringify(owner)}\n`, { mode: 0o600 });
    linkSync(draft, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

function isRunning(owner: Owner): boolean {
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  const started = processStart(owner.pid);
  return started === null || owner.started === null || started === owner.started;
}

/** Field 22 of /proc/<pid>/stat (clock ticks since boot) with the boot's id. */
function processStart(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}:${ticks}`;
  } catch {
    return null;
  }
}

/** An owner in another container shares the folder but not the process table: its socket tells. */
function answers(socketDir: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(join(socketDir, SOCKET_FILE));
    const end = (alive: boolean) => {
      socket.destroy();
      resolve(alive);
    };
    socket.setTimeout(1_000, () => end(true));
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}

/** The name that pg looks for in a folder given as host. */
export const SOCKET_PORT = 5432;
export const SOCKET_FILE = `.s.PGSQL.${SOCKET_PORT}`;
