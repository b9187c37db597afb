// `npm run evaluate -- globo`: predicts each next click of a news stream from the clicks before it, learning as it goes.
import { type Command, integerFlag, runCommand, textFlag, UsageError } from '../import/command.ts';
import { startProgress } from '../import/progress.ts';
import { replayClicks } from './globo-replay.ts';
import { readClickStream, splitStream } from './globo-stream.ts';
import { signed, tableRow } from './replay-table.ts';

const HELP = `usage: npm run evaluate -- globo --path DIR [flags]

  --path DIR            folder with clicks.parquet
  --json FILE           write the figures to FILE instead of the output
  --train-targets N     next clicks the ranker learns from before the test, at most (default 250000)
  --test-targets N      next clicks tested, at most (default: all of the last day)
  --limit N             read the first N rows only
  --seed N              default 1
  --help                this text

The test is the last UTC day of the file. A target is a click after the first of its session whose article the session
had not opened; all articles seen so far are ranked, those the session opened left out; only clicks with an earlier
timestamp are used, and counters, edges, vectors and ranker go on learning through the test. What has to be chosen is
chosen on the 24 hours before the test.`;

const VALIDATION_TARGETS = 20_000;
/** The margin asked for above the better floor. */
const MARGIN = 0.03;

const command: Command = {
  help: HELP,
  flags: {
    path: { type: 'string' },
    'train-targets': { type: 'string' },
    'test-targets': { type: 'string' },
    limit: { type: 'string' },
    seed: { type: 'string' },
  },
  async run(flags) {
    const dir = textFlag(flags, 'path');
    if (dir === undefined) throw new UsageError('--path is required');
    const trainTargets = integerFlag(flags, 'train-targets', 250_000, 0, 1e9);
    const testTargets = integerFlag(flags, 'test-targets', 1e9, 1, 1e9);
    const seed = integerFlag(flags, 'seed', 1, 0, 2 ** 31);
    const limit = integerFlag(flags, 'limit', 1e9, 1, 1e9);
    const began = performance.now();
    process.stderr.write('globo: reading clicks.parquet\n');
    const stream = await readClickStream(dir, limit);
    const split = splitStream(stream.at);
    const progress = startProgress('globo');
    const figures = replayClicks(stream, split, {
      trainTargets,
      validationTargets: VALIDATION_TARGETS,
      testTargets,
      seed,
      onProgress: (clicks) => {
        if (clicks % 64 === 0 || clicks === stream.clicks) progress.update(clicks / stream.clicks, clicks);
      },
    });
    progress.stop();
    const floor = Math.max(figures.lastHour.hr20, figures.popularityAndTogether.hr20);
    const target = figures.popularityAndTogether.hr20 + MARGIN;
    const table = [
      tableRow('', 'HR@20', 'MRR@20', 'target', 'difference'),
      tableRow('popularity of the last hour', ...hits(figures.lastHour)),
      tableRow('decayed popularity + co-occurrence', ...hits(figures.popularityAndTogether)),
      tableRow('feedrank', ...hits(figures.model), target, signed(figures.model.hr20 - target)),
    ];
    process.stderr.write(`${table.join('\n')}\n`);
    return {
      'hr@20': figures.model.hr20,
      'floor_hr@20': floor,
      'target_hr@20': target,
      difference: figures.model.hr20 - target,
      testFrom: new Date(split.testFromMs).toISOString(),
      testTo: new Date(stream.at[stream.clicks - 1]).toISOString(),
      clicks: stream.clicks,
      rejected: stream.rejected,
      ...figures,
      seed,
      seconds: Math.round((performance.now() - began) / 1000),
      rssMb: Math.round(process.memoryUsage().rss / 2 ** 20),
    };
  },
};

export function runGlobo(argv: string[]): Promise<void> {
  return runCommand(command, argv);
}

function hits({ hr20, mrr20 }: { hr20: number; mrr20: number }): number[] {
  return [hr20, mrr20];
}
