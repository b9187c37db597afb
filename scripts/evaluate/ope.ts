// `npm run evaluate -- ope`: off-policy evaluation, on a logged-bandit folder or on the service's own serving log.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { readConfig } from '../../src/config.ts';
import { messageOf } from '../../src/errors.ts';
import { openSqlStore } from '../../src/features/store/postgres-store.ts';
import { parseValueWeights, type ValueWeights } from '../../src/ranking/value-model.ts';
import {
  type Command,
  type FlagValues,
  integerFlag,
  runCommand,
  textFlag,
  UsageError,
} from '../import/command.ts';
import { startProgress } from '../import/progress.ts';
import { evaluateOpenBandit, RANDOM } from './ope-open-bandit.ts';
import { evaluateServingLog } from './ope-serving-log.ts';
import { banditTable, servingTable } from './ope-table.ts';
import { runFacts } from './run-facts.ts';

const HELP = `
npm run evaluate -- ope --logs DIR [flags]
npm run evaluate -- ope --serving-log [--weights JSON] [flags]

Estimates what a policy would earn from what another one logged with known probabilities: IPS, self-normalised IPS and
doubly-robust, with 95 % confidence intervals, and says where the log does not support the estimate.

  --logs DIR         folder in Open Bandit's layout, <policy>/<campaign>/<campaign>.csv: the value of the random policy
                     from each other policy's log, against the random policy's own log, and the reverse
  --serving-log      the service's explored requests and their engagements
  --weights JSON     value weights to estimate, as VALUE_WEIGHTS: {"like":3,…} or a file of it; heads that are left out
                     keep their default. Without it only what the log itself shows
  --reward JSON      what engagements are worth, the yardstick of both policies (default: VALUE_WEIGHTS or its default)
  --depth K          positions that count, from the top (default 10)
  --data-dir DIR     embedded database (default: DATA_DIR or ./data)
  --resamples N      bootstrap samples (default 1000)
  --seed N           seed of folds and bootstrap (default 1)
  --json FILE        write the figures to FILE instead of standard output
  --help             this text`;

const SERVING_FLAGS = ['weights', 'reward', 'depth', 'data-dir'];

export const opeCommand: Command = {
  help: HELP,
  flags: {
    logs: { type: 'string' },
    'serving-log': { type: 'boolean' },
    weights: { type: 'string' },
    reward: { type: 'string' },
    depth: { type: 'string' },
    'data-dir': { type: 'string' },
    resamples: { type: 'string' },
    seed: { type: 'string' },
  },
  run: evaluateOpe,
};

export async function runOpe(argv: string[]): Promise<void> {
  await runCommand(opeCommand, argv);
}

async function evaluateOpe(flags: FlagValues): Promise<object> {
  const logs = textFlag(flags, 'logs');
  if ((logs === undefined) === (flags['serving-log'] !== true)) {
    throw new UsageError('either --logs DIR or --serving-log is required');
  }
  const resamples = integerFlag(flags, 'resamples', 1000, 100, 100_000);
  const seed = integerFlag(flags, 'seed', 1, 0, 2 ** 31 - 1);
  if (logs === undefined) return evaluateService(flags, resamples, seed);
  const foreign = SERVING_FLAGS.find((name) => flags[name] !== undefined);
  if (foreign) throw new UsageError(`--${foreign} belongs to --serving-log`);
  if (!existsSync(logs)) throw new UsageError(`--logs ${logs}: no such folder`);

  const progress = startProgress('ope');
  const campaigns = await evaluateOpenBandit(logs, { resamples, seed }, progress.update);
  progress.stop();
  print(flags, banditTable(campaigns));
  const ofRandom = campaigns.filter(({ of, truth }) => of === RANDOM && truth !== null);
  const covered = ofRandom.length === 0 ? null : ofRandom.every((result) => result.covered!.snips);
  return { run: runFacts(), seed, resamples, covered, campaigns };
}

async function evaluateService(flags: FlagValues, resamples: number, seed: number): Promise<object> {
  const config = readConfig();
  const depth = integerFlag(flags, 'depth', 10, 1, 1000);
  const weights = (await weightsFlag(flags, 'weights')) ?? null;
  const reward = (await weightsFlag(flags, 'reward')) ?? configuredWeights(config.VALUE_WEIGHTS);
  const dataDir = textFlag(flags, 'data-dir') ?? config.DATA_DIR;
  if (!config.DATABASE_URL && !existsSync(dataDir))
    throw new UsageError(`--data-dir ${dataDir}: no such folder`);
  const store = await openSqlStore({ databaseUrl: config.DATABASE_URL, dataDir, attach: true });
  const progress = startProgress('ope');
  let rows = 0;
  try {
    const evaluation = await evaluateServingLog(store, { weights, reward, depth, seed, resamples }, (read) =>
      progress.update(0, (rows += read)),
    );
    progress.update(1, rows);
    progress.stop();
    print(flags, servingTable(evaluation));
    return { ...evaluation, run: runFacts(), seed, resamples };
  } finally {
    await store.close();
  }
}

/** Where the figures go to standard output, the table makes way. */
function print(flags: FlagValues, table: string): void {
  const stream = flags.json === undefined ? process.stderr : process.stdout;
  stream.write(`${table}\n`);
}

async function weightsFlag(flags: FlagValues, name: string): Promise<ValueWeights | undefined> {
  const text = textFlag(flags, name);
  if (text === undefined) return undefined;
  try {
    const json = text.trimStart().startsWith('{') ? text : await readFile(text, 'utf8');
    return parseValueWeights(JSON.parse(json), name);
  } catch (error) {
    throw new UsageError(`--${name}: ${messageOf(error)}`);
  }
}

function configuredWeights(text: string | undefined): ValueWeights {
  if (text === undefined) return parseValueWeights(undefined);
  try {
    return parseValueWeights(JSON.parse(text), 'VALUE_WEIGHTS');
  } catch (error) {
    throw new UsageError(`VALUE_WEIGHTS: ${messageOf(error)}`);
  }
}

if (import.meta.main) await runOpe(process.argv.slice(2));
