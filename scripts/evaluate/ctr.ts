// `npm run evaluate -- ctr`: trains and tests click-through rankers on any folder of libFM files. Everything is chosen
// on validation.libfm; the labels of test.libfm are looked at once, after everything is fixed.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { type FlagValues, integerFlag, runCommand, textFlag, UsageError } from '../import/command.ts';
import { ensurePython } from '../train/python-env.ts';
import { type LibfmRows, readLibfm, writeLibfmArrays } from './ctr-libfm.ts';
import { type CtrResult, printCtr } from './ctr-table.ts';
import { runFacts } from './run-facts.ts';

const HELP = `usage: npm run evaluate -- ctr --path DIR [flags]

  --path DIR            folder with train.libfm, validation.libfm and test.libfm: lines of \`label id:value …\`,
                        labels 1 and -1, or 1 and 0
  --json FILE           write the figures to FILE instead of standard output
  --budget-minutes N    wall-clock limit of the whole command, tuning included (default 40)
  --seed N              seed of every training (default 1)
  --threads N           threads of the trainer (default 2)
  --help                this text

Trains MLP, DCN-v2, FinalMLP and MaskNet on train.libfm beside LightGBM and the floors LR and FM, chooses all
hyper-parameters and the combination of models on validation.libfm, and prints the AUC and logloss on test.libfm.
Needs Python with scripts/train/requirements.txt: FEEDRANK_PYTHON, or an environment that is made on first use.`;

const SPLITS = ['train', 'validation', 'test'] as const;
const TRAINER = resolve(import.meta.dirname, '../train/ctr.py');
/** Kept back from the trainer's share: its end and the report. */
const RESERVE_SECONDS = 2;

export async function runCtr(argv: string[]): Promise<void> {
  const flags = {
    path: { type: 'string' },
    'budget-minutes': { type: 'string' },
    seed: { type: 'string' },
    threads: { type: 'string' },
  } as const;
  await runCommand({ help: HELP, flags, run: evaluateCtr }, argv);
}

async function evaluateCtr(flags: FlagValues): Promise<object> {
  const folder = textFlag(flags, 'path');
  if (folder === undefined) throw new UsageError('--path DIR is required');
  const path = resolve(folder);
  const budgetMinutes = minutesFlag(flags);
  const seed = integerFlag(flags, 'seed', 1, 0, 2 ** 31 - 1);
  const threads = integerFlag(flags, 'threads', 2, 1, 256);
  const json = textFlag(flags, 'json');
  if (json !== undefined && !existsSync(dirname(resolve(json)))) {
    throw new UsageError(`--json ${json}: its folder does not exist`);
  }
  if (!existsSync(path)) throw new UsageError(`--path ${folder}: no such folder`);
  for (const split of SPLITS) {
    const file = join(path, `${split}.libfm`);
    if (!existsSync(file)) throw new Error(`${file}: no such file`);
  }
  // Before the clock starts: making the environment is not part of the budget.
  const python = await ensurePython();
  const began = Date.now();
  const work = await mkdtemp(join(tmpdir(), 'feedrank-ctr-'));
  try {
    for (const split of SPLITS) {
      const rows = await readLibfm(join(path, `${split}.libfm`));
      await writeLibfmArrays(work, split, rows);
      process.stderr.write(`${describeRows(split, rows)}\n`);
    }
    const seconds = budgetMinutes * 60 - RESERVE_SECONDS;
    await runTrainer(python, { work, seed, threads, began: began / 1000, seconds });
    const result = JSON.parse(await readFile(join(work, 'result.json'), 'utf8')) as CtrResult;
    // Without --json the figures themselves go to standard output.
    printCtr(result, json === undefined ? process.stderr : process.stdout);
    return {
      ...result,
      seed,
      threads,
      budgetMinutes,
      seconds: (Date.now() - began) / 1000,
      run: runFacts(),
    };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function describeRows(split: string, { labels, width }: LibfmRows): string {
  const positives = labels.reduce((sum, label) => sum + label, 0);
  const features = width.min === width.max ? `${width.max}` : `${width.min} to ${width.max}`;
  return `${split}: ${labels.length} rows, ${positives} positive, ${features} features a row`;
}

function minutesFlag(flags: FlagValues): number {
  const text = textFlag(flags, 'budget-minutes') ?? '40';
  const minutes = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!(minutes >= 0.1 && minutes <= 1440)) {
    throw new UsageError(`--budget-minutes must be a number from 0.1 to 1440, not "${text}"`);
  }
  return minutes;
}

interface TrainerOptions {
  work: string;
  seed: number;
  threads: number;
  /** Unix seconds. */
  began: number;
  /** Wall-clock limit from then on. */
  seconds: number;
}

async function runTrainer(python: string, { threads, ...options }: TrainerOptions): Promise<void> {
  const flags = Object.entries({ threads, ...options }).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const args = [TRAINER, ...flags];
  const limits = {
    OMP_NUM_THREADS: `${threads}`,
    OPENBLAS_NUM_THREADS: `${threads}`,
    MKL_NUM_THREADS: `${threads}`,
    // Threads that wait for each other sleep: on a busy machine spinning ones took six times as long (1.3 s a step, .2 s).
    OMP_WAIT_POLICY: 'PASSIVE',
  };
  await new Promise<void>((done, fail) => {
    const env = { ...process.env, ...limits };
    const child = spawn(python, args, { stdio: ['ignore', 'ignore', 'inherit'], env });
    const stop = () => child.kill();
    process.once('exit', stop);
    child.on('error', (error) => fail(new Error(`${python}: ${error.message}`)));
    child.on('close', (code, signal) => {
      process.off('exit', stop);
      if (code === 0) done();
      else fail(new Error(`the trainer ended with ${signal ?? `code ${code}`}; its message is above`));
    });
  });
}

if (import.meta.main) await runCtr(process.argv.slice(2));
