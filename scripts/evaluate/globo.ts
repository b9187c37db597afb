// `npm run evaluate -- globo`: predicts each next click of a news stream from the clicks before it, learning as it goes.
import { type Command, integerFlag, runCommand } from '../import/command.ts';
import { startProgress } from '../import/progress.ts';
import { ensurePython } from '../train/python-env.ts';
import { replayClicks } from './globo-replay.ts';
import { serveClicks } from './globo-served.ts';
import { readClickStream, splitStream } from './globo-stream.ts';
import { folderFlag } from './replay-folder.ts';
import { signed, tableRow } from './replay-table.ts';
import { runFacts } from './run-facts.ts';

const HELP = `usage: npm run evaluate -- globo --path DIR [flags]

  --path DIR            folder with clicks.parquet
  --json FILE           write the figures to FILE instead of the output
  --train-targets N     next clicks the ranker learns from before the test, at most (default 250000)
  --test-targets N      next clicks tested, at most (default: all of the last day)
  --limit N             read the first N rows only
  --threads N           of the trainer (default 1)
  --seed N              default 1
  --help                this text

The test is the last UTC day of the file. A target is a click after the first of its session whose article the session
had not opened; all articles seen so far are ranked, those the session opened left out; only clicks with an earlier
timestamp are used, and counters, edges, vectors and ranker go on learning through the test. What has to be chosen is
chosen on the 24 hours before the test. Some of the targets are also asked of the service itself, with a ranker trained
on its own features: needs Python with scripts/train/requirements.txt, as the other replays.`;

const VALIDATION_TARGETS = 20_000;
/** Requests that the service itself is asked, at most. */
const SERVED_TARGETS = 4000;
/** Of training the ranker of the service's own features. */
const SERVED_MINUTES = 3;
/** The margin asked for above the better floor. */
const MARGIN = 0.03;

const command: Command = {
  help: HELP,
  flags: {
    path: { type: 'string' },
    'train-targets': { type: 'string' },
    'test-targets': { type: 'string' },
    limit: { type: 'string' },
    threads: { type: 'string' },
    seed: { type: 'string' },
  },
  async run(flags) {
    const dir = folderFlag(flags, ['clicks.parquet']);
    const trainTargets = integerFlag(flags, 'train-targets', 250_000, 0, 1e9);
    const testTargets = integerFlag(flags, 'test-targets', 1e9, 1, 1e9);
    const threads = integerFlag(flags, 'threads', 1, 1, 256);
    const seed = integerFlag(flags, 'seed', 1, 0, 2 ** 31);
    const limit = integerFlag(flags, 'limit', 1e9, 1, 1e9);
    const began = performance.now();
    process.stderr.write('globo: reading clicks.parquet\n');
    const stream = await readClickStream(dir, limit);
    const split = splitStream(stream.at);
    await ensurePython();
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
    const again = startProgress('globo: served');
    const onProgress = (fraction: number) => again.update(fraction, Math.round(fraction * stream.clicks));
    const served = await serveClicks(stream, split, {
      targets: Math.min(SERVED_TARGETS, testTargets),
      seed,
      threads,
      minutes: SERVED_MINUTES,
      onProgress,
    });
    again.stop();
    const floor = Math.max(figures.lastHour.hr20, figures.popularityAndTogether.hr20);
    const target = figures.popularityAndTogether.hr20 + MARGIN;
    const table = [
      tableRow('', 'HR@20', 'MRR@20', 'target', 'difference'),
      tableRow('popularity of the last hour', ...hits(figures.lastHour)),
      tableRow('decayed popularity + co-occurrence', ...hits(figures.popularityAndTogether)),
      tableRow('through the service alone', served.hr20),
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
      served,
      seed,
      run: runFacts(),
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
