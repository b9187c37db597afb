// Hands a table of impressions to the Python trainer and reads its figures. Called by kuairand.ts and ebnerd.ts.
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { HEADS } from '../../src/vocabulary.ts';
import { runTrainer } from '../train/run-trainer.ts';
import { type ImpressionSet, writeImpressions } from './replay-as-of.ts';

export interface TrainerFigures {
  /** Of the test rows, by label. */
  auc: Record<string, number>;
  /** Absent where the trained network was exported. */
  lightgbm: Record<string, number>;
  /** By label: as the networks say it, by one map of before the test, by a map that follows the traffic. */
  calibration: Record<string, Record<'raw' | 'fixed' | 'followed', CalibrationFigures>>;
  testRows: number;
  trainRows: number;
  trainSeconds: number;
  /** NDCG@50 of the retrieved lists, where lists were given. */
  twoStage?: { retrieval: number; ranking: number; twoStage: number; weight: number; lists: number };
  [key: string]: unknown;
}

export interface CalibrationFigures {
  ece: number;
  /** What the figure is on average where every probability is right. */
  eceOfChance: number;
  predicted: number;
  rate: number;
}

export interface TrainerOptions {
  /** Metric: mean AUC within a group, instead of over all rows. */
  listwise: boolean;
  seed: number;
  threads: number;
  minutes: number;
  /** Writes retrieved lists, which the trained ranker is to order, into the folder it is given. */
  writeLists?(dir: string): Promise<void>;
  /** Writes one network as a model folder of the service: its inputs are these features, its labels are heads. */
  exportTo?: { folder: string; features: readonly string[] };
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
    if (options.exportTo) {
      const { folder, features } = options.exportTo;
      await mkdir(dirname(folder), { recursive: true });
      args.push('--export', folder, '--features', features.join(), '--heads', HEADS.join());
    }
    if (options.listwise) args.push('--listwise');
    const { seed, threads } = options;
    await runTrainer('evaluate_impressions.py', { seed, threads, epochs: undefined }, args);
    return JSON.parse(await readFile(json, 'utf8')) as TrainerFigures;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Whether each part of the period has both classes of a label. */
export function isTrainable(
  { values }: ImpressionSet['labels'][number],
  { at, validationFromMs, testFromMs }: Pick<ImpressionSet, 'at' | 'validationFromMs' | 'testFromMs'>,
): boolean {
  const bounds = [0, ...[validationFromMs, testFromMs].map((ms) => at.findIndex((t) => t >= ms)), at.length];
  return bounds.slice(1).every((end, i) => {
    const part = values.subarray(bounds[i], end);
    return part.includes(1) && part.includes(0);
  });
}
