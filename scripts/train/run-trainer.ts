// Runs one of the Python trainers with its progress on stderr, in one process or by torchrun in several. Called by
// train-ranker.ts and train-towers.ts.
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { ensurePython } from './python-env.ts';
import type { TrainingData } from './training-data.ts';

export const DEVICES = ['auto', 'cpu', 'cuda'] as const;

export interface TrainerSettings {
  seed: number;
  /** Of all workers together. */
  threads: number;
  epochs: number | undefined;
  /** Data-parallel processes: on CPUs share the threads, on GPUs take one each. */
  workers: number;
  device: (typeof DEVICES)[number];
}

export interface TrainerRun extends TrainerSettings {
  data: TrainingData;
  /** Folder for what is made on the way; what is complete there is not made again. */
  work: string;
  /** Models folder that serves. */
  modelsDir: string;
  /** Models folder that the new version is written to. */
  outDir: string;
  version: string;
}

/** `device` absent: for a script that has no such flag. */
type RunSettings = Omit<TrainerSettings, 'workers' | 'device'> & Partial<TrainerSettings>;

const REASON_BYTES = 4000;
/** What PyTorch's exporter and torchrun say at every run. */
const NOISE = /torchvision is not installed|^W\d{4} |^=+$|^-+$|^\s*$|OMP_NUM_THREADS/;
/** The trainer's own last word, where torchrun says more after it. */
const OWN_REASON = /^(?!\[|Traceback|torch\.| {2})/;

/** Resolves when the trainer exits with 0; otherwise throws its last line. */
export async function runTrainer(
  script: string,
  { seed, threads, epochs, workers = 1, device }: RunSettings,
  args: readonly string[],
): Promise<void> {
  const python = await ensurePython();
  const file = resolve(import.meta.dirname, script);
  const perWorker = Math.max(1, Math.floor(threads / workers));
  const own = [file, ...args, '--seed', String(seed), '--threads', String(perWorker)];
  if (device !== undefined) own.push('--device', device);
  if (epochs !== undefined) own.push('--epochs', String(epochs));
  const launcher = ['-m', 'torch.distributed.run', '--standalone', `--nproc-per-node=${workers}`];
  const all = workers > 1 ? [...launcher, ...own] : own;
  await new Promise<void>((done, fail) => {
    // The trainer ends when its stdin closes: a killed parent leaves no trainer behind.
    const child = spawn(python, all, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, FEEDRANK_ENDS_WITH_STDIN: '1', OMP_NUM_THREADS: String(perWorker) },
    });
    child.stdin.on('error', () => {});
    let errors = '';
    child.stdout.on('data', (chunk: Buffer) => process.stderr.write(chunk));
    child.stderr.on('data', (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-REASON_BYTES);
    });
    child.on('error', (error) => fail(new Error(`${script}: ${error.message}`)));
    child.on('close', (code, signal) => {
      if (code === 0) return done();
      fail(new Error(`${script} failed (${code ?? signal}): ${reasonOf(errors, workers > 1)}`));
    });
  });
}

function reasonOf(errors: string, launched: boolean): string {
  const lines = errors.split('\n').filter((line) => !NOISE.test(line));
  const own = launched ? lines.filter((line) => OWN_REASON.test(line)) : lines;
  return ((launched ? own[0] : own.at(-1)) ?? '').trim();
}
