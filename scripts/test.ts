// `npm test`: starts real Redis and Postgres servers where they can be had without touching the system, runs every
// test against them, stops them. The last line reads `N passed, N failed` or `N passed, N failed, N skipped`.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { RunningServer } from '../test/setup/child-process.ts';
import { startPostgres } from '../test/setup/postgres-server.ts';
import { startRedis } from '../test/setup/redis-server.ts';

const USAGE = `usage: npm test [-- [options] [file filter …]]
  --name PATTERN    run only the tests whose name matches
  --no-servers      start no Redis and no Postgres; their tests are skipped
  --json FILE       write the figures
  --help
TEST_DATABASE_URL and TEST_REDIS_URL, when set, are used in place of servers started here.`;

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const cacheDir = join(root, '.cache', 'servers');

interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  testResults: { name: string; status: string; assertionResults: { status: string }[] }[];
}

const servers: RunningServer[] = [];
let runner: ReturnType<typeof spawn> | null = null;

async function main(): Promise<number> {
  const { values, positionals } = readFlags();
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const env: Record<string, string> = {};
  if (!values['no-servers']) {
    await provide('PostgreSQL', 'TEST_DATABASE', () => startPostgres(cacheDir), env);
    await provide('Redis', 'TEST_REDIS', () => startRedis(cacheDir), env);
  }
  const work = mkdtempSync(join(tmpdir(), 'feedrank-test-'));
  const reportFile = join(work, 'report.json');
  const exitCode = await runVitest(positionals, values.name, reportFile, env);
  await stopServers();
  const counts = readCounts(reportFile);
  rmSync(work, { recursive: true, force: true });
  const ran = counts.passed + counts.failed;
  if (ran === 0) console.error('no test ran');
  else if (exitCode !== 0 && counts.failed === 0) console.error(`vitest ended with ${exitCode}: see above`);
  if (values.json) writeFileSync(values.json, `${JSON.stringify({ ...counts, exitCode })}\n`);
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : '';
  console.log(`${counts.passed} passed, ${counts.failed} failed${skipped}`);
  return exitCode !== 0 || counts.failed > 0 || ran === 0 ? 1 : 0;
}

function readFlags() {
  return parseArgs({
    allowPositionals: true,
    options: {
      name: { type: 'string' },
      'no-servers': { type: 'boolean' },
      json: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
}

/** Puts `<prefix>_URL` or `<prefix>_SKIP` (the reason) into the tests' environment. */
async function provide(
  title: string,
  prefix: string,
  startHere: () => Promise<RunningServer>,
  env: Record<string, string>,
): Promise<void> {
  if (process.env[`${prefix}_URL`]) {
    console.error(`${title}: ${prefix}_URL`);
    return;
  }
  try {
    const server = await startHere();
    servers.push(server);
    env[`${prefix}_URL`] = server.url;
    console.error(`${title}: ${server.origin}`);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    env[`${prefix}_SKIP`] = reason;
    console.error(`${title}: its tests are skipped: ${reason}`);
  }
}

function runVitest(
  filters: string[],
  name: string | undefined,
  reportFile: string,
  env: Record<string, string>,
): Promise<number> {
  const require = createRequire(import.meta.url);
  const vitest = join(dirname(require.resolve('vitest/package.json')), 'vitest.mjs');
  const args = [vitest, 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
  if (name !== undefined) args.push('--testNamePattern', name);
  return new Promise((resolve) => {
    runner = spawn(process.execPath, [...args, ...filters], {
      cwd: root,
      stdio: 'inherit',
      env: { ...process.env, ...env },
    });
    runner.on('error', (error) => {
      console.error(error.message);
      resolve(1);
    });
    runner.on('exit', (code) => resolve(code ?? 1));
  });
}

function readCounts(reportFile: string): { passed: number; failed: number; skipped: number } {
  let report: VitestReport;
  try {
    report = JSON.parse(readFileSync(reportFile, 'utf8')) as VitestReport;
  } catch {
    return { passed: 0, failed: 0, skipped: 0 };
  }
  // A file that cannot be loaded has no tests that could fail: it counts as one failure.
  const brokenFiles = report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  );
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + brokenFiles.length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

async function stopServers(): Promise<void> {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, async () => {
    runner?.kill(signal);
    await stopServers();
    process.exit(130);
  });
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  await stopServers();
  process.exitCode = 1;
}
