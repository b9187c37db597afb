// `npm run evaluate -- kuairand`: ranking and retrieval of short videos, tested on the last day of the folder.
import { type Command, integerFlag, runCommand, textFlag, UsageError } from '../import/command.ts';
import { startProgress } from '../import/progress.ts';
import { ensurePython } from '../train/python-env.ts';
import { readKuairand } from './kuairand-impressions.ts';
import { writeLists } from './kuairand-lists.ts';
import { type RecallFigures, replayRetrieval } from './kuairand-retrieval.ts';
import { signed, tableRow } from './replay-table.ts';
import { trainOnImpressions } from './replay-trainer.ts';

const HELP = `usage: npm run evaluate -- kuairand --path DIR [flags]

  --path DIR            folder with impressions.parquet, user_sequences.parquet and the two feature files
  --json FILE           write the figures to FILE instead of the output
  --minutes N           of training the ranker, tuning included, LightGBM not (default 15)
  --test-clicks N       clicks the retrieval is tested on, at most (default 4000)
  --threads N           of the trainer (default 1)
  --seed N              default 1
  --help                this text

The test is the last day (in China) of the folder; settings are chosen on the day before. Ranking: pooled AUC of click,
long_view and like over all impressions, LightGBM on the same features beside it. Retrieval: for each clicked video, its
rank among all videos by what was known before the click; popularity beside it. Two stages: NDCG@50 of 1000 retrieved videos
ordered by retrieval, by the ranker's click probability, and by both, weighted as chosen on the day before. Counters go on through the test: each
impression reads what was known strictly before it. Needs Python with scripts/train/requirements.txt: FEEDRANK_PYTHON, or
an environment that is made on first use.`;

const TARGETS: Record<string, number> = { click: 0.765, long_view: 0.765, like: 0.875 };
const LIGHTGBM_MARGIN = 0.003;
const RECALL_MARGIN = 0.04;
/** Retrieved lists that are ranked: to choose the weight of the two stages, and to test it. */
const LIST_REQUESTS = { validation: 200, test: 400 };
const RECALLS = ['recall@100', 'recall@200', 'recall@1000'] as const;

const command: Command = {
  help: HELP,
  flags: {
    path: { type: 'string' },
    minutes: { type: 'string' },
    'test-clicks': { type: 'string' },
    threads: { type: 'string' },
    seed: { type: 'string' },
  },
  async run(flags) {
    const dir = textFlag(flags, 'path');
    if (dir === undefined) throw new UsageError('--path is required');
    const minutes = integerFlag(flags, 'minutes', 15, 1, 24 * 60);
    const testClicks = integerFlag(flags, 'test-clicks', 4000, 1, 1e9);
    const threads = integerFlag(flags, 'threads', 1, 1, 256);
    const seed = integerFlag(flags, 'seed', 1, 0, 2 ** 31);
    const began = performance.now();
    const replay = startProgress('kuairand: replay');
    const data = await readKuairand(dir, (fraction) => replay.update(fraction, 0));
    replay.update(1, data.set.rows);
    replay.stop();
    // After the reading, which refuses a bad folder at once: the first time this installs packages for minutes.
    await ensurePython();
    const search = startProgress('kuairand: retrieval');
    const retrieved = replayRetrieval(data, {
      testClicks,
      seed,
      listRequests: LIST_REQUESTS,
      onProgress: (fraction) => search.update(fraction, Math.round(fraction * data.set.rows)),
    });
    search.stop();
    const describe = startProgress('kuairand: lists');
    const { lists, ...recalls } = retrieved;
    const trained = await trainOnImpressions(data.set, {
      listwise: false,
      seed,
      threads,
      minutes,
      writeLists: async (folder) => {
        await writeLists(folder, data, lists, (fraction) => describe.update(fraction, 0));
        describe.update(1, lists.source.length * lists.size);
        describe.stop();
      },
    });

    const table = [tableRow('ranking, AUC', 'feedrank', 'LightGBM', 'target', 'difference')];
    const ranking: Record<string, object> = {};
    for (const [label, auc] of Object.entries(trained.auc)) {
      const target = Math.max(TARGETS[label], trained.lightgbm[label] - LIGHTGBM_MARGIN);
      ranking[label] = { auc, lightgbm: trained.lightgbm[label], target, difference: auc - target };
      table.push(tableRow(label, auc, trained.lightgbm[label], target, signed(auc - target)));
    }
    table.push(tableRow('retrieval', 'feedrank', 'popularity', 'over 24 h', 'target', 'difference'));
    const retrieval: Record<string, object> = {};
    for (const name of RECALLS) {
      const value = retrieved.retrieval[name];
      const floors = [retrieved.popularity[name], retrieved.decayedPopularity[name]];
      const target = Math.max(...floors) + RECALL_MARGIN;
      retrieval[name] = {
        value,
        popularity: floors[0],
        decayedPopularity: floors[1],
        target,
        difference: value - target,
      };
      table.push(tableRow(name, value, ...floors, target, signed(value - target)));
    }
    const stages = trained.twoStage;
    if (stages) {
      const target = Math.max(stages.retrieval, stages.ranking);
      table.push(tableRow('two stages', 'feedrank', 'retrieval', 'ranking', 'target', 'difference'));
      const alone = [stages.retrieval, stages.ranking];
      table.push(tableRow('NDCG@50', stages.twoStage, ...alone, target, signed(stages.twoStage - target)));
    }
    process.stderr.write(`${table.join('\n')}\n`);
    return {
      auc_click: trained.auc.click,
      auc_long_view: trained.auc.long_view,
      auc_like: trained.auc.like,
      ...pick(retrieved.retrieval),
      ranking,
      retrieval: { ...retrieval, ...recalls },
      twoStage: stages,
      testFrom: new Date(data.set.testFromMs).toISOString(),
      impressions: data.set.rows,
      rejected: data.rejected,
      trainer: trained,
      seed,
      seconds: Math.round((performance.now() - began) / 1000),
    };
  },
};

function pick(figures: RecallFigures): Record<string, number> {
  return Object.fromEntries(RECALLS.map((name) => [name, figures[name]]));
}

export function runKuairand(argv: string[]): Promise<void> {
  return runCommand(command, argv);
}
