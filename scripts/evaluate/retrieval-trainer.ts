// Runs scripts/train/retrieval.py and reads what it leaves in the work folder: vectors and the exact best of each user.
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { POOL, type Towers } from './retrieval-blend.ts';

const TRAINER = resolve(import.meta.dirname, '../train/retrieval.py');

export interface TrainerOptions {
  /** Interpreter that has scripts/train/requirements.txt. */
  python: string;
  work: string;
  seed: number;
  threads: number;
  /** What the graph chose; where the spectral tower's search begins. Above 0 only where lines have an order. */
  recency: number;
  /** Wall-clock seconds that this run may take. */
  seconds: number;
  /** What the later final fit may take: `tune` chooses nothing that is dearer. */
  fitSeconds: number;
}

export interface TrainerResult {
  chosen: { spectral: { graph: number } };
  /** One row a trial on the validation users. */
  table: unknown[];
  peakRssBytes: number;
}

/** `tune` chooses hyper-parameters on the validation split, `fit` trains with them on everything. */
export async function runTrainer(step: 'tune' | 'fit', options: TrainerOptions): Promise<TrainerResult> {
  const { python, work, seed, threads, recency, seconds, fitSeconds } = options;
  const flags = {
    work,
    seed,
    threads,
    recency,
    pool: POOL,
    seconds: Math.floor(seconds),
    'fit-seconds': Math.floor(fitSeconds),
  };
  const args = [
    TRAINER,
    step,
    ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]),
  ];
  const limits = {
    OMP_NUM_THREADS: `${threads}`,
    OPENBLAS_NUM_THREADS: `${threads}`,
    MKL_NUM_THREADS: `${threads}`,
    // Threads that wait for each other sleep: on cores shared with others, spinning doubles the time.
    OMP_WAIT_POLICY: 'PASSIVE',
    // Blocks of tens of megabytes go back to glibc's heap, not to the kernel: half of a training step otherwise.
    MALLOC_MMAP_THRESHOLD_: '4000000000',
    MALLOC_TRIM_THRESHOLD_: '8000000000',
  };
  await new Promise<void>((done, fail) => {
    const env = { ...process.env, ...limits };
    const child = spawn(python, args, { stdio: ['ignore', 'ignore', 'inherit'], env });
    // A signal ends the child, whose end then ends this command by the ordinary way out, cleaning up.
    const stop = () => child.kill();
    process.once('SIGTERM', stop).once('SIGINT', stop);
    child.on('error', (error) => fail(new Error(`${python}: ${error.message}`)));
    child.on('close', (code, signal) => {
      process.off('SIGTERM', stop).off('SIGINT', stop);
      if (code === 0) done();
      else
        fail(new Error(`the trainer (${step}) ended with ${signal ?? `code ${code}`}; its message is above`));
    });
  });
  return JSON.parse(await readFile(join(work, `${step}.json`), 'utf8'));
}

/** Vectors ([N, dim] and [items, dim] float32) and exact pools ([N, at most POOL] uint32, best first). */
export async function readTowers(
  work: string,
  name: string,
): Promise<{ towers: Towers; pools: Uint32Array }> {
  const { dim } = JSON.parse(await readFile(join(work, `${name}.json`), 'utf8')) as { dim: number };
  const bytes = async (part: string) => {
    const file = await readFile(join(work, `${name}.${part}`));
    return file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength) as ArrayBuffer;
  };
  const users = new Float32Array(await bytes('users'));
  const items = new Float32Array(await bytes('items-vectors'));
  return { towers: { dim, users, items }, pools: new Uint32Array(await bytes('pools')) };
}
