// Hands a table of impressions to the Python trainer and reads its figures. Called by kuairand.ts and ebnerd.ts.
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runTrainer } from '../train/run-trainer.ts';
import { type ImpressionSet, writeImpressions } from './replay-as-of.ts';

export interface TrainerFigures {
  /** Of the test rows, by label. */
  auc: Record<string, number>;
  lightgbm: Record<string, number>;
  testRows: number;
  trainRows: number;
  trainSeconds: number;
  /** NDCG@50 of the retrieved lists, where lists were given. */
  twoStage?: { retrieval: number; ranking: number; twoStage: number; weight: number; lists: number };
  [key: string]: unknown;
}

export interface TrainerOptions {
  /** Metric: mean AUC within a group, instead of over all rows. */
  listwise: boolean;
  seed: number;
  threads: number;
  minutes: number;
  /** Writes retrieved lists, which the trained ranker is to order, into the folder it is given. */
  writeLists?(dir: string): Promise<void>;
}

/** Throws the trainer's last line where it fails. */
export async function trainOnImpressions(
  set: ImpressionSet,
  options: TrainerOptions,
): Promise<TrainerFigures> {
  const dir = await mkdtemp(join(tmpdir(), 'feedrank-impressions-'));
  try {
    await writeImpressions(dir, set);
    const json = join(dir, 'figures.json');
    const args = ['--data', dir, '--json', json, '--minutes', String(options.minutes)];
    if (options.writeLists) {
      const lists = join(dir, 'lists');
      await mkdir(lists);
      await options.writeLists(lists);
      args.push('--lists', lists);
    }
    if (options.listwise) args.push('--listwise');
    const { seed, threads } = options;
    await runTrainer('evaluate_impressions.py', { seed, threads, epochs: undefined }, args);
    return JSON.parse(await readFile(json, 'utf8')) as TrainerFigures;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
