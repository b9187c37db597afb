// The import, export and generate commands on one embedded database, in this process.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { servedDemoCommand } from '../../scripts/evaluate/demo.ts';
import { exportCommand, exportStore } from '../../scripts/export.ts';
import { generateWorld } from '../../scripts/generate/world.ts';
import { writeWorld } from '../../scripts/generate/write-world.ts';
import { generateCommand } from '../../scripts/generate.ts';
import { type Command, execute } from '../../scripts/import/command.ts';
import { importFolder } from '../../scripts/import/import-folder.ts';
import { jsonlSink, storeSink } from '../../scripts/import/sink.ts';
import { FORMATS, importCommand } from '../../scripts/import.ts';
import { deadlineIn } from '../../src/deadline.ts';
import { openSqlStore, type SqlStore } from '../../src/features/store/postgres-store.ts';

const root = mkdtempSync(join(tmpdir(), 'feedrank-import-'));
const publicData = process.env.FEEDRANK_DATA;
let store: SqlStore;

beforeAll(async () => {
  store = await openSqlStore({ dataDir: join(root, 'data') });
});
afterAll(async () => {
  await store?.close();
  rmSync(root, { recursive: true, force: true });
});

function folder(name: string, files: Record<string, string | Buffer>): string {
  const dir = join(root, name);
  mkdirSync(dir, { recursive: true });
  for (const [file, content] of Object.entries(files)) writeFileSync(join(dir, file), content);
  return dir;
}

function lines(path: string): Record<string, unknown>[] {
  const rows = readFileSync(path, 'utf8').trim().split('\n').filter(Boolean);
  return rows.map((line) => JSON.parse(line));
}

function read(format: string, dir: string, limit?: number) {
  const rejectsPath = join(root, `rejects-${format}.jsonl`);
  return importFolder(store, { format: FORMATS[format], dir, limit, rejectsPath });
}

describe('jsonl', () => {
  const posts = Buffer.concat([
    Buffer.from(
      [
        '{"id":"j1","authorId":"ana","createdAt":"2026-03-01T08:30:00Z","title":"Wie ich endlich Sauerteig hinbekommen habe"}',
        '{"id":"j2","authorId":"ana","createdAt":1772355000000,"title":"Two","language":"en","extra":{"score":3}}',
        '{"id":"j3","authorId":"ana","createdAt":null}',
        '{"id":"j4","authorId":"ana","createdAt":1772355000000,"titel":"Four"}',
        'not json',
        '',
        `{"id":"${'x'.repeat(10_000)}","authorId":"ana","createdAt":1772355000000}`,
        '[1,2]',
        '',
      ].join('\n'),
    ),
    Buffer.from([0x7b, 0xff, 0xfe, 0x7d, 0x0a]),
  ]);
  const dir = folder('jsonl', {
    'posts.jsonl': posts,
    'users.jsonl': '{"id":"ben","languages":["en"],"topics":["baking"]}\n',
    'follows.jsonl': '{"userId":"ben","authorId":"ana"}\n',
    'blocks.jsonl':
      '{"userId":"ben","kind":"mute_word","target":"Lottery"}\n{"userId":"ben","kind":"follow","target":"x"}\n',
    'events.jsonl':
      '{"userId":"ben","postId":"j1","type":"click","at":1772355004000,"position":3}\n' +
      '{"userId":"ben","postId":"j1","type":"dwell","at":1772355042000,"dwellMs":-5}\n' +
      '{"userId":"ben","postId":"j1","type":"dwell","at":1772355042000,"dwellMs":38000}\n',
  });

  test('good lines are stored, bad ones named by file, row and field; a second run changes nothing', async () => {
    const figures = { posts: 2, users: 1, edges: 2, events: 2, rejected: 8 };
    expect(await read('jsonl', dir)).toMatchObject({
      ...figures,
      changedPosts: 2,
      newEvents: 2,
      changed: true,
    });
    const rejects = lines(join(root, 'rejects-jsonl.jsonl'));
    expect(rejects.map(({ file, row, field }) => `${file} ${row} ${field}`)).toEqual([
      'posts.jsonl 3 createdAt',
      'posts.jsonl 4 titel',
      'posts.jsonl 5 (row)',
      'posts.jsonl 7 id',
      'posts.jsonl 8 (row)',
      'posts.jsonl 9 (row)',
      'blocks.jsonl 2 kind',
      'events.jsonl 2 dwellMs',
    ]);
    expect(rejects.every(({ reason }) => typeof reason === 'string' && reason.length > 3)).toBe(true);
    expect(await read('jsonl', dir)).toMatchObject({
      ...figures,
      changedPosts: 0,
      newEvents: 0,
      changed: false,
    });

    const deadline = deadlineIn(10_000);
    expect(await store.getPosts(['j1', 'j2', 'j3'], deadline)).toEqual([
      expect.objectContaining({ language: 'de', createdAt: Date.UTC(2026, 2, 1, 8, 30) }),
      expect.objectContaining({ title: 'Two', language: 'en', extra: { score: 3 } }),
      null,
    ]);
    const ben = await store.getUser('ben', deadline);
    expect(ben?.user?.topics).toEqual(['baking']);
    expect(ben?.edges.map(({ kind, target, createdAt }) => `${kind} ${target} ${createdAt}`).sort()).toEqual([
      'follow ana 0',
      'mute_word lottery 0',
    ]);
  });

  test('a changed line changes one post, and the rest stays', async () => {
    const line =
      '{"id":"j2","authorId":"ana","createdAt":1772355000000,"title":"Two, again","language":"en"}\n';
    const changed = folder('changed', { 'posts.jsonl': line + posts.toString().split('\n')[0] });
    expect(await read('jsonl', changed)).toMatchObject({ posts: 2, changedPosts: 1, changed: true });
  });
});

test('movielens: quoted titles, a bad rating, a row of the wrong width, and likes from high ratings', async () => {
  const dir = folder('movielens', {
    'movies.csv':
      'movieId,title,genres\r\n1,Toy Story (1995),Adventure|Children\r\n' +
      '2,"American President, The (1995)",Comedy\r\n3,Unrated (1950),(no genres listed)\r\n',
    'ratings.csv':
      'userId,movieId,rating,timestamp\n1,1,4.5,964982703\n1,2,3.0,964981247\n2,1,1.5,964982931\n2,2,nine,964982931\n2,2\n',
  });
  expect(await read('movielens', dir)).toMatchObject({ posts: 3, users: 2, newEvents: 4, rejected: 2 });
  expect(await read('movielens', dir)).toMatchObject({ changed: false, changedPosts: 0, newEvents: 0 });
  const [, second, unrated] = await store.getPosts(['1', '2', '3'], deadlineIn(10_000));
  expect(second).toMatchObject({
    title: 'American President, The (1995)',
    topic: 'comedy',
    createdAt: 964_981_247_000,
  });
  expect(unrated).toMatchObject({ createdAt: 0 });
  const types = async (user: string) =>
    (await store.recentEvents(user, 10, deadlineIn(10_000))).map(({ type }) => type).sort();
  expect(await types('1')).toEqual(['click', 'click', 'like']);
  expect(await types('2')).toEqual(['not_interested']);
});

test('a generated world is stored once, and comes out of the store as it went in', async () => {
  const world = generateWorld({ posts: 300, users: 20, seed: 3 });
  const direct = join(root, 'world');
  const files = await jsonlSink(direct);
  await writeWorld(world, files);
  await files.close();
  for (const changedPosts of [300, 0]) {
    const sink = storeSink(store);
    await writeWorld(world, sink);
    await sink.close();
    expect(sink.counts).toMatchObject({ posts: 300, users: 20, changedPosts });
    expect(sink.counts.newEvents === 0).toBe(changedPosts === 0);
  }
  const exported = join(root, 'exported');
  await exportStore(store, exported);
  const sortKeys = (row: object) =>
    JSON.stringify(Object.entries(row).sort(([a], [b]) => a.localeCompare(b)));
  for (const file of ['posts', 'users', 'follows', 'blocks', 'events']) {
    const out = new Set(lines(join(exported, `${file}.jsonl`)).map(sortKeys));
    expect(lines(join(direct, `${file}.jsonl`)).filter((row) => !out.has(sortKeys(row)))).toEqual([]);
  }
  expect(await read('jsonl', exported)).toMatchObject({ changed: false, rejected: 0, newEvents: 0 });
});

test('a failing store stops the import with its error', async () => {
  const dir = folder('failing', { 'posts.jsonl': '{"id":"f1","authorId":"a","createdAt":1}\n' });
  const failing = { ...store, putPosts: () => Promise.reject(new Error('disk full')) };
  const rejectsPath = join(root, 'rejects-failing.jsonl');
  await expect(importFolder(failing, { format: FORMATS.jsonl, dir, rejectsPath })).rejects.toThrow(
    'disk full',
  );
});

describe('wrong use ends with one line of reason and nothing stored', () => {
  const empty = folder('empty', {});
  const cases: [Command, string[], RegExp][] = [
    [importCommand, [], /--format must be one of/],
    [importCommand, ['--format', 'toString'], /--format must be one of/],
    [importCommand, ['--format', 'jsonl'], /--path is required/],
    [importCommand, ['--format', 'jsonl', '--path', join(root, 'nowhere')], /no such folder/],
    [importCommand, ['--format', 'globo', '--path', empty], /lacks clicks\.parquet/],
    [importCommand, ['--format', 'jsonl', '--path', empty], /lacks posts\.jsonl/],
    [importCommand, ['--format', 'jsonl', '--path', empty, '--colour'], /--colour/],
    [importCommand, ['--format', 'jsonl', '--path', join(root, 'jsonl'), '--limit', '0'], /--limit must be/],
    [generateCommand, ['--posts', '10'], /--users is required/],
    [generateCommand, ['--posts', '1e3', '--users', '1'], /--posts must be an integer/],
    [generateCommand, ['--posts', '10', '--users', '1', '--now', 'soon'], /--now must be/],
    [exportCommand, [], /--out is required/],
    [servedDemoCommand, ['--url', 'nowhere'], /--url must be/],
  ];
  test.each(cases)('case %#', async (command, args, reason) => {
    const said = { out: '', error: '' };
    const io = { out: (text: string) => (said.out += text), error: (text: string) => (said.error += text) };
    expect(await execute(command, args, io)).toBe(2);
    expect(said.out).toBe('');
    expect(said.error.trim().split('\n')).toHaveLength(1);
    expect(said.error).toMatch(reason);
    expect(await execute(command, ['--help'], io)).toBe(0);
    for (const flag of Object.keys(command.flags)) expect(said.out).toContain(`--${flag}`);
  });

  test('a damaged parquet file is named', async () => {
    const dir = folder('damaged', { 'posts.parquet': 'PAR1 this is no parquet PAR1' });
    await expect(read('reddit', dir)).rejects.toThrow(/posts\.parquet: is not a readable parquet file/);
  });
});

describe('public data sets (FEEDRANK_DATA)', () => {
  const cases = [
    ['reddit', 'reddit', 1_500, { posts: 1_500, users: 0, events: 0 }],
    ['kuairand', 'kuairand', 200, { posts: 200, users: 200 }],
    ['globo', 'globo', 1_500, { newEvents: 1_500 }],
    ['ebnerd', 'ebnerd/train', 20, {}],
    ['movielens', 'movielens-small', 1_500, { posts: 1_500 }],
  ] as const;
  for (const [format, path, limit, expected] of cases) {
    const dir = join(publicData ?? '', path);
    const absent = publicData === undefined || !existsSync(dir);
    test.skipIf(absent)(
      absent
        ? `${format}: skipped, FEEDRANK_DATA names no folder with ${path}`
        : `${format}: the first ${limit} rows of each file go in, and a second run changes nothing`,
      async () => {
        const first = await read(format, dir, limit);
        expect(first).toMatchObject({ ...expected, changed: true });
        // A limit of rows leaves some followed authors out.
        expect(Object.keys(first.rejectedBy).filter((kind) => !kind.includes('is_follow'))).toEqual([]);
        expect(await read(format, dir, limit)).toMatchObject({
          changed: false,
          changedPosts: 0,
          newEvents: 0,
        });
      },
    );
  }
});
