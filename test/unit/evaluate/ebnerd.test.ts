import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { floorFigures, listAuc, runEbnerd } from '../../../scripts/evaluate/ebnerd.ts';
import type { List, Reads } from '../../../scripts/evaluate/ebnerd-files.ts';
import { splitLists } from '../../../scripts/evaluate/ebnerd-impressions.ts';
import { sequenceColumns } from '../../../scripts/evaluate/ebnerd-sequence.ts';
import {
  asOfColumns,
  Codes,
  type EventTable,
  type Key,
  pairColumn,
} from '../../../scripts/evaluate/replay-as-of.ts';
import { withinLists } from '../../../scripts/evaluate/replay-within-lists.ts';

const HOUR = 3_600_000;
const PYTHON = process.env.FEEDRANK_PYTHON;
const REASON = PYTHON ? '' : ' (skipped: FEEDRANK_PYTHON is not set)';

describe('metrics of lists', () => {
  it('AUC is the mean over lists of the pairs in order, ties half, lists of one class left out', () => {
    const scores = Float32Array.of(9, 9, 3, 1, 2, 2, 5);
    const clicked = Uint8Array.of(0, 0, 1, 0, 1, 0, 1);
    const group = Int32Array.of(0, 0, 1, 1, 2, 2, 3);
    expect(listAuc(scores, clicked, group, 0)).toBe(0.75);
    expect(listAuc(scores, clicked, group, 4)).toBe(0.5);
  });

  it('floors are of the test lists alone', () => {
    const set = {
      at: Float64Array.of(1, 1, 5, 5),
      group: Int32Array.of(0, 0, 1, 1),
      labels: [{ name: 'click', values: Uint8Array.of(1, 0, 0, 1) }],
      testFromMs: 5,
    };
    const counter = Float32Array.of(0, 1, 0, 1);
    const age = Float32Array.of(1, 0, 1, 2);
    expect(floorFigures({ set, counter, age } as never)).toEqual({ newest: 0, counter: 1 });
  });

  it('a row stands below the best of its list and above a share of it', () => {
    const { names, columns } = withinLists(['x'], [Float32Array.of(1, 3, 3, 5)], Int32Array.of(0, 0, 0, 1));
    expect(names).toEqual(['x_below', 'x_place']);
    expect([...columns[0]]).toEqual([-2, 0, 0, 0]);
    expect([...columns[1]].map((v) => Math.round(v * 6))).toEqual([1, 4, 4, 3]);
  });

  it('tests the last 48 hours, and the last part of a short period', () => {
    const days = Float64Array.from({ length: 24 * 7 + 1 }, (_, h) => h * HOUR);
    expect(splitLists(days)).toEqual({ validationFromMs: 96 * HOUR, testFromMs: 120 * HOUR });
    expect(splitLists(Float64Array.of(0, 100))).toEqual({ validationFromMs: 55, testFromMs: 70 });
  });
});

describe('counters as of a moment', () => {
  const table = (rows: { at: number; known: number; code: number; click: number }[]) => {
    const events: EventTable = {
      rows: rows.length,
      at: Float64Array.from(rows, (r) => r.at),
      knownAt: Float64Array.from(rows, (r) => r.known),
      outcomes: [{ name: 'click', values: Float32Array.from(rows, (r) => r.click) }],
    };
    const codes = Int32Array.from(rows, (r) => r.code);
    const key: Key = { name: 'item', codes, size: 4, halfLivesMs: [Number.POSITIVE_INFINITY, HOUR] };
    return asOfColumns(events, [key], { rows: rows.length, at: events.at, codes: (k) => k.codes }, '');
  };

  it('count what was known strictly before, by hand', () => {
    const { names, columns } = table([
      { at: 0, known: 0, code: 1, click: 1 },
      { at: 0, known: 5 * HOUR, code: 1, click: 1 },
      { at: HOUR, known: HOUR, code: 1, click: 0 },
      { at: 2 * HOUR, known: 2 * HOUR, code: -1, click: 0 },
      { at: 6 * HOUR, known: 6 * HOUR, code: 1, click: 0 },
    ]);
    expect(names).toEqual(['item_count', 'item_click', 'item_60m_count', 'item_60m_click']);
    expect([...columns[0]].map((v) => Math.round(Math.expm1(v)))).toEqual([0, 0, 1, 0, 3]);
    expect(Math.expm1(columns[2][2])).toBeCloseTo(0.5, 5);
    expect(Math.expm1(columns[2][4])).toBeCloseTo(2 ** -6 + 2 ** -5 + 2 ** -1, 5);
    // One click of one impression, the overall rate (1 + 1) / (1 + 20), ten imagined impressions at it.
    expect(Math.exp(columns[1][2])).toBeCloseTo((1 + (10 * 2) / 21) / 11, 4);
  });

  it('do not change when anything at the same time or later does', () => {
    const row = fc.record({
      gap: fc.nat(3),
      delay: fc.nat(2),
      code: fc.integer({ min: -1, max: 3 }),
      click: fc.nat(1),
    });
    fc.assert(
      fc.property(
        fc.array(row, { minLength: 2, maxLength: 40 }),
        fc.nat(),
        fc.nat(),
        (steps, where, salt) => {
          let at = 0;
          const rows = steps.map(({ gap, delay, code, click }) => {
            at += gap;
            return { at, known: at + delay, code, click };
          });
          const cut = where % rows.length;
          const changed = rows.map((r) =>
            r.at >= rows[cut].at ? { ...r, code: (r.code + 2 + (salt % 2)) % 4, click: 1 - r.click } : r,
          );
          const [before, after] = [table(rows), table(changed)];
          const past = rows.filter((r) => r.at < rows[cut].at).length;
          before.columns.forEach((column, c) => {
            expect([...after.columns[c].subarray(0, past)]).toEqual([...column.subarray(0, past)]);
          });
          // What a row itself turns into is not part of what it reads.
          const flipped = table(rows.map((r, i) => (i === cut ? { ...r, click: 1 - r.click } : r)));
          before.columns.forEach((column, c) => {
            expect(flipped.columns[c][cut]).toBe(column[cut]);
          });
        },
      ),
    );
  });

  it('know a pair by both of its sides', () => {
    const pairs = new Codes();
    expect([...pairColumn(pairs, Int32Array.of(0, 0, 1, -1, 0), Int32Array.of(2, 3, 2, 2, 2))]).toEqual([
      0, 1, 2, -1, 0,
    ]);
    expect([new Codes().of(''), new Codes().of(null), new Codes().of(Number.NaN)]).toEqual([-1, -1, -1]);
  });
});

describe('what the last reads lead to', () => {
  const list = (user: number, at: number, inView: number[]): List => ({
    user,
    at,
    inView,
    clicked: new Set(),
    page: -1,
    readSeconds: 0,
    device: 1,
    subscriber: 0,
  });
  const reads = (rows: [number, number, number][]): Reads => ({
    user: Int32Array.from(rows, (r) => r[0]),
    item: Int32Array.from(rows, (r) => r[1]),
    at: Float64Array.from(rows, (r) => r[2]),
    knownAt: Float64Array.from(rows, (r) => r[2]),
    seconds: new Float64Array(rows.length),
    long: new Float32Array(rows.length),
  });
  const columns = (lists: List[], r: Reads) =>
    sequenceColumns(
      lists,
      r,
      lists.reduce((n, l) => n + l.inView.length, 0),
      5,
      3,
      [1, 2, 3, 4, 5],
      1,
      () => {},
    );

  it('reads strictly before the list count, others do not', () => {
    // Users 0 and 1 went from article 0 to 1; user 2 has read 0.
    const past: [number, number, number][] = [
      [0, 0, 1],
      [0, 1, 2],
      [1, 0, 3],
      [1, 1, 4],
      [2, 0, 5],
    ];
    const lists = [list(2, 10, [1, 2])];
    const [edges, , , age] = columns(lists, reads(past)).columns;
    expect(edges[0]).toBeCloseTo(Math.log(1 + 1e-3), 3);
    expect(edges[1]).toBeCloseTo(Math.log(1e-3), 5);
    expect(age[0]).toBeGreaterThan(0);
    const late = columns(lists, reads([...past, [2, 2, 10], [0, 2, 11], [1, 2, 12]])).columns;
    expect(late.map((c) => [...c])).toEqual(columns(lists, reads(past)).columns.map((c) => [...c]));
  });
});

describe(`evaluate ebnerd${REASON}`, () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'feedrank-ebnerd-test-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it.skipIf(!PYTHON)(
    'learns that one article is clicked, above a list without knowledge',
    async () => {
      const made = spawnSync(PYTHON!, ['-c', MAKE_FOLDER, folder], { encoding: 'utf8' });
      expect(made.stderr).toBe('');
      const json = join(folder, 'figures.json');
      await runEbnerd(['--path', folder, '--json', json, '--minutes', '1']);
      const figures = JSON.parse(await readFile(json, 'utf8'));
      process.exitCode = 0;
      expect(figures.auc).toBeGreaterThan(0.8);
      expect(figures.lists).toBe(600);
      expect(figures.floors.counter).toBeGreaterThan(0.5);
      expect(figures.lightgbm_auc).toBeGreaterThan(0.5);
    },
    120_000,
  );

  it('a missing folder ends with one line and a failing exit code', async () => {
    await runEbnerd(['--path', join(folder, 'none')]);
    expect(process.exitCode).toBeGreaterThan(0);
    process.exitCode = 0;
  });
});

/** 600 lists over six days; the article of least number in view is clicked, nine times of ten. */
const MAKE_FOLDER = `
import sys, datetime, random
import pyarrow as pa, pyarrow.parquet as pq
random.seed(1); start = datetime.datetime(2023, 5, 18); rows = []
for i in range(600):
    seen = random.sample(range(100, 112), 5)
    click = min(seen) if random.random() < .9 else random.choice(seen)
    rows.append(dict(impression_id=i, user_id=i % 20, impression_time=start + datetime.timedelta(minutes=14 * i),
      article_ids_inview=seen, article_ids_clicked=[click], article_id=None, next_read_time=10.0, device_type=1, is_subscriber=False))
t = pa.Table.from_pylist(rows, schema=pa.schema([('impression_id', pa.uint32()), ('user_id', pa.uint32()), ('impression_time', pa.timestamp('us')),
  ('article_ids_inview', pa.list_(pa.int32())), ('article_ids_clicked', pa.list_(pa.int32())), ('article_id', pa.int32()),
  ('next_read_time', pa.float32()), ('device_type', pa.int8()), ('is_subscriber', pa.bool_())]))
pq.write_table(t, sys.argv[1] + '/behaviors.parquet')
h = [dict(user_id=u, impression_time_fixed=[start - datetime.timedelta(hours=k + 1) for k in range(3)][::-1], article_id_fixed=[100, 101, 102],
  read_time_fixed=[40.0, 5.0, 3.0]) for u in range(20)]
pq.write_table(pa.Table.from_pylist(h, schema=pa.schema([('user_id', pa.uint32()), ('impression_time_fixed', pa.list_(pa.timestamp('us'))),
  ('article_id_fixed', pa.list_(pa.int32())), ('read_time_fixed', pa.list_(pa.float32()))])), sys.argv[1] + '/history.parquet')
`;
