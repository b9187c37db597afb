import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runKuairand } from '../../../scripts/evaluate/kuairand.ts';
import { splitDays } from '../../../scripts/evaluate/kuairand-facts.ts';
import type { KuairandData } from '../../../scripts/evaluate/kuairand-impressions.ts';
import { rankIn, replayRetrieval } from '../../../scripts/evaluate/kuairand-retrieval.ts';
import { mulberry32 } from '../../../scripts/evaluate/retrieval-data.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const PYTHON = process.env.FEEDRANK_PYTHON;
const REASON = PYTHON ? '' : ' (skipped: FEEDRANK_PYTHON is not set)';
const VIDEOS = 1200;
const USERS = 30;
const ROWS = 5000;

/** Each user watches videos of one tag: the video's number modulo 30 is the tag, the user's number too. */
function synthetic(seed: number): KuairandData {
  const random = mulberry32(seed);
  const user = Int32Array.from({ length: ROWS }, () => Math.floor(random() * USERS));
  const video = Int32Array.from(user, (u) => Math.floor(random() * (VIDEOS / USERS)) * USERS + u);
  const at = Float64Array.from({ length: ROWS }, (_, i) => (i * 5 * DAY) / ROWS);
  const detail = (v: number) => ({
    author: `a${v}`,
    tag: `t${v % USERS}`,
    music: '',
    type: '',
    upload: '',
    uploadedAt: 0,
    durationMs: 1,
  });
  const videos = Array.from({ length: VIDEOS }, (_, v) => `${v}`);
  const clicked = Uint8Array.from({ length: ROWS }, () => (random() < 0.6 ? 1 : 0));
  const none = new Uint8Array(ROWS);
  const outcomes = { click: clicked, like: none, reply: none, share: none, dwell: none, negative: none };
  return {
    set: {
      rows: ROWS,
      at,
      group: user,
      user,
      numbers: { names: [], columns: [] },
      ids: [],
      labels: [{ name: 'click', values: clicked }],
      validationFromMs: 3 * DAY,
      testFromMs: 4 * DAY,
    },
    rejected: 0,
    users: USERS,
    videos,
    video,
    watched: {
      user: new Int32Array(0),
      video: new Int32Array(0),
      at: new Float64Array(0),
      long: new Float32Array(0),
      liked: new Float32Array(0),
    },
    outcomes,
    playMs: new Float64Array(ROWS).fill(5000),
    knownAt: at.map((ms) => ms + 5000),
    details: new Map(videos.map((id, v) => [id, detail(v)])),
    tab: new Int32Array(ROWS),
    describe: () => {
      throw new Error('not asked for');
    },
  };
}

describe('the split', () => {
  it('tests the last day of China, and the last fifth of a short period', () => {
    const start = Date.UTC(2022, 3, 24, 16);
    const at = Float64Array.from({ length: 24 * 4 }, (_, h) => start + h * HOUR);
    expect(splitDays(at)).toEqual({ validationFromMs: start + 2 * DAY, testFromMs: start + 3 * DAY });
    expect(splitDays(Float64Array.of(0, 1000))).toEqual({ validationFromMs: 600, testFromMs: 800 });
  });
});

describe('retrieval', () => {
  it('ranks by score, half of the ties before', () => {
    expect(rankIn([3, 1, 1, 1, 5], 1)).toBe(3);
    expect(rankIn([3, 1, 1, 1, 5], 4)).toBe(0);
  });

  it('finds the tag each user watches, where popularity cannot', () => {
    const figures = replayRetrieval(synthetic(1), { testClicks: 1e9, seed: 1 });
    // A user's tag holds 40 of 1200 videos.
    expect(figures.retrieval['recall@100']).toBeGreaterThan(0.9);
    expect(figures.popularity['recall@100']).toBeLessThan(0.4);
    expect(figures.retrieval['recall@1000']).toBeGreaterThanOrEqual(figures.retrieval['recall@200']);
  });

  it('sees nothing of the future: other later impressions leave the ranks before them as they were', () => {
    const ranks = (data: KuairandData) => {
      const found = new Map<number, number>();
      replayRetrieval(data, { testClicks: 1e9, seed: 1, onRank: (row, rank) => found.set(row, rank) });
      return found;
    };
    const cut = 4500;
    const changed = synthetic(1);
    for (let row = cut; row < ROWS; row++) {
      changed.video[row] = (changed.video[row] * 7 + 3) % VIDEOS;
      changed.tab[row] = 0;
    }
    const [first, other] = [ranks(synthetic(1)), ranks(changed)];
    const before = [...first].filter(([row]) => row < cut);
    expect(before.length).toBeGreaterThan(200);
    expect([...other].filter(([row]) => row < cut)).toEqual(before);
    expect([...other]).not.toEqual([...first]);
  });
});

describe(`evaluate kuairand${REASON}`, () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'feedrank-kuairand-test-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it.skipIf(!PYTHON)(
    'ranks and retrieves on a small folder',
    async () => {
      const videos = Array.from(
        { length: 60 },
        (_, v) => `${v},${v % 7},NORMAL,2022-04-10,LongImport,0,9000,720,1280,${v % 5},9,${v % 4}`,
      );
      const header =
        'video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,music_id,music_type,tag';
      await writeFile(join(folder, 'video_features_basic_pure.csv'), [header, ...videos].join('\n'));
      const users = Array.from({ length: 40 }, (_, u) => `${u},full_active,${u * 10}`);
      await writeFile(
        join(folder, 'user_features_pure.csv'),
        ['user_id,user_active_degree,register_days', ...users].join('\n'),
      );
      const made = spawnSync(PYTHON!, ['-c', MAKE_FOLDER, folder], { encoding: 'utf8' });
      expect(made.stderr).toBe('');
      const json = join(folder, 'figures.json');
      await runKuairand(['--path', folder, '--json', json, '--minutes', '1']);
      const figures = JSON.parse(await readFile(json, 'utf8'));
      process.exitCode = 0;
      expect(figures.impressions).toBe(2500);
      expect(figures.auc_click).toBeGreaterThan(0.7);
      expect(figures['recall@100']).toBe(1);
      expect(figures.twoStage.lists).toBeGreaterThan(50);
      expect(figures.twoStage.twoStage).toBeGreaterThan(0);
      expect(Object.keys(figures.ranking)).toEqual(['click', 'long_view', 'like']);
    },
    120_000,
  );

  it('a missing folder ends with one line and a failing exit code', async () => {
    await runKuairand(['--path', join(folder, 'none')]);
    expect(process.exitCode).toBeGreaterThan(0);
    process.exitCode = 0;
  });
});

/** 2500 impressions over five days: even videos are clicked, odd ones are not, nine times of ten. */
const MAKE_FOLDER = `
import sys, random
import pyarrow as pa, pyarrow.parquet as pq
random.seed(1); rows = []
for i in range(2500):
    v = random.randrange(60); c = int((v % 2 == 0) == (random.random() < .9))
    rows.append(dict(user_id=i % 40, video_id=v, time_ms=1650816000000 + i * 172800, is_click=c, is_like=int(c and random.random() < .2),
      is_follow=0, is_comment=0, is_forward=0, is_hate=0, long_view=int(c and random.random() < .6), play_time_ms=1000 * c, duration_ms=9000, tab=i % 3))
pq.write_table(pa.Table.from_pylist(rows), sys.argv[1] + '/impressions.parquet')
s = [dict(user_id=u, last_time_ms=1650600000000, watch_seq=[u % 60, (u + 2) % 60], like_seq=[u % 60], long_watch_seq=[u % 60]) for u in range(40)]
pq.write_table(pa.Table.from_pylist(s), sys.argv[1] + '/user_sequences.parquet')
`;
