// Changes of the registry's state happen one at a time, across processes and replicas that share the folder. Held for
// milliseconds; a lock whose holder died is taken over.
import { randomBytes } from 'node:crypto';
import { link, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { FeedrankError } from '../../errors.ts';

/** A change takes a few milliseconds: a holder this old is gone, wherever it ran. */
const STALE_MS = 15_000;
const WAIT_MS = 5000;
const RETRY_MS = 25;

/**
 * Runs `work` while holding the lock file.
 * @throws FeedrankError(locked) naming the holder when it is not free in time; what `work` or the file system throws.
 */
export async function withRegistryLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), token: randomBytes(8).toString('hex') });
  const temporary = `${path}.${randomBytes(6).toString('hex')}`;
  await writeFile(temporary, mine);
  try {
    const until = Date.now() + WAIT_MS;
    while (!(await linked(temporary, path))) {
      const held = await readFile(path, 'utf8').catch(() => null);
      if (held !== null && (await isStale(path, held))) await discard(path, held);
      else if (Date.now() > until)
        throw new FeedrankError('locked', `the model registry is locked (${held})`);
      else await sleep(RETRY_MS * (0.5 + Math.random()));
    }
  } finally {
    await rm(temporary, { force: true });
  }
  try {
    return await work();
  } finally {
    if ((await readFile(path, 'utf8').catch(() => '')) === mine) await rm(path, { force: true });
  }
}

/** A hard link appears whole or not at all, and fails where the name exists. */
async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function isStale(path: string, held: string): Promise<boolean> {
  const age = await stat(path).then(
    ({ mtimeMs }) => Date.now() - mtimeMs,
    () => 0,
  );
  if (age > STALE_MS) return true;
  try {
    const { pid, host } = JSON.parse(held) as { pid: number; host: string };
    if (host !== hostname()) return false;
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

/** Moves exactly the lock that was seen out of the way: one that another process took meanwhile is put back. */
async function discard(path: string, held: string): Promise<void> {
  const aside = `${path}.stale-${randomBytes(6).toString('hex')}`;
  try {
    await rename(path, aside);
  } catch {
    return;
  }
  if ((await readFile(aside, 'utf8').catch(() => held)) !== held) await link(aside, path).catch(() => {});
  await rm(aside, { force: true });
}
