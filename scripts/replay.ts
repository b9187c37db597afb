// `npm run replay`: real timestamped clicks through the API at a multiple of real time, for demo, soak and tests.
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../src/errors.ts';
import { machine } from './bench/machine.ts';
import { REPOSITORY } from './faults/fault-world.ts';
import {
  type Command,
  type FlagValues,
  integerFlag,
  runCommand,
  textFlag,
  UsageError,
} from './import/command.ts';
import { type Clicks, loadGloboClicks } from './replay/clicks.ts';
import { liveDataPage } from './replay/live-data-page.ts';
import { startOwnService } from './replay/own-service.ts';
import { type ReplayReport, replayPage } from './replay/replay-report.ts';
import { runReplay } from './replay/run.ts';
import { type SoakReport, soak } from './replay/soak.ts';

const HELP = `
usage: npm run replay -- --path DIR [flags]

Sends recorded clicks through the API in the order and rhythm in which they happened, X times faster: an article by
POST /posts at its first click, every click by POST /events, while feeds of those who clicked are read. Times are moved
to now. What is not acknowledged is sent again with the same id. Without --url it starts a service with embedded stores
in a folder of its own and compares what was sent with what is stored and counted.

  --path DIR       folder with clicks.parquet; default FEEDRANK_DATA/globo
  --format globo   the only one
  --speed X        times real time (default 60: some 150 clicks a second)
  --duration S     seconds (default 60, at most 7200)
  --feeds N        feeds read a second (default 10; of a soak 30, so that a replica's heap was collected many times, and
                   is as large as it will be, before the half in which growth is judged)
  --url URL        a service that runs, in place of an own one: sent and accepted are compared, nothing else
  --html FILE      the report as a page

  --soak           Redis, PostgreSQL, two replicas and an updater of their own; the updater is killed -9, one replica is
                   stopped and continued; then the users' state is compared with a full rebuild. Linux only.
  --minutes N      length of the soak (default 20, at most 120)
  --accounts N     accounts that the readers share, so that what is kept of users, seen posts above all, reaches its
                   bound in the first half of 20 minutes (default 120; 0 = each has their own)
  --kills N        of the updater (default 20)
  --pause S        how long the replica is stopped (default 30, at least 10; 0 = not at all)
  --quick          a small world to start from
  --markdown FILE  the soak's page, from its figures (default docs/LIVE-DATA.md, none with --quick); the figures
                   themselves go beside it (docs/live-data.json)
  --from FILE      the page from figures that are there, without a run
  --json FILE
  --help

Ends with 1 when counts differ or a criterion of the soak fails.
`;

const SOAK_ONLY = ['minutes', 'accounts', 'kills', 'pause', 'quick', 'markdown', 'from'];
const REPLAY_ONLY = ['duration', 'url', 'html'];

export const replayCommand: Command = {
  help: HELP,
  flags: {
    path: { type: 'string' },
    format: { type: 'string', default: 'globo' },
    speed: { type: 'string' },
    duration: { type: 'string' },
    feeds: { type: 'string' },
    url: { type: 'string' },
    html: { type: 'string' },
    soak: { type: 'boolean' },
    minutes: { type: 'string' },
    accounts: { type: 'string' },
    kills: { type: 'string' },
    pause: { type: 'string' },
    quick: { type: 'boolean' },
    markdown: { type: 'string' },
    from: { type: 'string' },
  },
  async run(flags) {
    const wrong = (flags.soak ? REPLAY_ONLY : SOAK_ONLY).find((name) => flags[name] !== undefined);
    if (wrong) throw new UsageError(`--${wrong} ${flags.soak ? 'is not for a soak' : 'needs --soak'}`);
    if (flags.format !== 'globo') throw new UsageError(`--format must be globo, not "${flags.format}"`);
    const speed = integerFlag(flags, 'speed', 60, 1, 100_000);
    const feedsPerSecond = integerFlag(flags, 'feeds', flags.soak ? 30 : 10, 1, 10_000);
    return flags.soak ? runSoak(flags, speed, feedsPerSecond) : replayOnce(flags, speed, feedsPerSecond);
  },
};

async function replayOnce(flags: FlagValues, speed: number, feedsPerSecond: number): Promise<ReplayReport> {
  const seconds = integerFlag(flags, 'duration', 60, 1, 7200);
  const url = urlFlag(flags);
  const html = textFlag(flags, 'html');
  const clicks = await clicksOf(flags);
  const own = url === undefined ? await startOwnService() : null;
  try {
    const base = own?.base ?? (url as string);
    const prefix = `globo-${randomUUID().slice(0, 8)}-`;
    const replay = await runReplay({
      clicks,
      bases: [base],
      speed,
      prefix,
      durationMs: seconds * 1000,
      feedsPerSecond,
      pids: own ? { service: () => own.pid } : {},
      onProgress: note,
    });
    const { sent } = replay;
    let counted: number | null = null;
    if (own) counted = await settledCount(own.counted, sent.acceptedEvents);
    const stored = own && (await own.stored(prefix));
    const counts = [sent.acceptedEvents, stored, counted].filter((count) => count !== null);
    const report: ReplayReport = {
      at: new Date().toISOString(),
      machine: machine(),
      options: {
        format: 'globo',
        speed,
        feedsPerSecond,
        service: own ? 'own, embedded stores' : 'given by --url',
      },
      replay,
      stored,
      counted,
      same: counts.every((count) => count === sent.events),
    };
    if (html) await writeFile(html, replayPage(report));
    if (!report.same) {
      throw new Error(
        `sent ${sent.events} events, accepted ${sent.acceptedEvents}, stored ${stored}, counted ${counted}`,
      );
    }
    return report;
  } finally {
    await own?.close();
  }
}

async function runSoak(flags: FlagValues, speed: number, feedsPerSecond: number): Promise<SoakReport> {
  const quick = flags.quick === true;
  const minutes = integerFlag(flags, 'minutes', 20, 1, 120);
  const accounts = integerFlag(flags, 'accounts', 120, 0, 10_000_000);
  const kills = integerFlag(flags, 'kills', 20, 0, 1000);
  const pauseSeconds = integerFlag(flags, 'pause', 30, 0, 600);
  if (pauseSeconds > 0 && pauseSeconds < 10)
    throw new UsageError('--pause must be 0 or at least 10: an answer may be 5 s behind');
  const docs = (name: string) => (quick ? undefined : join(REPOSITORY, 'docs', name));
  const markdown = textFlag(flags, 'markdown') ?? docs('LIVE-DATA.md');
  const from = textFlag(flags, 'from');
  if (from !== undefined) {
    const report = await figuresOf(from);
    if (markdown) await writeFile(markdown, liveDataPage(report));
    return report;
  }
  const clicks = await clicksOf(flags);
  const cacheDir = join(REPOSITORY, '.cache');
  const setting = { clicks, speed, accounts, feedsPerSecond, minutes, kills, pauseSeconds, quick };
  const report = await soak({ ...setting, cacheDir, note });
  // Before anything is judged: the figures of a failure are what one wants to see.
  const json = textFlag(flags, 'json') ?? docs('live-data.json');
  if (json) await writeFile(json, `${JSON.stringify(report)}\n`);
  if (markdown) await writeFile(markdown, liveDataPage(report));
  const failed = report.criteria.filter(({ pass }) => !pass);
  if (failed.length > 0) {
    throw new Error(`failed: ${failed.map(({ name, value }) => `${name}: ${value}`).join('; ')}`);
  }
  return report;
}

async function figuresOf(file: string): Promise<SoakReport> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as SoakReport;
  } catch (error) {
    throw new UsageError(`--from: ${file} holds no figures: ${messageOf(error)}`);
  }
}

async function clicksOf(flags: FlagValues): Promise<Clicks> {
  const data = process.env.FEEDRANK_DATA;
  const path = textFlag(flags, 'path') ?? (data ? join(data, 'globo') : undefined);
  if (path === undefined) throw new UsageError('--path is needed, or FEEDRANK_DATA');
  if (!existsSync(join(path, 'clicks.parquet')))
    throw new UsageError(`--path: ${path} has no clicks.parquet`);
  return loadGloboClicks(path);
}

function urlFlag(flags: FlagValues): string | undefined {
  const text = textFlag(flags, 'url');
  if (text === undefined) return undefined;
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new UsageError(`--url must be http://… or https://…, not "${text}"`);
  }
  return text.replace(/\/+$/, '');
}

/** The counters follow the commits by a poll: asked until they have all, or stand still. */
async function settledCount(counted: () => Promise<number>, wanted: number): Promise<number> {
  let count = await counted();
  for (let still = 0; count < wanted && still < 20; ) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    const now = await counted();
    still = now === count ? still + 1 : 0;
    count = now;
  }
  return count;
}

function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

if (import.meta.main) {
  // Leaving by exit lets every process that was started be ended too.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
  await runCommand(replayCommand);
}
