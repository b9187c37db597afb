// `npm run bench -- profile`: V8's sampling profiler on the main thread and the workers of a service under load, as a
// table of self time a feed, folded stacks and .cpuprofile files (Chrome's and speedscope's format).
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ClosedLoopResult, closedLoop } from './closed-loop.ts';
import { type CpuProfile, mentions, type ProfileSummary, summarise } from './cpu-profile.ts';
import { startService } from './service-process.ts';
import { type BenchWorld, benchWorld, copyWorld } from './world.ts';

export interface ProfileOptions extends BenchWorld {
  seconds: number;
  inFlight: number;
  /** Where the .cpuprofile and .folded files go. */
  outDir: string;
  /** Heading on the page, such as `before`. */
  label?: string;
}

export interface ThreadProfile {
  thread: string;
  busyMsPerFeed: number;
  /** ms a feed, the largest first. */
  parts: { name: string; msPerFeed: number }[];
  functions: { name: string; msPerFeed: number }[];
}

export interface ProfileResult {
  label?: string;
  posts: number;
  feeds: number;
  perSecond: number;
  threads: ThreadProfile[];
  files: string[];
}

const WARM_UP_SECONDS = 3;
const INTERVAL_US = 250;
const LISTED = 40;

export async function benchProfile(options: ProfileOptions): Promise<ProfileResult> {
  const { posts, users, seed, seconds, inFlight, outDir } = options;
  const world = copyWorld(await benchWorld(options));
  const raw = mkdtempSync(join(tmpdir(), 'feedrank-profile-'));
  try {
    const service = await startService({
      DATA_DIR: world.dataDir,
      RATE_LIMIT_PER_MINUTE: '0',
      USER_RATE_LIMIT_PER_MINUTE: '0',
      NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${raw} --cpu-prof-interval=${INTERVAL_US}`,
    });
    const { base } = service;
    let fromUs = 0;
    let load: ClosedLoopResult;
    try {
      await closedLoop({ base, users, inFlight, seconds: WARM_UP_SECONDS, seed: seed + 1 });
      fromUs = monotonicUs();
      load = await closedLoop({ base, users, inFlight, seconds, seed });
    } finally {
      // The profiles are written as the threads end.
      await service.stop();
    }
    const toUs = fromUs + seconds * 1e6;
    mkdirSync(outDir, { recursive: true });
    const threads: ThreadProfile[] = [];
    const files: string[] = [];
    for (const file of readdirSync(raw).sort()) {
      const profile = JSON.parse(readFileSync(join(raw, file), 'utf8')) as CpuProfile;
      const summary = summarise(profile, fromUs, toUs);
      if (summary.busyMs < 1) continue;
      const thread = threadName(profile, threads);
      threads.push(perFeed(thread, summary, load.feeds));
      const name = join(outDir, thread.replaceAll(' ', '-'));
      copyFileSync(join(raw, file), `${name}.cpuprofile`);
      writeFileSync(`${name}.folded`, folded(summary));
      files.push(`${name}.cpuprofile`, `${name}.folded`);
    }
    return { label: options.label, posts, feeds: load.feeds, perSecond: load.perSecond, threads, files };
  } finally {
    world.remove();
    rmSync(raw, { recursive: true, force: true });
  }
}

/** The clock that the profiler's times are on. */
function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

function threadName(profile: CpuProfile, before: readonly ThreadProfile[]): string {
  const isFeedWorker = mentions(profile, '/src/worker.ts');
  const kind = mentions(profile, '/src/main.ts') ? 'main' : isFeedWorker ? 'feed worker' : 'other thread';
  const count = before.filter(({ thread }) => thread.startsWith(kind)).length;
  return kind === 'main' ? kind : `${kind} ${count + 1}`;
}

function perFeed(thread: string, { busyMs, parts, functions }: ProfileSummary, feeds: number): ThreadProfile {
  const each = ({ name, ms }: { name: string; ms: number }) => ({
    name,
    msPerFeed: Number((ms / feeds).toFixed(4)),
  });
  return {
    thread,
    busyMsPerFeed: Number((busyMs / feeds).toFixed(3)),
    parts: parts.slice(0, LISTED).map(each),
    functions: functions.slice(0, LISTED).map(each),
  };
}

/** `outer;inner µs` a line, as flamegraph.pl, inferno and speedscope read it. */
function folded({ stacks }: ProfileSummary): string {
  const lines = [...stacks].map(([stack, ms]) => `${stack} ${Math.round(ms * 1000)}`);
  return `${lines.sort().join('\n')}\n`;
}

export function printProfile({ posts, feeds, perSecond, threads, files }: ProfileResult): string {
  const table = (rows: ThreadProfile['parts'], count: number) =>
    rows.slice(0, count).map(({ name, msPerFeed }) => `  ${msPerFeed.toFixed(3).padStart(8)}  ${name}`);
  return [
    `${posts.toLocaleString('en')} posts, ${feeds} feeds, ${perSecond}/s; CPU-ms a feed, self time`,
    ...threads.flatMap(({ thread, busyMsPerFeed, parts, functions }) => [
      '',
      `${thread}: ${busyMsPerFeed} ms a feed`,
      ...table(parts, 12),
      '  by function:',
      ...table(functions, 25),
    ]),
    '',
    ...files,
  ].join('\n');
}
