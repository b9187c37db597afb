// The embedded SQL server: claims the folder, runs PGlite in a worker thread, serves it at a socket in the folder.
// Called by postgres-store.ts when no DATABASE_URL is given.
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { FeedrankError, messageOf } from '../../errors.ts';
import { claimFolder, lockedError, SOCKET_FILE, SOCKET_PORT } from './pglite-lock.ts';
import type { PgliteWorkerData, PgliteWorkerReport } from './pglite-worker.ts';
import { freeBytes } from './storable.ts';

export interface PgliteServer {
  /** For pg: a folder as host means its socket. */
  connection: { host: string; port: number; user: string; database: string };
  /** False when another process owns the database and this one talks to it. */
  owner: boolean;
  close(): Promise<void>;
}

/** Longest socket path the kernels take (Linux 107, macOS 103). */
const SOCKET_PATH_LIMIT = 100;
const RESTART_FIRST_MS = 100;
const RESTART_MOST_MS = 5_000;
/** Recovery after a crash writes a new log segment (16 MB) and a checkpoint. */
const ROOM_TO_OPEN_BYTES = 32 * 1024 * 1024;

/**
 * Opens `<dataDir>/pglite`. With `attach`, a running owner's database is used through its socket; without, a second
 * opener is refused with code `locked`. Throws `storage_full`, `corrupt_artifact` or `unavailable` when PGlite
 * cannot open the folder.
 */
export async function openPglite(options: { dataDir: string; attach?: boolean }): Promise<PgliteServer> {
  const folder = resolve(options.dataDir, 'pglite');
  let socketDir: string;
  let result: Awaited<ReturnType<typeof claimFolder>>;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    chmodSync(folder, 0o700);
    socketDir = socketDirFor(folder);
    result = await claimFolder(folder, socketDir);
  } catch (error) {
    throw openError(folder, messageOf(error));
  }
  if ('owner' in result) {
    if (socketDir !== folder) rmSync(socketDir, { recursive: true, force: true });
    if (!options.attach || result.owner.pid === process.pid) throw lockedError(folder, result.owner);
    return { connection: connectionAt(result.owner.socketDir), owner: false, close: async () => {} };
  }
  const release = () => {
    rmSync(join(socketDir, SOCKET_FILE), { force: true });
    if (socketDir !== folder) rmSync(socketDir, { recursive: true, force: true });
    result.claim.release();
  };
  try {
    const supervised = await superviseWorker(folder, socketDir);
    return {
      connection: connectionAt(socketDir),
      owner: true,
      close: async () => {
        await supervised.stop();
        release();
      },
    };
  } catch (error) {
    release();
    throw error;
  }
}

/** Starts the worker and, when it dies of a crash inside WebAssembly, starts another: PGlite recovers from its log. */
async function superviseWorker(folder: string, socketDir: string): Promise<{ stop(): Promise<void> }> {
  let stopping = false;
  let restarting: Promise<void> | null = null;
  let worker = await startWorker(folder, socketDir);
  const watch = (current: Worker) => {
    current.once('exit', () => {
      if (!stopping) restarting = restart();
    });
  };
  const restart = async () => {
    for (let attempt = 0; !stopping; attempt++) {
      try {
        worker = await startWorker(folder, socketDir);
        watch(worker);
        return;
      } catch {
        const waitMs = Math.min(RESTART_MOST_MS, RESTART_FIRST_MS * 2 ** attempt);
        await new Promise((resolve) => setTimeout(resolve, waitMs).unref());
      }
    }
  };
  watch(worker);
  return {
    stop: async () => {
      stopping = true;
      await Promise.race([restarting, new Promise((resolve) => setTimeout(resolve, RESTART_MOST_MS))]);
      await stopWorker(worker);
    },
  };
}

function connectionAt(socketDir: string): PgliteServer['connection'] {
  return { host: socketDir, port: SOCKET_PORT, user: 'postgres', database: 'postgres' };
}

function socketDirFor(folder: string): string {
  if (Buffer.byteLength(join(folder, SOCKET_FILE)) <= SOCKET_PATH_LIMIT) return folder;
  return mkdtempSync(join(tmpdir(), 'feedrank-'));
}

async function startWorker(folder: string, socketDir: string): Promise<Worker> {
  const socketPath = join(socketDir, SOCKET_FILE);
  rmSync(socketPath, { force: true });
  const workerData: PgliteWorkerData = { databaseDir: join(folder, 'data'), socketPath };
  const worker = new Worker(new URL('./pglite-worker.ts', import.meta.url), { workerData });
  const first = await nextReport(worker);
  if (first.kind === 'ready') {
    // A crash ends the worker only: its clients see lost connections, superviseWorker sees the exit.
    worker.on('error', () => {});
    worker.unref();
    return worker;
  }
  await worker.terminate();
  throw openError(folder, first.kind === 'failed' ? first.reason : 'it ended at once');
}

async function stopWorker(worker: Worker): Promise<void> {
  if (worker.threadId === -1) return;
  worker.ref();
  const last = nextReport(worker);
  worker.postMessage('close');
  await last;
  await worker.terminate();
}

function nextReport(worker: Worker): Promise<PgliteWorkerReport> {
  return new Promise((resolve) => {
    worker.once('message', resolve);
    worker.once('error', (error: unknown) =>
      resolve({ kind: 'failed', reason: error instanceof Error ? error.message : String(error) }),
    );
    worker.once('exit', () => resolve({ kind: 'failed', reason: 'its worker ended' }));
  });
}

function openError(folder: string, reason: string): FeedrankError {
  if (/no space left|ENOSPC/i.test(reason) || freeBytes(folder) < ROOM_TO_OPEN_BYTES) {
    return new FeedrankError(
      'storage_full',
      `the embedded database in ${folder} cannot open: the disk is full`,
    );
  }
  return new FeedrankError('unavailable', `the embedded database in ${folder} cannot open: ${reason}`);
}
