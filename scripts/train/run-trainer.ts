// Runs one of the Python trainers with its progress on stderr. Called by train-towers.ts and train-ranker.ts.
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { ensurePython } from './python-env.ts';
import type { TrainingData } from './training-data.ts';

export interface TrainerRun {
  data: TrainingData;
  /** Folder for what is made on the way. */
  work: string;
  modelsDir: string;
  version: string;
  seed: number;
  threads: number;
  epochs: number | undefined;
}

const REASON_BYTES = 4000;
/** What PyTorch's exporter says at every export. */
const NOISE = /torchvision is not installed/;

/** Resolves when the trainer exits with 0; otherwise throws its last line. */
export async function runTrainer(
  script: string,
  { seed, threads, epochs }: Pick<TrainerRun, 'seed' | 'threads' | 'epochs'>,
  args: readonly string[],
): Promise<void> {
  const python = await ensurePython();
  const file = resolve(import.meta.dirname, script);
  const all = [file, ...args, '--seed', String(seed), '--threads', String(threads)];
  if (epochs !== undefined) all.push('--epochs', String(epochs));
  await new Promise<void>((done, fail) => {
    const child = spawn(python, all, { stdio: ['ignore', 'pipe', 'pipe'] });
    let errors = '';
    child.stdout.on('data', (chunk: Buffer) => process.stderr.write(chunk));
    child.stderr.on('data', (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-REASON_BYTES);
    });
    child.on('error', (error) => fail(new Error(`${script}: ${error.message}`)));
    child.on('close', (code, signal) => {
      if (code === 0) return done();
      const lines = errors.trim().split('\n');
      const reason = lines.filter((line) => !NOISE.test(line)).at(-1) ?? '';
      fail(new Error(`${script} failed (${code ?? signal}): ${reason.trim()}`));
    });
  });
}
