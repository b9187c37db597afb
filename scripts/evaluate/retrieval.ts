// `npm run evaluate -- retrieval`: chooses, trains and measures the retrieval stage on any folder of LightGCN-style
// interactions. The test file is used once, after everything is fixed.
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ItemGraph } from '../../src/candidates/item-graph.ts';
import { ensurePython } from '../train/python-env.ts';
import { graphScores, tuneBlend, tuneGraph } from './retrieval-blend.ts';
import { readPairs, splitPairs, toTrainingSet, writeInteractions } from './retrieval-data.ts';
import { measureTest, type TestFigures } from './retrieval-test.ts';
import { readTowers, runTrainer } from './retrieval-trainer.ts';

const USAGE = `usage: npm run evaluate -- retrieval --path DIR [flags]

  --path DIR            folder with train.txt and test.txt; each line is: user item item …
  --json FILE           also write the figures and everything that was chosen to FILE
  --budget-minutes N    wall-clock limit of the whole command, tuning included (default 40)
  --unordered           the order of a line says nothing and the test was drawn at random: validate likewise. Else lines
                        that are not sorted by id count as engagement order: their ends validate, and late items may
                        count more
  --seed N              seed of the validation split and of the training (default 1)
  --threads N           threads of the trainer (default 2)
  --help                this text

Hyper-parameters are chosen on a part of train.txt that is held out for it. Needs Python with
scripts/train/requirements.txt: FEEDRANK_PYTHON, or an environment that is made on first use.`;

/** Tuning holds out the share that the test holds out (known from the numbers of pairs alone), within reason. */
const LEAST_HELD = 0.05;
const MOST_HELD = 0.3;
/** Enough for a standard error of the two metrics near 1 % of their value, few enough to try a setting in seconds. */
const TUNING_USERS = 3000;
/** Of the tuning users, those whose graph scores the trainer keeps at hand; 400 MB of scores at most. */
const TRAINER_USERS = 2000;
const TRAINER_SCORES = 100_000_000;
/** Shares of the budget after which a search must have ended; the rest is the final fit and the test. */
const GRAPH_UNTIL = 0.1;
const TOWERS_UNTIL = 0.52;
const BLEND_UNTIL = 0.57;
const FIT_UNTIL = 0.8;
const TEST_UNTIL = 0.97;

interface Flags {
  path: string;
  json: string | undefined;
  budgetMinutes: number;
  unordered: boolean;
  seed: number;
  threads: number;
}

export async function runRetrieval(argv: string[]): Promise<void> {
  const flags = parseFlags(argv);
  if (flags === null) {
    console.log(USAGE);
    return;
  }
  const { training, split, heldShare } = await readInput(flags);
  // Now, so that a missing interpreter stops at once; making the environment is not part of the budget.
  const python = await ensurePython();
  const began = Date.now();
  const say = (text: string) => {
    const seconds = Math.round((Date.now() - began) / 1000);
    process.stderr.write(`[${seconds} s of at most ${flags.budgetMinutes * 60}] ${text}\n`);
  };
  const until = (share: number) => began + share * flags.budgetMinutes * 60_000;
  const secondsTo = (share: number) => Math.max(1, (until(share) - Date.now()) / 1000);

  say(`${training.all.items.length} pairs, ${training.all.userCount} users, ${training.all.itemCount} items`);
  const work = await mkdtemp(join(tmpdir(), 'feedrank-retrieval-'));
  try {
    // Half of them tune, the other half only confirms that the graph helps.
    const tuningUsers = Math.min(TUNING_USERS, Math.ceil(split.users.length / 2));
    const validationUsers = split.users.subarray(0, 2 * tuningUsers);
    await writeInteractions(work, 'full', training.all);
    await writeInteractions(work, 'fit', split.fit);
    await writeInteractions(work, 'held', split.held);
    await writeFile(join(work, 'validation.users'), validationUsers);
    const tuning = { split, users: tuningUsers, say };

    const graphAlone = await tuneGraph({ ...tuning, deadlineMs: until(GRAPH_UNTIL) });
    const { recency } = graphAlone.best;
    const common = { python, work, seed: flags.seed, threads: flags.threads, recency };
    const tunedGraph = ItemGraph.build(split.fit, graphAlone.best);
    const trainerUsers = Math.min(
      tuningUsers,
      TRAINER_USERS,
      Math.max(200, Math.floor(TRAINER_SCORES / training.all.itemCount)),
    );
    await writeFile(join(work, 'graph.scores'), graphScores(tunedGraph, recency, split, trainerUsers));
    const fitSeconds = (FIT_UNTIL - BLEND_UNTIL) * flags.budgetMinutes * 60;
    const trained = await runTrainer('tune', { ...common, seconds: secondsTo(TOWERS_UNTIL), fitSeconds });
    const tuned = await readTowers(work, 'tuned');
    const blended = await tuneBlend(
      { ...tuning, deadlineMs: until(BLEND_UNTIL) },
      {
        graph: tunedGraph,
        recency,
        weight: trained.chosen.spectral.graph,
        ...tuned,
        confirmUntil: validationUsers.length,
      },
    );
    const { weight } = blended;
    say(`chosen: ${JSON.stringify({ graph: graphAlone.best, weight, towers: trained.chosen })}`);

    const fitted = await runTrainer('fit', { ...common, seconds: secondsTo(FIT_UNTIL), fitSeconds });
    const final = await readTowers(work, 'final');
    const figures = await measureTest({
      training,
      test: await readPairs(join(flags.path, 'test.txt')),
      towers: final.towers,
      pools: final.pools,
      graph: ItemGraph.build(training.all, graphAlone.best),
      recency,
      weight,
      deadlineMs: until(TEST_UNTIL),
      say,
    });
    const report = {
      ...figures.blended,
      towers: { exact: figures.exact, hnsw: figures.hnsw },
      graph: figures.graph,
      testUsers: figures.testUsers,
      hnswUsers: figures.hnswUsers,
      index: figures.index,
      chosen: {
        graph: graphAlone.best,
        graphWeight: weight,
        towers: trained.chosen,
      },
      validation: {
        ...blended.quality,
        users: validationUsers.length - tuningUsers,
        graphGain: blended.gain,
        heldShare,
        ordered: split.ordered,
        table: { graph: graphAlone.table, towers: trained.table, blend: blended.table },
      },
      data: {
        path: flags.path,
        users: training.all.userCount,
        items: training.all.itemCount,
        pairs: training.all.items.length,
      },
      seed: flags.seed,
      threads: flags.threads,
      budgetMinutes: flags.budgetMinutes,
      seconds: (Date.now() - began) / 1000,
      peakRssBytes: {
        node: process.resourceUsage().maxRSS * 1024,
        python: Math.max(trained.peakRssBytes, fitted.peakRssBytes),
      },
    };
    print(figures, report);
    if (flags.json !== undefined) await writeFile(flags.json, `${JSON.stringify(report, null, 2)}\n`);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Both files are read before any work, so that a bad line stops at once; the test pairs are dropped again. */
async function readInput({ path, seed, unordered }: Flags) {
  for (const name of ['train.txt', 'test.txt']) {
    if (!existsSync(join(path, name))) throw new Error(`${join(path, name)}: no such file`);
  }
  const training = toTrainingSet(await readPairs(join(path, 'train.txt')));
  if (training.all.items.length === 0) throw new Error(`${join(path, 'train.txt')}: holds no pairs`);
  const test = await readPairs(join(path, 'test.txt'));
  if (![...test.values()].some((items) => items.size > 0))
    throw new Error(`${join(path, 'test.txt')}: holds no pairs`);
  const testPairs = [...test.values()].reduce((sum, items) => sum + items.size, 0);
  const testShare = testPairs / (testPairs + training.all.items.length);
  const heldShare = Math.min(MOST_HELD, Math.max(LEAST_HELD, testShare));
  const split = splitPairs(training.all, heldShare, seed, unordered ? false : undefined);
  if (split.users.length === 0) {
    throw new Error(`${join(path, 'train.txt')}: too few pairs per user to hold any out for validation`);
  }
  return { training, split, heldShare };
}

function parseFlags(argv: string[]): Flags | null {
  const { values } = parseArgs({
    args: argv,
    options: {
      path: { type: 'string' },
      json: { type: 'string' },
      'budget-minutes': { type: 'string', default: '40' },
      unordered: { type: 'boolean', default: false },
      seed: { type: 'string', default: '1' },
      threads: { type: 'string', default: '2' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  if (values.path === undefined) throw new Error('--path DIR is required (see --help)');
  if (!existsSync(values.path)) throw new Error(`--path ${values.path}: no such folder`);
  const json = values.json === undefined ? undefined : resolve(values.json);
  if (json !== undefined && !existsSync(dirname(json)))
    throw new Error(`--json ${json}: its folder does not exist`);
  const budgetMinutes = numberFlag(
    'budget-minutes',
    values['budget-minutes'],
    (n) => n >= 1,
    'a number of at least 1',
  );
  const seed = numberFlag(
    'seed',
    values.seed,
    (n) => Number.isInteger(n) && n >= 0,
    'a non-negative integer',
  );
  const threads = numberFlag(
    'threads',
    values.threads,
    (n) => Number.isInteger(n) && n > 0,
    'a positive integer',
  );
  return { path: resolve(values.path), json, budgetMinutes, unordered: values.unordered, seed, threads };
}

function numberFlag(name: string, text: string, valid: (n: number) => boolean, expected: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(value) || !valid(value))
    throw new Error(`--${name} must be ${expected}, is '${text}'`);
  return value;
}

function print(
  figures: TestFigures,
  report: { seconds: number; peakRssBytes: { node: number; python: number } },
) {
  const line = (name: string, quality: { 'recall@20': number; 'ndcg@20': number } | null) =>
    console.log(
      quality === null
        ? `${name.padEnd(30)} not measured: ${figures.index.reason}`
        : `${name.padEnd(30)} ${quality['recall@20'].toFixed(4)}     ${quality['ndcg@20'].toFixed(4)}`,
    );
  console.log(`${''.padEnd(30)} Recall@20  NDCG@20   (${figures.testUsers} test users)`);
  line('retrieval stage (blended)', figures.blended);
  line('towers, exact', figures.exact);
  line('towers, hnsw', figures.hnsw);
  line('item graph', figures.graph);
  const gib = (bytes: number) => (bytes / 2 ** 30).toFixed(2);
  const { node, python } = report.peakRssBytes;
  console.log(
    `${report.seconds.toFixed(0)} s, peak memory ${gib(node)} GiB (node), ${gib(python)} GiB (trainer)`,
  );
}

if (import.meta.main) {
  try {
    await runRetrieval(process.argv.slice(2));
  } catch (error) {
    console.error(`evaluate retrieval: ${error instanceof Error ? error.message : error}`);
    process.exit(1);
  }
}
