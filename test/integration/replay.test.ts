// `npm run replay` as its users run it: a small clicks.parquet through a service of its own, counted to the last event.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteFile } from 'hyparquet-writer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { execute } from '../../scripts/import/command.ts';
import { loadGloboClicks } from '../../scripts/replay/clicks.ts';
import type { ReplayReport } from '../../scripts/replay/replay-report.ts';
import { replayCommand } from '../../scripts/replay.ts';

const COUNT = 240;
const START = Date.UTC(2017, 9, 1);
let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'feedrank-clicks-'));
  const numbers = Array.from({ length: COUNT }, (_, i) => i);
  // Not in order of time, and one without an article.
  const order = numbers.toReversed();
  parquetWriteFile({
    filename: join(dir, 'clicks.parquet'),
    columnData: [
      { name: 'user_id', type: 'INT32', data: order.map((i) => i % 11) },
      { name: 'click_article_id', type: 'INT32', data: order.map((i) => (i === 7 ? null : i % 29)) },
      { name: 'click_timestamp', type: 'INT64', data: order.map((i) => BigInt(START + i * 1000)) },
    ],
  });
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

function run(...args: string[]) {
  return spawnSync(process.execPath, ['--no-warnings', 'scripts/replay.ts', ...args], {
    encoding: 'utf8',
    timeout: 60_000,
    env: { ...process.env, FEEDRANK_DATA: '' },
  });
}

describe('a replay', () => {
  it('reads clicks in time order and counts what it left out', async () => {
    const { users, articles, at, left } = await loadGloboClicks(dir);
    expect(left).toBe(1);
    expect(at).toHaveLength(COUNT - 1);
    expect(at[0]).toBe(START);
    expect([...at]).toEqual([...at].sort((a, b) => a - b));
    expect([users[3], articles[3]]).toEqual([3, 3]);
  });

  it('sends every click once, stores and counts it, and says so in JSON and HTML', {
    timeout: 60_000,
  }, () => {
    const [json, html] = [join(dir, 'report.json'), join(dir, 'report.html')];
    const flags = ['--speed', '120', '--duration', '30', '--feeds', '5', '--json', json, '--html', html];
    const { status, stderr } = run('--path', dir, ...flags);
    expect(status, stderr).toBe(0);
    const report = JSON.parse(readFileSync(json, 'utf8')) as ReplayReport;
    const { sent, feeds, freshness } = report.replay;
    expect(sent).toMatchObject({ events: COUNT - 1, acceptedEvents: COUNT - 1, posts: 29, rejected: 0 });
    expect([report.stored, report.counted, report.same]).toEqual([COUNT - 1, COUNT - 1, true]);
    expect(feeds.feeds).toBeGreaterThan(0);
    expect(feeds.failed).toBe(0);
    expect(freshness).toMatchObject({ late: 0, unwritten: 0 });
    expect(readFileSync(html, 'utf8')).toContain('Events sent = accepted = stored = counted.');
  });

  it.each([
    [['--path', '.'], /no clicks\.parquet/],
    [['--format', 'netflix'], /--format must be globo/],
    [['--url', 'ftp://x'], /--url must be/],
    [['--kills', '3'], /--kills needs --soak/],
    [['--soak', '--duration', '3'], /--duration is not for a soak/],
    [['--speed', '0'], /--speed must be an integer/],
  ])('refuses %j with one line', async (args, reason) => {
    let said = '';
    const io = { out: () => {}, error: (text: string) => void (said += text) };
    expect(await execute(replayCommand, args, io)).toBe(2);
    expect(said).toMatch(reason);
    expect(said.trim().split('\n')).toHaveLength(1);
  });
});
