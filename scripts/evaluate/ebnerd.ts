// `npm run evaluate -- ebnerd`: orders the articles in view of each news impression; AUC within the impression.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Command, integerFlag, runCommand } from '../import/command.ts';
import { startProgress } from '../import/progress.ts';
import { ensurePython } from '../train/python-env.ts';
import { type EbnerdData, readEbnerd } from './ebnerd-impressions.ts';
import { describeLists, serveLists } from './ebnerd-service.ts';
import { folderFlag, requireBothClasses } from './replay-folder.ts';
import { type FeatureColumns, SERVICE_FEATURES } from './replay-service.ts';
import { signed, tableRow } from './replay-table.ts';
import { trainOnImpressions } from './replay-trainer.ts';
import { runFacts } from './run-facts.ts';

const HELP = `usage: npm run evaluate -- ebnerd --path DIR [flags]

  --path DIR            folder with behaviors.parquet and history.parquet
  --json FILE           write the figures to FILE instead of the output
  --minutes N           of training, tuning included, LightGBM not (default 15)
  --threads N           of the trainer (default 1)
  --seed N              default 1
  --help                this text

The test is the last 48 hours of the file; settings are chosen on the 24 hours before. Every feature of a list is made
of reads and impressions with an earlier time. Floors and LightGBM, on the same features, come from the same run. Needs
Python with scripts/train/requirements.txt: FEEDRANK_PYTHON, or an environment that is made on first use.`;

const TARGET = 0.755;
/** The service's ranker has a third as many features, and one setting. */
const SERVED_SHARE = 1 / 3;

const command: Command = {
  help: HELP,
  flags: {
    path: { type: 'string' },
    minutes: { type: 'string' },
    threads: { type: 'string' },
    seed: { type: 'string' },
  },
  async run(flags) {
    const dir = folderFlag(flags, ['behaviors.parquet', 'history.parquet']);
    const minutes = integerFlag(flags, 'minutes', 15, 1, 24 * 60);
    const threads = integerFlag(flags, 'threads', 1, 1, 256);
    const seed = integerFlag(flags, 'seed', 1, 0, 2 ** 31);
    const began = performance.now();
    const progress = startProgress('ebnerd: replay');
    const data = await readEbnerd(dir, seed, (fraction) => progress.update(fraction, 0));
    progress.update(1, data.set.rows);
    progress.stop();
    requireBothClasses(data.set);
    // After the reading, which refuses a bad folder at once: the first time this installs packages for minutes.
    await ensurePython();
    const floors = floorFigures(data);
    const encode = startProgress('ebnerd: features of the service');
    const features = await describeLists(data, seed, (fraction) => encode.update(fraction, 0));
    encode.stop();
    data.set.numbers.names.push(...features.names);
    data.set.numbers.columns.push(...features.columns);
    const trained = await trainOnImpressions(data.set, { listwise: true, seed, threads, minutes });
    const served = await trainAndServe(data, features, { seed, threads, minutes });
    const own = trained.auc.click;
    const table = [
      tableRow('AUC within an impression', 'AUC', 'target', 'difference'),
      tableRow('newest first', floors.newest),
      tableRow('clicks decayed over 2 h', floors.counter),
      tableRow('LightGBM on the same features', trained.lightgbm.click),
      tableRow('through the service alone', served.auc),
      tableRow('feedrank', own, TARGET, signed(own - TARGET)),
    ];
    process.stderr.write(`${table.join('\n')}\n`);
    return {
      auc: own,
      floors,
      lightgbm_auc: trained.lightgbm.click,
      target: TARGET,
      difference: own - TARGET,
      testFrom: new Date(data.set.testFromMs).toISOString(),
      served,
      calibration: trained.calibration,
      lists: data.lists.length,
      rejected: data.rejected,
      trainer: trained,
      seed,
      run: runFacts(),
      seconds: Math.round((performance.now() - began) / 1000),
    };
  },
};

/** Trains a ranker on the service's features alone and replays the test through the service with it. */
async function trainAndServe(
  data: EbnerdData,
  features: FeatureColumns,
  { seed, threads, minutes }: { seed: number; threads: number; minutes: number },
) {
  const model = await mkdtemp(join(tmpdir(), 'feedrank-ebnerd-ranker-'));
  try {
    const folder = join(model, 'ranker', '1');
    const set = { ...data.set, numbers: features, ids: [] };
    const options = { listwise: true, seed, threads, minutes: Math.max(1, minutes * SERVED_SHARE) };
    const trained = await trainOnImpressions(set, {
      ...options,
      exportTo: { folder, features: SERVICE_FEATURES },
    });
    const progress = startProgress('ebnerd: served');
    const scores = await serveLists(data, folder, seed, (fraction) => progress.update(fraction, 0));
    progress.stop();
    const from = data.set.at.findIndex((at) => at >= data.set.testFromMs);
    const { values } = data.set.labels[0];
    return { auc: listAuc(scores, values, data.set.group, from), calibration: trained.calibration };
  } finally {
    await rm(model, { recursive: true, force: true });
  }
}

export function runEbnerd(argv: string[]): Promise<void> {
  return runCommand(command, argv);
}

/** What a list's order by one number alone reaches on the test. */
export function floorFigures({ set, counter, age }: Pick<EbnerdData, 'set' | 'counter' | 'age'>) {
  const from = set.at.findIndex((at) => at >= set.testFromMs);
  const clicked = set.labels[0].values;
  return {
    newest: listAuc(
      age.map((value) => -value),
      clicked,
      set.group,
      from,
    ),
    counter: listAuc(counter, clicked, set.group, from),
  };
}

/** Mean, over the lists from row `from` on that have both, of the share of (clicked, not clicked) pairs in order; ties half. */
export function listAuc(scores: Float32Array, clicked: Uint8Array, group: Int32Array, from: number): number {
  let sum = 0;
  let lists = 0;
  for (let start = Math.max(0, from); start < scores.length; ) {
    let end = start + 1;
    while (end < scores.length && group[end] === group[start]) end++;
    let pairs = 0;
    let ordered = 0;
    for (let i = start; i < end; i++) {
      if (clicked[i] !== 1) continue;
      for (let j = start; j < end; j++) {
        if (clicked[j] === 1) continue;
        pairs++;
        ordered += scores[i] > scores[j] ? 1 : scores[i] === scores[j] ? 0.5 : 0;
      }
    }
    if (pairs > 0) {
      sum += ordered / pairs;
      lists++;
    }
    start = end;
  }
  return sum / Math.max(1, lists);
}
