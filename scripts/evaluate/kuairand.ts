// `npm run evaluate -- kuairand`: ranking and retrieval of short videos, tested on the last day of the folder.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HEADS } from '../../src/vocabulary.ts';
import { type Command, integerFlag, runCommand } from '../import/command.ts';
import { startProgress } from '../import/progress.ts';
import { ensurePython } from '../train/python-env.ts';
import { type KuairandData, readKuairand } from './kuairand-impressions.ts';
import { writeLists } from './kuairand-lists.ts';
import { type RecallFigures, replayRetrieval } from './kuairand-retrieval.ts';
import { serveKuairand } from './kuairand-served.ts';
import { kuairandService, WIDE_RETRIEVAL } from './kuairand-service.ts';
import { folderFlag, requireBothClasses } from './replay-folder.ts';
import { replayedRetriever } from './replay-pipeline.ts';
import { FeatureColumns, SERVICE_FEATURES } from './replay-service.ts';
import { signed, tableRow } from './replay-table.ts';
import { isTrainable, trainOnImpressions } from './replay-trainer.ts';
import { runFacts } from './run-facts.ts';

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

const FILES = [
  'impressions.parquet',
  'user_sequences.parquet',
  'video_features_basic_pure.csv',
  'user_features_pure.csv',
];
const TARGETS: Record<string, number> = { click: 0.765, long_view: 0.765, like: 0.875 };
const LIGHTGBM_MARGIN = 0.003;
const ECE_TARGET = 0.01;
const RECALL_MARGIN = 0.04;
/** Retrieved lists that are ranked: parts to fit the second stage on, and whole ones to choose by and to test. */
const LIST_REQUESTS = { learn: 3000, choose: 300, test: 500 };
/** Videos that the service's sources propose for a click, of which the list ranker orders the best. */
const PROPOSED = 3000;
/** The service's ranker has a third as many features, and one setting. */
const SERVED_SHARE = 1 / 3;
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
    const dir = folderFlag(flags, FILES);
    const minutes = integerFlag(flags, 'minutes', 15, 1, 24 * 60);
    const testClicks = integerFlag(flags, 'test-clicks', 4000, 1, 1e9);
    const threads = integerFlag(flags, 'threads', 1, 1, 256);
    const seed = integerFlag(flags, 'seed', 1, 0, 2 ** 31);
    const began = performance.now();
    const replay = startProgress('kuairand: replay');
    const data = await readKuairand(dir, (fraction) => replay.update(fraction, 0));
    replay.update(1, data.set.rows);
    replay.stop();
    requireBothClasses(data.set);
    // After the reading, which refuses a bad folder at once: the first time this installs packages for minutes.
    await ensurePython();
    const stages = await retrieveAndDescribe(data, testClicks, seed);
    const { lists, ...recalls } = stages.retrieved;
    const describe = startProgress('kuairand: lists');
    const trained = await trainOnImpressions(data.set, {
      listwise: false,
      seed,
      threads,
      minutes,
      writeLists: async (folder) => {
        for (const kind of ['parts', 'whole'] as const) {
          const to = join(folder, kind);
          await mkdir(to);
          const progress = (fraction: number) => describe.update(fraction, 0);
          await writeLists(to, data, lists[kind], stages.listFeatures[kind], progress);
        }
        describe.stop();
      },
    });
    const served = await trainAndServe(data, stages.features, lists.whole.source, { seed, threads, minutes });

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
      const value = recalls.retrieval[name];
      const floors = [recalls.popularity[name], recalls.decayedPopularity[name]];
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
    const both = trained.twoStage;
    if (both) {
      const target = Math.max(both.retrieval, both.ranking);
      table.push(tableRow('two stages', 'feedrank', 'retrieval', 'ranking', 'target', 'difference'));
      const alone = [both.retrieval, both.ranking];
      table.push(tableRow('NDCG@50', both.twoStage, ...alone, target, signed(both.twoStage - target)));
    }
    table.push(tableRow('calibration error', 'feedrank', 'one map', 'no map', 'of chance', 'difference'));
    for (const [label, { followed, fixed, raw }] of Object.entries(trained.calibration)) {
      const { ece, eceOfChance } = followed;
      table.push(tableRow(label, ece, fixed.ece, raw.ece, eceOfChance, signed(ECE_TARGET - ece)));
    }
    table.push(tableRow('through the service alone', 'click', 'long_view', 'like', 'recall@1000', 'NDCG@50'));
    const { auc, 'ndcg@50': ndcg } = served;
    table.push(
      tableRow('AUC, recall, NDCG', auc.click, auc.long_view, auc.like, served['recall@1000'], ndcg.ranked),
    );
    process.stderr.write(`${table.join('\n')}\n`);
    return {
      auc_click: trained.auc.click,
      auc_long_view: trained.auc.long_view,
      auc_like: trained.auc.like,
      ...pick(recalls.retrieval),
      ranking,
      retrieval: { ...retrieval, ...recalls },
      twoStage: both,
      served,
      testFrom: new Date(data.set.testFromMs).toISOString(),
      impressions: data.set.rows,
      rejected: data.rejected,
      trainer: trained,
      seed,
      run: runFacts(),
      seconds: Math.round((performance.now() - began) / 1000),
    };
  },
};

/** Replays the retrieval over what the service's sources propose, and notes the service's features of all that is ranked. */
async function retrieveAndDescribe(data: KuairandData, testClicks: number, seed: number) {
  const { set, video } = data;
  const { service, events } = kuairandService(data, seed);
  const retriever = await replayedRetriever(service, WIDE_RETRIEVAL);
  const { width } = service.encoder;
  const features = new FeatureColumns(width, set.rows);
  const encoded = new Float32Array(Math.min(1000, data.videos.length) * width);
  const encodedLists: Record<'whole' | 'parts', Float32Array[]> = { whole: [], parts: [] };
  const search = startProgress('kuairand: retrieval');
  const retrieved = replayRetrieval(data, {
    testClicks,
    seed,
    listRequests: LIST_REQUESTS,
    onImpression: (row) => {
      events.advance(set.at[row]);
      service.encode(set.user[row], Uint32Array.of(service.rowOf(video[row])), set.at[row], encoded);
      features.set(row, encoded, 1);
    },
    propose: ({ user, at }) => {
      const { candidates } = retriever.retrieve(service.query(user, at, PROPOSED, 0), service.table);
      // Videos entered the catalogue in the order of their numbers: the row is the number.
      return Int32Array.from(candidates.rows);
    },
    onList: (kind, row, videos) => {
      const rows = Uint32Array.from(videos, (v) => service.rowOf(v < 0 ? videos[0] : v));
      service.encode(set.user[row], rows, set.at[row], encoded);
      encodedLists[kind].push(encoded.slice(0, rows.length * width));
    },
    onProgress: (fraction) => search.update(fraction, Math.round(fraction * set.rows)),
  });
  search.stop();
  const columnsOf = (encodings: Float32Array[]) => {
    const rows = encodings.map((one) => one.length / width);
    const columns = new FeatureColumns(
      width,
      rows.reduce((a, b) => a + b, 0),
    );
    let first = 0;
    encodings.forEach((one, i) => {
      columns.set(first, one, rows[i]);
      first += rows[i];
    });
    return columns;
  };
  const listFeatures = { whole: columnsOf(encodedLists.whole), parts: columnsOf(encodedLists.parts) };
  return { retrieved, features, listFeatures };
}

/** Trains a ranker on the service's features alone and replays the test through the service with it. */
async function trainAndServe(
  data: KuairandData,
  features: FeatureColumns,
  requests: readonly number[],
  { seed, threads, minutes }: { seed: number; threads: number; minutes: number },
) {
  const model = await mkdtemp(join(tmpdir(), 'feedrank-kuairand-ranker-'));
  try {
    const labels = HEADS.map((name) => ({ name, values: data.outcomes[name] }));
    const set = {
      ...data.set,
      numbers: features,
      ids: [],
      labels: labels.filter((l) => isTrainable(l, data.set)),
    };
    const folder = join(model, 'ranker', '1');
    const options = { listwise: false, seed, threads, minutes: Math.max(1, minutes * SERVED_SHARE) };
    const trained = await trainOnImpressions(set, {
      ...options,
      exportTo: { folder, features: SERVICE_FEATURES },
    });
    const progress = startProgress('kuairand: served');
    const figures = await serveKuairand(data, folder, new Set(requests), seed, (fraction) =>
      progress.update(fraction, 0),
    );
    progress.stop();
    return { ...figures, calibration: trained.calibration };
  } finally {
    await rm(model, { recursive: true, force: true });
  }
}

function pick(figures: RecallFigures): Record<string, number> {
  return Object.fromEntries(RECALLS.map((name) => [name, figures[name]]));
}

export function runKuairand(argv: string[]): Promise<void> {
  return runCommand(command, argv);
}
