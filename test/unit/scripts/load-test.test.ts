// The command as a process of its own: what it refuses, a whole run against a stand-in, and Ctrl-C.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { execute } from '../../../scripts/import/command.ts';
import type { LoadTestReport } from '../../../scripts/load-test/run.ts';
import { loadTestCommand } from '../../../scripts/load-test.ts';
import { type FakeService, fakeFeed, json, startFakeService } from './load-test-fake-service.ts';

const SCRIPT = join(import.meta.dirname, '../../../scripts/load-test.ts');

let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'feedrank-load-test-'));
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

interface Ended {
  code: number | null;
  out: string;
  error: string;
}

/** `onError` sees stderr as it comes, with the process's id. */
function loadTest(args: string[], onError: (text: string, pid: number) => void = () => {}): Promise<Ended> {
  const child = spawn(process.execPath, ['--no-warnings', SCRIPT, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended: Ended = { code: null, out: '', error: '' };
  child.stdout.on('data', (data) => {
    ended.out += data;
  });
  child.stderr.on('data', (data) => {
    ended.error += data;
    onError(ended.error, child.pid!);
  });
  return new Promise((resolve) => child.once('close', (code) => resolve({ ...ended, code })));
}

function readReport(file: string): LoadTestReport {
  return JSON.parse(readFileSync(file, 'utf8'));
}

describe('the command', () => {
  test.each([
    ['another machine', ['--url', 'http://example.com'], '--url must be on this machine'],
    ['an address of another machine', ['--url', 'http://10.0.0.1:3000'], '--url must be on this machine'],
    [
      'a name that only looks local',
      ['--url', 'http://127.0.0.1.example.com'],
      '--url must be on this machine',
    ],
    ['TLS', ['--url', 'https://localhost:3000'], '--url must be http://'],
    ['no target', ['--rate', '5'], 'give either --url or --start'],
    [
      'a rate beyond the bound',
      ['--url', 'http://[::1]:1', '--rate', '1e9'],
      '--rate must be a number from 0.1 to 20000',
    ],
    [
      'a duration beyond the bound',
      ['--url', 'http://localhost', '--duration', '9999'],
      '--duration must be',
    ],
    ['falling steps', ['--url', 'http://localhost', '--steps', '9,5'], '--steps must be'],
    ['endless steps', ['--url', 'http://localhost', '--steps', '1:1.05:20000'], 'more than 40 steps'],
    ['an unknown mix', ['--url', 'http://localhost', '--mix', 'feed=1,posts=1'], '--mix must name shares'],
    ['a folder without a world', ['--start', 'embedded', '--data-dir', '/nonexistent'], 'has no index'],
    ['an unknown flag', ['--frobnicate'], "Unknown option '--frobnicate'"],
  ])('refuses %s with one line', async (_, args, reason) => {
    let error = '';
    let out = '';
    const io = { out: (text: string) => void (out += text), error: (text: string) => void (error += text) };
    expect(await execute(loadTestCommand, args, io)).toBeGreaterThan(0);
    expect(out).toBe('');
    expect(error).toContain(reason);
    expect(error.trim().split('\n')).toHaveLength(1);
  });

  test('explains itself', async () => {
    const { code, out } = await loadTest(['--help']);
    expect(code).toBe(0);
    expect(out).toContain('usage: npm run load-test');
  });
});

describe('a run', () => {
  let service: FakeService;

  beforeAll(async () => {
    service = await startFakeService((userId, limit, response) => {
      if (userId !== 'm1') return false;
      json(response, 200, fakeFeed(userId, limit, { degraded: ['ranker_late'] }));
      return true;
    });
  });

  afterAll(() => service.close());

  const flags = (name: string) => [
    ...[
      '--url',
      service.base,
      '--users',
      '5',
      '--user-prefix',
      'm',
      '--limit',
      '4',
      '--mix',
      'feed=.8,events=.2',
    ],
    ...['--json', join(dir, `${name}.json`), '--html', join(dir, `${name}.html`)],
  ];

  test('finds the knee over two generators, holds beyond it, and writes both reports', async () => {
    const { code, error } = await loadTest([
      ...flags('steps'),
      ...['--steps', '40,80', '--duration', '.5', '--warm-up', '.5', '--recovery', '.5', '--hold', '2'],
      ...['--workers', '2', '--accept-degraded', '--p99', '60000', '--seed', '3'],
    ]);
    const report = readReport(join(dir, 'steps.json'));
    const roles = report.phases.filter(({ superseded }) => !superseded).map(({ role }) => role);
    // A machine that is busy with something else voids the run: then it must say so, in every place.
    if (report.void.length > 0) {
      expect(code).toBe(1);
      expect(error).toContain('the run is void');
    } else {
      expect(code).toBe(0);
      expect(roles).toEqual(['warm-up', 'step', 'step', 'hold', 'recovery']);
      expect(report.knee).toEqual({ rate: 80, bounded: false });
      expect(report.holds[0]).toMatchObject({ factor: 2, rate: 160, refused: 0 });
    }
    const { counts } = report.phases.find(({ role }) => role === 'step')!;
    expect(counts.feed.good + counts.feed.degraded).toBe(counts.feed.offered);
    expect(counts.feed.degraded).toBeGreaterThan(0);
    expect(counts.event.good).toBe(counts.event.offered);
    expect(report.settings).toMatchObject({ generators: 2, users: 5, profilesChecked: 0 });
    const html = readFileSync(join(dir, 'steps.html'), 'utf8');
    expect(html.match(/<svg /g)!.length).toBeGreaterThanOrEqual(3);
    expect(html).not.toMatch(/<script|https?:\/\/(?!127\.0\.0\.1)/);
    expect(html).not.toContain('NaN');
    expect(html.includes('<b>Void.</b>')).toBe(report.void.length > 0);
  });

  test('a service that is wrong before any load is not loaded', async () => {
    const broken = await startFakeService((_user, limit, response) => {
      json(response, 200, fakeFeed('somebody', limit));
      return true;
    });
    const { code, error } = await loadTest(['--url', broken.base, '--rate', '50', '--duration', '1']);
    await broken.close();
    expect(code).toBe(1);
    expect(error).toContain('is not right before any load: wrong:another user');
    expect(broken.requests.filter((path) => path.startsWith('/feed/'))).toHaveLength(1);
  });

  test('a late generator voids the run: exit 1, and both reports say so', async () => {
    // Stopped for a while and continued, the generator's process cannot keep its schedule.
    const stall = (pid: number) => {
      for (const child of childrenOf(pid)) {
        process.kill(child, 'SIGSTOP');
        setTimeout(() => process.kill(child, 'SIGCONT'), 400);
      }
    };
    let stalled = false;
    const { code, error } = await loadTest(
      [...flags('void'), ...['--rate', '50', '--duration', '1.5', '--warm-up', '.5']],
      (text, pid) => {
        if (stalled || !text.includes('warm-up:')) return;
        stalled = true;
        setTimeout(() => stall(pid), 400);
      },
    );
    expect(code).toBe(1);
    expect(error).toContain('the run is void: rate 50/s: the generator was late');
    expect(readReport(join(dir, 'void.json')).void).toHaveLength(1);
    expect(readFileSync(join(dir, 'void.html'), 'utf8')).toContain('<b>Void.</b>');
  });

  test('Ctrl-C ends the load and still writes both reports', async () => {
    let stopped = false;
    const { code, error } = await loadTest(
      [...flags('interrupted'), ...['--rate', '50', '--duration', '60', '--warm-up', '.5']],
      (text, pid) => {
        if (stopped || !text.includes('warm-up:')) return;
        stopped = true;
        setTimeout(() => process.kill(pid, 'SIGINT'), 700);
      },
    );
    expect(code).toBe(1);
    expect(error).toContain('interrupted');
    const report = readReport(join(dir, 'interrupted.json'));
    expect(report.interrupted).toBe(true);
    const { seconds, counts } = report.phases.at(-1)!;
    expect(seconds).toBeLessThan(30);
    expect(counts.feed.good + counts.feed.degraded).toBeGreaterThan(0);
    expect(existsSync(join(dir, 'interrupted.html'))).toBe(true);
  });
});

/** Processes that a process started. */
function childrenOf(pid: number): number[] {
  const list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return list.trim().split(/\s+/).filter(Boolean).map(Number);
}
