// Where a training keeps what it has finished: a folder named after everything that decides the result, so that a run that
// was killed goes on where it was, and a run with other data or flags starts anew. Called by scripts/train.ts.
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { FeedrankError } from '../../src/errors.ts';

export interface WorkFolder {
  dir: string;
  /** Something of an earlier run is there. */
  resumed: boolean;
  /** Gives the folder back; `done` also removes it. */
  release(done: boolean): Promise<void>;
}

/** @throws FeedrankError(conflict) when another process works on the same. */
export async function openWorkFolder(parent: string, identity: object): Promise<WorkFolder> {
  const key = createHash('sha256').update(JSON.stringify(identity)).digest('hex').slice(0, 12);
  const dir = join(parent, `.training-${key}`);
  const resumed = (await mkdir(dir, { recursive: true })) === undefined;
  const lock = join(dir, 'pid');
  await takeLock(lock);
  return {
    dir,
    resumed,
    release: (done) => rm(done ? dir : lock, { recursive: true, force: true }),
  };
}

async function takeLock(path: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      const file = await open(path, 'wx');
      await file.writeFile(String(process.pid));
      await file.close();
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const owner = Number(await readFile(path, 'utf8').catch(() => ''));
    if (owner > 0 && owner !== process.pid && isAlive(owner)) {
      throw new FeedrankError('conflict', `process ${owner} trains on the same data (${path})`);
    }
    if (attempt > 0) throw new FeedrankError('conflict', `${path} cannot be taken`);
    await rm(path, { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
