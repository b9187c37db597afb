// `npm run demo -- --once` on a small world: everything is built, three feeds are served at full quality, and a second
// start reuses what was built.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

const dir = mkdtempSync(join(tmpdir(), 'feedrank-demo-'));

interface Printed {
  feeds: { user: { id: string }; posts: { id: string; post: { title: string } }[] }[];
}

function demo(): { status: number | null; stdout: string; stderr: string; printed: Printed } {
  const json = join(dir, 'printed.json');
  const flags = ['--posts', '3000', '--users', '200', '--once', '--port', '0'];
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--no-warnings', 'scripts/demo.ts', ...flags, '--data-dir', join(dir, 'world'), '--json', json],
    { encoding: 'utf8', env: { ...process.env, FEED_DEADLINE_MS: '10000' }, timeout: 110_000 },
  );
  return { status, stdout, stderr, printed: JSON.parse(readFileSync(json, 'utf8')) };
}

afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('the demo', () => {
  it('builds a world, serves it and prints three different feeds', { timeout: 120_000 }, () => {
    const { status, stdout, stderr, printed } = demo();
    expect(status, stderr).toBe(0);
    expect(stdout.match(/ranked by ranker@\d+, .*full quality/g)).toHaveLength(3);
    expect(printed.feeds).toHaveLength(3);
    const ids = printed.feeds.map(({ posts }) => posts.map((post) => post.id));
    for (const feed of ids) expect(new Set(feed).size).toBe(10);
    expect(new Set(ids.flat()).size).toBeGreaterThan(20);
    for (const { posts } of printed.feeds)
      for (const { post } of posts) expect(post.title.length).toBeGreaterThan(3);
  });

  it('reuses the world at a second start', { timeout: 120_000 }, () => {
    const { status, stdout, stderr } = demo();
    expect(status, stderr).toBe(0);
    expect(stdout).toMatch(/Reusing the world/);
    expect(stdout.match(/full quality/g)).toHaveLength(3);
  });
});
