// A KuaiRand folder as a table of impressions with what was known at each: static facts, and counters as of the moment.
// Called by kuairand.ts.
import type { Head } from '../../src/vocabulary.ts';
import {
  DAY_MS,
  profileColumns,
  SHOWN_KEYS,
  sinceLast,
  splitDays,
  WATCHED_KEYS,
  ZONE_MS,
} from './kuairand-facts.ts';
import {
  readImpressionColumns,
  readSequences,
  readUsers,
  readVideos,
  type Video,
  type Watched,
} from './kuairand-files.ts';
import {
  asOfColumns,
  Codes,
  type EventTable,
  type ImpressionSet,
  type Key,
  pairColumn,
} from './replay-as-of.ts';

const HOURS = 3_600_000;
const FOREVER = Number.POSITIVE_INFINITY;

export interface KuairandData {
  set: ImpressionSet;
  rejected: number;
  /** The same rows, for the retrieval. */
  users: number;
  videos: string[];
  video: Int32Array;
  watched: Watched;
  /** What became of each impression, by head; and when that was known. */
  outcomes: Record<Head, Uint8Array>;
  playMs: Float64Array;
  knownAt: Float64Array;
  details: Map<string, Video>;
  tab: Int32Array;
  describe(rows: KuairandRows, progress: (fraction: number) => void): Described;
}

/** Impressions as they were, or with other videos in their place; in the order of time. */
export interface KuairandRows {
  /** Row of the impression whose reader, moment and surface are taken. */
  source: Int32Array;
  video: Int32Array;
  durationMs: Float64Array;
}

export type Described = Pick<ImpressionSet, 'numbers' | 'ids'>;

interface VideoRows {
  user: Int32Array;
  video: Int32Array;
  author: Int32Array;
  tag: Int32Array;
  music: Int32Array;
}

export async function readKuairand(
  dir: string,
  onProgress: (fraction: number) => void,
): Promise<KuairandData> {
  const details = await readVideos(dir);
  const profiles = await readUsers(dir);
  const { sorted, rejected } = await readImpressionColumns(dir);
  const rows = sorted.time_ms.length;
  const at = sorted.time_ms;
  const codes = {
    user: new Codes(),
    video: new Codes(),
    author: new Codes(),
    tag: new Codes(),
    music: new Codes(),
    tab: new Codes(),
    type: new Codes(),
    upload: new Codes(),
    hour: new Codes(),
    length: new Codes(),
  };
  const videos: string[] = [];
  // Every video of the catalogue can be retrieved, shown before or not.
  for (const id of details.keys()) if (codes.video.of(id) === videos.length) videos.push(id);
  const videoCode = (id: string) => {
    const code = codes.video.of(id);
    if (code === videos.length) videos.push(id);
    return code;
  };
  const user = Int32Array.from(sorted.user_id, (id) => codes.user.of(id));
  const video = Int32Array.from(sorted.video_id, (id) => videoCode(String(id)));
  const detail = (pick: (v: Video) => string, table: Codes) => (column: Int32Array) =>
    Int32Array.from(column, (code) => {
      const found = details.get(videos[code]);
      return found ? table.of(pick(found)) : -1;
    });
  const authorOf = detail((v) => v.author, codes.author);
  const tagOf = detail((v) => v.tag, codes.tag);
  const musicOf = detail((v) => v.music, codes.music);
  const typeOf = detail((v) => v.type, codes.type);
  const uploadOf = detail((v) => v.upload, codes.upload);
  const tab = Int32Array.from(sorted.tab, (value) => codes.tab.of(value));
  const hour = Int32Array.from(at, (ms) => codes.hour.of(Math.floor(((ms + ZONE_MS) % DAY_MS) / HOURS)));

  const watched = await readSequences(dir, (id) => codes.user.of(id), videoCode);
  const rowsOf = (userColumn: Int32Array, videoColumn: Int32Array): VideoRows => {
    const author = authorOf(videoColumn);
    const tag = tagOf(videoColumn);
    return { user: userColumn, video: videoColumn, author, tag, music: musicOf(videoColumn) };
  };
  const past = rowsOf(watched.user, watched.video);

  const outcome = (name: string, values: ArrayLike<number>) => ({
    name,
    values: Float32Array.from(values, (value) => (Number.isFinite(value) ? value : 0)),
  });
  const social = sorted.is_follow.map((value, i) =>
    Math.min(1, value + sorted.is_comment[i] + sorted.is_forward[i]),
  );
  const completion = sorted.play_time_ms.map((ms, i) =>
    Math.min(1, ms / Math.max(1000, sorted.duration_ms[i])),
  );
  // What became of an impression is known when the play has ended.
  const knownAt = at.map((ms, i) => ms + Math.max(0, sorted.play_time_ms[i] || 0));
  const impressions: EventTable = {
    rows,
    at,
    knownAt,
    outcomes: [
      outcome('click', sorted.is_click),
      outcome('long', sorted.long_view),
      outcome('like', sorted.is_like),
      outcome('completion', completion),
      outcome('social', social),
    ],
  };
  const lengthOf = (ms: number) =>
    codes.length.of(Number.isFinite(ms) ? Math.round(2 * Math.log2(1 + ms / 1000)) : null);
  const since = sinceLast(user, at, codes.user.size);
  const facts = profileColumns(profiles, sorted.user_id);

  /** What the rows of `source` would have looked like with these videos, for which `durationMs` is given, in their place. */
  const describe = (
    { source, video: shown, durationMs }: KuairandRows,
    progress: (fraction: number) => void,
  ): Described => {
    const of = (column: Int32Array) => Int32Array.from(source, (row) => column[row]);
    const own = keyColumns(rowsOf(of(user), shown), of(tab), of(hour), Int32Array.from(durationMs, lengthOf));
    const readers = {
      rows: source.length,
      at: Float64Array.from(source, (row) => at[row]),
      codes: ({ name }: Key) => own[name as KeyName],
    };
    const numbers = asOfColumns(impressions, keys, readers, '', (f) => progress(0.7 * f));
    const before = asOfColumns(watches, pastKeys, readers, 'watched_', (f) => progress(0.7 + 0.3 * f));
    numbers.names.push(...before.names);
    numbers.columns.push(...before.columns);
    const add = (name: string, values: Float32Array) => {
      numbers.names.push(name);
      numbers.columns.push(values);
    };
    const id = (name: keyof typeof codes, column: Int32Array) => ({
      name,
      codes: column,
      size: codes[name].size,
    });
    add(
      'duration',
      Float32Array.from(durationMs, (ms) => Math.log1p(Math.max(0, ms || 0) / 1000)),
    );
    add(
      'upload_age',
      Float32Array.from(shown, (code, i) => {
        const uploadedAt = details.get(videos[code])?.uploadedAt ?? Number.NaN;
        return Number.isFinite(uploadedAt)
          ? Math.log1p(Math.max(0, at[source[i]] - uploadedAt) / DAY_MS)
          : -1;
      }),
    );
    const ofRow = (values: Float32Array) => Float32Array.from(source, (row) => values[row]);
    add('since_last', ofRow(since));
    for (const { name, values } of facts.numbers) add(name, ofRow(values));
    const ids = [
      id('user', own.user),
      id('video', own.video),
      id('author', own.author),
      id('tag', own.tag),
      id('tab', own.tab),
      id('hour', of(hour)),
      id('length', own.length),
      id('type', typeOf(shown)),
      id('upload', uploadOf(shown)),
      ...facts.ids.map(({ name, codes: column, size }) => ({ name, codes: of(column), size })),
    ];
    return { numbers, ids };
  };

  const pairs = {
    user_author: new Codes(),
    user_tag: new Codes(),
    user_tab: new Codes(),
    user_length: new Codes(),
    user_video: new Codes(),
    video_tab: new Codes(),
    tag_tab: new Codes(),
    length_tab: new Codes(),
    tab_hour: new Codes(),
  };
  function keyColumns(row: VideoRows, tabs: Int32Array, hours: Int32Array, lengths: Int32Array) {
    const pair = (name: keyof typeof pairs, a: Int32Array, b: Int32Array) => pairColumn(pairs[name], a, b);
    return {
      ...row,
      tab: tabs,
      length: lengths,
      user_author: pair('user_author', row.user, row.author),
      user_tag: pair('user_tag', row.user, row.tag),
      user_tab: pair('user_tab', row.user, tabs),
      user_length: pair('user_length', row.user, lengths),
      user_video: pair('user_video', row.user, row.video),
      video_tab: pair('video_tab', row.video, tabs),
      tag_tab: pair('tag_tab', row.tag, tabs),
      length_tab: pair('length_tab', lengths, tabs),
      tab_hour: pair('tab_hour', tabs, hours),
    };
  }
  type KeyName = keyof ReturnType<typeof keyColumns>;
  const sizeOf = (name: KeyName) =>
    (name in pairs ? pairs[name as keyof typeof pairs] : codes[name as keyof typeof codes]).size;
  const own = keyColumns(rowsOf(user, video), tab, hour, Int32Array.from(sorted.duration_ms, lengthOf));
  const unknown = new Int32Array(past.user.length).fill(-1);
  const pastOwn = keyColumns(past, unknown, unknown, unknown);
  const key = (of: Record<KeyName, Int32Array>, name: KeyName, ...halfLivesMs: number[]): Key => ({
    name,
    codes: of[name],
    size: sizeOf(name),
    halfLivesMs,
  });
  const keys = [
    key(own, 'video', FOREVER, 12 * HOURS),
    key(own, 'user', FOREVER, HOURS),
    ...SHOWN_KEYS.map((name) => key(own, name, FOREVER)),
  ];
  const pastKeys = WATCHED_KEYS.map((name) => key(pastOwn, name, FOREVER));
  const watches: EventTable = {
    rows: watched.at.length,
    at: watched.at,
    outcomes: [
      { name: 'long', values: watched.long },
      { name: 'like', values: watched.liked },
    ],
  };
  const every = { source: Int32Array.from(user, (_, row) => row), video, durationMs: sorted.duration_ms };
  const { numbers, ids } = describe(every, onProgress);
  const ones = (values: Float64Array) => Uint8Array.from(values, (value) => (value === 1 ? 1 : 0));
  const label = (name: string, values: Float64Array) => ({ name, values: ones(values) });
  return {
    set: {
      rows,
      at,
      group: Int32Array.from({ length: rows }, (_, i) => i),
      user,
      numbers,
      ids,
      labels: [
        label('click', sorted.is_click),
        label('long_view', sorted.long_view),
        label('like', sorted.is_like),
      ],
      ...splitDays(at),
    },
    rejected,
    users: codes.user.size,
    videos,
    video,
    watched,
    outcomes: {
      click: ones(sorted.is_click),
      like: ones(sorted.is_like),
      reply: ones(sorted.is_comment),
      share: ones(sorted.is_forward),
      dwell: ones(sorted.long_view),
      negative: ones(sorted.is_hate),
    },
    playMs: sorted.play_time_ms,
    knownAt,
    details,
    tab,
    describe,
  };
}
