// The import, export and generate commands as a user runs them, on the embedded database.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';

const root = mkdtempSync(join(tmpdir(), 'feedrank-import-'));
const repository = join(import.meta.dirname, '../..');
const publicData = process.env.FEEDRANK_DATA;
afterAll(() => rmSync(root, { recursive: true, force: true }));

interface Outcome {
  code: number | null;
  figures: Record<string, unknown>;
  stderr: string;
}

function run(script: string, ...args: string[]): Promise<Outcome> {
  const child: ChildProcess = spawn(
    process.execPath,
    [join(repository, 'scripts', `${script}.ts`), ...args],
    {
      cwd: root,
      env: { ...process.env, DATABASE_URL: '', DATA_DIR: '', NODE_NO_WARNINGS: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let stdout = '';
  let stderr = '';
  child.stdout!.on('data', (chunk) => (stdout += chunk));
  child.stderr!.on('data', (chunk) => (stderr += chunk));
  return new Promise((resolve) => {
    child.on('close', (code) =>
      resolve({ code, figures: stdout.startsWith('{') ? JSON.parse(stdout) : {}, stderr }),
    );
  });
}

function folder(name: string, files: Record<string, string | Buffer>): string {
  const dir = join(root, name);
  mkdirSync(dir, { recursive: true });
  for (const [file, content] of Object.entries(files)) writeFileSync(join(dir, file), content);
  return dir;
}

function lines(path: string): Record<string, unknown>[] {
  return readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

describe('jsonl', () => {
  const dir = folder('jsonl', {
    'posts.jsonl': Buffer.concat([
      Buffer.from(
        [
          '{"id":"p1","authorId":"ana","createdAt":"2026-03-01T08:30:00Z","title":"Wie ich endlich Sauerteig hinbekommen habe"}',
          '{"id":"p2","authorId":"ana","createdAt":1772355000000,"title":"Two","language":"en","extra":{"score":3}}',
          '{"id":"p3","authorId":"ana","createdAt":null}',
          '{"id":"p4","authorId":"ana","createdAt":1772355000000,"titel":"Four"}',
          'not json',
          '',
          `{"id":"${'x'.repeat(10_000)}","authorId":"ana","createdAt":1772355000000}`,
          '[1,2]',
          '',
        ].join('\n'),
      ),
      Buffer.from([0x7b, 0xff, 0xfe, 0x7d, 0x0a]),
    ]),
    'users.jsonl': '{"id":"ben","languages":["en"],"topics":["baking"]}\n',
    'follows.jsonl': '{"userId":"ben","authorId":"ana"}\n',
    'blocks.jsonl':
      '{"userId":"ben","kind":"mute_word","target":"Lottery"}\n{"userId":"ben","kind":"follow","target":"x"}\n',
    'events.jsonl':
      '{"userId":"ben","postId":"p1","type":"click","at":1772355004000,"position":3}\n' +
      '{"userId":"ben","postId":"p1","type":"dwell","at":1772355042000,"dwellMs":-5}\n' +
      '{"userId":"ben","postId":"p1","type":"dwell","at":1772355042000,"dwellMs":38000}\n',
  });
  const dataDir = join(root, 'jsonl-data');
  const args = [
    '--format',
    'jsonl',
    '--path',
    dir,
    '--data-dir',
    dataDir,
    '--rejects',
    join(root, 'rejects.jsonl'),
  ];

  test('good lines are stored, bad ones named by file, row, field and reason; a second run changes nothing', async () => {
    const first = await run('import', ...args);
    expect(first.stderr).toContain('100 %');
    expect(first).toMatchObject({
      code: 0,
      figures: {
        posts: 2,
        users: 1,
        edges: 2,
        events: 2,
        changedPosts: 2,
        newEvents: 2,
        changed: true,
        rejected: 8,
      },
    });
    const rejects = lines(join(root, 'rejects.jsonl')).map(
      ({ file, row, field }) => `${file} ${row} ${field}`,
    );
    expect(rejects).toEqual([
      'posts.jsonl 3 createdAt',
      'posts.jsonl 4 titel',
      'posts.jsonl 5 (row)',
      'posts.jsonl 7 id',
      'posts.jsonl 8 (row)',
      'posts.jsonl 9 (row)',
      'blocks.jsonl 2 kind',
      'events.jsonl 2 dwellMs',
    ]);
    const again = await run('import', ...args);
    expect(again.figures).toMatchObject({ changed: false, changedPosts: 0, newEvents: 0, rejected: 8 });

    const out = join(root, 'exported');
    expect(await run('export', '--out', out, '--data-dir', dataDir)).toMatchObject({
      code: 0,
      figures: { posts: 2, users: 1, edges: 2, events: 2 },
    });
    expect(lines(join(out, 'posts.jsonl'))).toEqual([
      expect.objectContaining({ id: 'p1', language: 'de', createdAt: Date.UTC(2026, 2, 1, 8, 30) }),
      {
        id: 'p2',
        authorId: 'ana',
        createdAt: 1_772_355_000_000,
        title: 'Two',
        language: 'en',
        extra: { score: 3 },
      },
    ]);
    expect(lines(join(out, 'blocks.jsonl'))).toEqual([
      { userId: 'ben', kind: 'mute_word', target: 'lottery', createdAt: 0 },
    ]);
    const back = await run('import', '--format', 'jsonl', '--path', out, '--data-dir', dataDir);
    expect(back.figures).toMatchObject({ changed: false, rejected: 0, posts: 2, events: 2 });
  });
});

test('movielens: movies, users and ratings, with a quoted title, a bad rating and a row of the wrong width', async () => {
  const dir = folder('movielens', {
    'movies.csv':
      'movieId,title,genres\r\n1,Toy Story (1995),Adventure|Children\r\n' +
      '2,"American President, The (1995)",Comedy\r\n3,Unrated,(no genres listed)\r\n',
    'ratings.csv':
      'userId,movieId,rating,timestamp\n1,1,4.5,964982703\n1,2,3.0,964981247\n2,1,1.5,964982931\n2,2,nine,964982931\n2,2\n',
  });
  const dataDir = join(root, 'movielens-data');
  const args = ['--format', 'movielens', '--path', dir, '--data-dir', dataDir];
  expect((await run('import', ...args)).figures).toMatchObject({
    posts: 3,
    users: 2,
    newEvents: 4,
    rejected: 2,
    rejectsFile: 'rejects-movielens.jsonl',
  });
  expect((await run('import', ...args)).figures).toMatchObject({ changed: false, newEvents: 0 });
  const out = join(root, 'movielens-out');
  await run('export', '--out', out, '--data-dir', dataDir);
  const posts = lines(join(out, 'posts.jsonl'));
  expect(posts.find(({ id }) => id === '2')).toMatchObject({
    title: 'American President, The (1995)',
    topic: 'comedy',
    createdAt: 964_981_247_000,
  });
  expect(lines(join(out, 'events.jsonl')).map(({ userId, type }) => `${userId} ${type}`)).toEqual(
    expect.arrayContaining(['1 click', '1 like', '1 click', '2 not_interested']),
  );
});

test('a generated world goes into the store and comes out as it would as JSONL', async () => {
  const world = ['--posts', '300', '--users', '20', '--seed', '3', '--now', '2026-06-01T00:00:00Z'];
  const direct = join(root, 'world-direct');
  const dataDir = join(root, 'world-data');
  const exported = join(root, 'world-exported');
  expect((await run('generate', ...world, '--out', direct)).code).toBe(0);
  expect((await run('generate', ...world, '--data-dir', dataDir)).figures).toMatchObject({
    written: { posts: 300, users: 20, changedPosts: 300 },
  });
  expect((await run('generate', ...world, '--data-dir', dataDir)).figures).toMatchObject({
    written: { changedPosts: 0, newEvents: 0 },
  });
  await run('export', '--out', exported, '--data-dir', dataDir);
  for (const file of ['posts', 'users', 'follows', 'blocks', 'events']) {
    const sorted = (dir: string) =>
      lines(join(dir, `${file}.jsonl`))
        .map((row) => JSON.stringify(sortKeys(row)))
        .sort();
    expect(sorted(exported)).toEqual(sorted(direct));
  }
});

function sortKeys(row: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(row).sort(([a], [b]) => a.localeCompare(b)));
}

describe('wrong use ends with one line of reason', () => {
  const empty = folder('empty', {});
  const damaged = folder('damaged', { 'posts.parquet': Buffer.from('PAR1 this is no parquet PAR1') });
  test.each([
    ['import', [], 2, /--format must be one of/],
    ['import', ['--format', 'toString'], 2, /--format must be one of/],
    ['import', ['--format', 'jsonl'], 2, /--path is required/],
    ['import', ['--format', 'jsonl', '--path', join(root, 'nowhere')], 2, /no such folder/],
    ['import', ['--format', 'globo', '--path', empty], 2, /lacks clicks\.parquet/],
    ['import', ['--format', 'jsonl', '--path', empty], 2, /lacks posts\.jsonl/],
    ['import', ['--format', 'jsonl', '--path', empty, '--colour'], 2, /--colour/],
    ['import', ['--format', 'reddit', '--path', damaged, '--limit', '0'], 2, /--limit must be an integer/],
    [
      'import',
      ['--format', 'reddit', '--path', damaged, '--data-dir', join(root, 'd')],
      1,
      /posts\.parquet: is not a/,
    ],
    ['generate', ['--posts', '10'], 2, /--users is required/],
    ['generate', ['--posts', '1e3', '--users', '1'], 2, /--posts must be an integer/],
    ['generate', ['--posts', '10', '--users', '1', '--now', 'soon'], 2, /--now must be/],
    ['export', [], 2, /--out is required/],
    ['evaluate/demo', ['--url', 'nowhere'], 2, /--url must be/],
  ] as const)('%s %j', async (script, args, code, reason) => {
    const outcome = await run(script, ...args);
    expect(outcome.stderr.trim().split('\n')).toHaveLength(1);
    expect(outcome.stderr).toMatch(reason);
    expect(outcome.code).toBe(code);
  });

  test.each(['import', 'generate', 'export', 'evaluate/demo'])(
    '%s --help explains the flags',
    async (script) => {
      const child = await run(script, '--help');
      expect(child.code).toBe(0);
    },
  );
});

describe('public data sets (FEEDRANK_DATA)', () => {
  const cases = [
    ['reddit', 'reddit', { posts: 2_000, users: 0, events: 0 }],
    ['kuairand', 'kuairand', { posts: 2_000, users: 2_000 }],
    ['globo', 'globo', {}],
    ['ebnerd', 'ebnerd/train', {}],
    ['movielens', 'movielens-small', { posts: 2_000 }],
  ] as const;
  for (const [format, path, expected] of cases) {
    const dir = join(publicData ?? '', path);
    const absent = publicData === undefined || !existsSync(dir);
    test.skipIf(absent)(
      absent
        ? `${format}: skipped, FEEDRANK_DATA names no folder with ${path}`
        : `${format}: the first 2,000 rows of each file go in without a reject, and a second run changes nothing`,
      async () => {
        const dataDir = join(root, `data-${format}`);
        const args = ['--format', format, '--path', dir, '--data-dir', dataDir, '--limit', '2000'];
        const first = await run('import', ...args);
        expect(first.figures).toMatchObject({ ...expected, changed: true });
        const rejects = Object.keys(first.figures.rejectedBy as object);
        // A limit of rows leaves some followed authors out.
        expect(rejects.filter((reason) => !reason.includes('is_follow'))).toEqual([]);
        const second = await run('import', ...args);
        expect(second.figures).toMatchObject({ changed: false, changedPosts: 0, newEvents: 0 });
      },
      120_000,
    );
  }
});
