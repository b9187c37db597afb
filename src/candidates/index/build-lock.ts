// One index build at a time: a lock file with the builder's pid, host and heartbeat. A lock whose builder is gone
// is taken over; publication is by rename anyway, so the lock saves work and names the culprit.
import { randomBytes } from 'node:crypto';
import { link, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { FeedrankError } from '../../errors.ts';

const HEARTBEAT_MS = 10_000;
/** A heartbeat older than this means that the builder hangs or is gone. */
const STALE_MS = 90_000;

export interface BuildLock {
  release(): Promise<void>;
}

/** Throws locked, naming the pid that holds it. */
export async function acquireBuildLock(indexDir: string): Promise<BuildLock> {
  const path = join(indexDir, 'build.lock');
  const mine = JSON.stringify({
    pid: process.pid,
    host: hostname(),
    startedAt: new Date().toISOString(),
    token: randomBytes(8).toString('hex'),
  });
  const temporary = `${path}.${randomBytes(6).toString('hex')}`;
  await writeFile(temporary, mine);
  try {
    while (!(await linked(temporary, path))) {
      const holder = await heldBy(path);
      if (holder) throw new FeedrankError('locked', `another build is running (${holder})`);
      await discardStale(path);
    }
  } finally {
    await rm(temporary, { force: true });
  }
  const heartbeat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {});
  }, HEARTBEAT_MS);
  heartbeat.unref();
  return {
    async release() {
      clearInterval(heartbeat);
      if ((await readFile(path, 'utf8').catch(() => '')) === mine) await rm(path, { force: true });
    },
  };
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

async function heldBy(path: string): Promise<string | null> {
  let text: string;
  let beatAt: number;
  try {
    text = await readFile(path, 'utf8');
    beatAt = (await stat(path)).mtimeMs;
  } catch {
    return null;
  }
  if (Date.now() - beatAt > STALE_MS) return null;
  let holder: { pid?: unknown; host?: unknown; startedAt?: unknown };
  try {
    holder = JSON.parse(text);
  } catch {
    return null;
  }
  const here = holder.host === hostname();
  if (here && !alive(holder.pid)) return null;
  // A restarted container often gets the same pid again.
  if (here && holder.pid === process.pid && Date.parse(String(holder.startedAt)) < performance.timeOrigin)
    return null;
  return `pid ${holder.pid} on ${here ? 'this host' : holder.host}`;
}

function alive(pid: unknown): boolean {
  if (typeof pid !== 'number') return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Moves the lock aside rather than unlinking it: of two that found it stale, one succeeds. */
async function discardStale(path: string): Promise<void> {
  const aside = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return;
  }
  const taken = await heldBy(aside);
  // Someone else replaced the stale lock between the look and the rename: give it back.
  if (taken) await linked(aside, path);
  await rm(aside, { force: true });
}
