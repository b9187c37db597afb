// A KuaiRand folder as a table of impressions with what was known at each: static facts, and counters as of the moment.
// Called by kuairand.ts.
import { readImpressionColumns, readSequences, readUsers, readVideos, type Video } from './kuairand-files.ts';
import {
  asOfColumns,
  Codes,
  type EventTable,
  type ImpressionSet,
  type Key,
  pairColumn,
} from './replay-as-of.ts';

const DAY_MS = 24 * 3_600_000;
/** Days in China, as the data set counts them. */
const ZONE_MS = 8 * 3_600_000;
const HOURS = 3_600_000;
const FOREVER = Number.POSITIVE_INFINITY;
/** User columns with at most this many values are taken as categories, others with numbers as quantities. */
const MOST_CATEGORIES = 400;

export interface KuairandData {
  set: ImpressionSet;
  rejected: number;
  /** The same rows, for the retrieval. */
  users: number;
  videos: string[];
  video: Int32Array;
  watched: { user: Int32Array; video: Int32Array; at: Float64Array };
  details: Map<string, Video>;
  tab: Int32Array;
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
  const tab = Int32Array.from(sorted.tab, (value) => codes.tab.of(value));
  const hour = Int32Array.from(at, (ms) => codes.hour.of(Math.floor(((ms + ZONE_MS) % DAY_MS) / HOURS)));
  const length = Int32Array.from(sorted.duration_ms, (ms) =>
    codes.length.of(Number.isFinite(ms) ? Math.round(2 * Math.log2(1 + ms / 1000)) : null),
  );

  const watched = await readSequences(dir, (id) => codes.user.of(id), videoCode);
  const rowsOf = (userColumn: Int32Array, videoColumn: Int32Array) => {
    const author = authorOf(videoColumn);
    const tag = tagOf(videoColumn);
    return { user: userColumn, video: videoColumn, author, tag, music: musicOf(videoColumn) };
  };
  const own = rowsOf(user, video);
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
  const impressions: EventTable = {
    rows,
    at,
    // What became of an impression is known when the play has ended.
    knownAt: at.map((ms, i) => ms + Math.max(0, sorted.play_time_ms[i] || 0)),
    outcomes: [
      outcome('click', sorted.is_click),
      outcome('long', sorted.long_view),
      outcome('like', sorted.is_like),
      outcome('completion', completion),
      outcome('social', social),
    ],
  };
  const pairs = {
    userAuthor: new Codes(),
    userTag: new Codes(),
    userTab: new Codes(),
    videoTab: new Codes(),
    userLength: new Codes(),
    tabHour: new Codes(),
    tagTab: new Codes(),
    lengthTab: new Codes(),
  };
  const key = (name: string, column: Int32Array, table: Codes, ...halfLivesMs: number[]): Key => ({
    name,
    codes: column,
    size: table.size,
    halfLivesMs,
  });
  const pair = (name: string, table: Codes, a: Int32Array, b: Int32Array, ...halfLivesMs: number[]): Key => {
    const column = pairColumn(table, a, b);
    return { name, codes: column, size: table.size, halfLivesMs };
  };
  const keys = [
    key('video', own.video, codes.video, FOREVER, 12 * HOURS),
    key('author', own.author, codes.author, FOREVER),
    key('tag', own.tag, codes.tag, FOREVER),
    key('music', own.music, codes.music, FOREVER),
    key('user', own.user, codes.user, FOREVER, HOURS),
    key('tab', tab, codes.tab, FOREVER),
    key('length', length, codes.length, FOREVER),
    pair('user_author', pairs.userAuthor, own.user, own.author, FOREVER),
    pair('user_tag', pairs.userTag, own.user, own.tag, FOREVER),
    pair('user_tab', pairs.userTab, own.user, tab, FOREVER),
    pair('user_length', pairs.userLength, own.user, length, FOREVER),
    pair('video_tab', pairs.videoTab, own.video, tab, FOREVER),
    pair('tag_tab', pairs.tagTab, own.tag, tab, FOREVER),
    pair('length_tab', pairs.lengthTab, length, tab, FOREVER),
    pair('tab_hour', pairs.tabHour, tab, hour, FOREVER),
  ];
  const numbers = asOfColumns(impressions, keys, { rows, at, codes: (k) => k.codes }, '', (f) =>
    onProgress(0.7 * f),
  );

  const pastPairs = { userAuthor: new Codes(), userTag: new Codes(), userVideo: new Codes() };
  const pastKeys: [Key, Int32Array][] = [
    [key('video', past.video, codes.video, FOREVER), own.video],
    [key('author', past.author, codes.author, FOREVER), own.author],
    [key('tag', past.tag, codes.tag, FOREVER), own.tag],
    [key('user', past.user, codes.user, FOREVER), own.user],
  ];
  for (const [name, table, a, b, c, d] of [
    ['user_author', pastPairs.userAuthor, past.user, past.author, own.user, own.author],
    ['user_tag', pastPairs.userTag, past.user, past.tag, own.user, own.tag],
    ['user_video', pastPairs.userVideo, past.user, past.video, own.user, own.video],
  ] as const) {
    const column = pairColumn(table, a, b);
    const readers = pairColumn(table, c, d);
    pastKeys.push([{ name, codes: column, size: table.size, halfLivesMs: [FOREVER] }, readers]);
  }
  const readersOf = new Map(pastKeys);
  const watches: EventTable = {
    rows: watched.at.length,
    at: watched.at,
    outcomes: [
      { name: 'long', values: watched.long },
      { name: 'like', values: watched.liked },
    ],
  };
  const before = asOfColumns(
    watches,
    pastKeys.map(([k]) => k),
    { rows, at, codes: (k) => readersOf.get(k)! },
    'watched_',
    (f) => onProgress(0.7 + 0.3 * f),
  );
  numbers.names.push(...before.names);
  numbers.columns.push(...before.columns);

  const ids: ImpressionSet['ids'] = [
    { name: 'user', codes: own.user, size: codes.user.size },
    { name: 'video', codes: own.video, size: codes.video.size },
    { name: 'author', codes: own.author, size: codes.author.size },
    { name: 'tag', codes: own.tag, size: codes.tag.size },
    { name: 'tab', codes: tab, size: codes.tab.size },
    { name: 'hour', codes: hour, size: codes.hour.size },
    { name: 'length', codes: length, size: codes.length.size },
    column('type', (v) => v.type),
    column('upload', (v) => v.upload),
  ];
  function column(name: 'type' | 'upload', pick: (v: Video) => string) {
    return { name, codes: detail(pick, codes[name])(own.video), size: codes[name].size };
  }
  addNumber(
    'duration',
    Float32Array.from(sorted.duration_ms, (ms) => Math.log1p(Math.max(0, ms || 0) / 1000)),
  );
  addNumber(
    'upload_age',
    Float32Array.from(video, (code, i) => {
      const uploadedAt = details.get(videos[code])?.uploadedAt ?? Number.NaN;
      return Number.isFinite(uploadedAt) ? Math.log1p(Math.max(0, at[i] - uploadedAt) / DAY_MS) : -1;
    }),
  );
  addNumber('since_last', sinceLast(user, at, codes.user.size));
  function addNumber(name: string, values: Float32Array) {
    numbers.names.push(name);
    numbers.columns.push(values);
  }
  for (const [name, values] of profiles) {
    const texts = [...sorted.user_id].map((id) => values.get(String(id)) ?? '');
    const distinct = new Set(texts);
    if (distinct.size < 2) continue;
    if (distinct.size <= MOST_CATEGORIES) {
      const table = new Codes();
      const columnCodes = Int32Array.from(texts, (text) => table.of(text));
      ids.push({ name: `profile_${name}`, codes: columnCodes, size: table.size });
    }
    if (distinct.size > 20 && texts.every((text) => text === '' || Number.isFinite(Number(text)))) {
      addNumber(
        `profile_${name}`,
        Float32Array.from(texts, (text) => Math.log1p(Math.max(0, Number(text)))),
      );
    }
  }
  const label = (name: string, values: Float64Array) => ({
    name,
    values: Uint8Array.from(values, (value) => (value === 1 ? 1 : 0)),
  });
  const split = splitDays(at);
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
      ...split,
    },
    rejected,
    users: codes.user.size,
    videos,
    video,
    watched,
    details,
    tab,
  };
}

/** The last day (in China) is the test, the one before chooses; of less than three days, the last two fifths are. */
export function splitDays(at: Float64Array): { validationFromMs: number; testFromMs: number } {
  const first = at[0];
  const last = at[at.length - 1];
  const testFromMs = Math.floor((last + ZONE_MS) / DAY_MS) * DAY_MS - ZONE_MS;
  if (testFromMs - 1.5 * DAY_MS > first) return { validationFromMs: testFromMs - DAY_MS, testFromMs };
  return { validationFromMs: last - 0.4 * (last - first), testFromMs: last - 0.2 * (last - first) };
}

function sinceLast(user: Int32Array, at: Float64Array, users: number): Float32Array {
  const last = new Float64Array(users).fill(Number.NaN);
  return Float32Array.from(user, (code, i) => {
    const ms = at[i] - last[code];
    last[code] = at[i];
    return Number.isNaN(ms) ? 12 : Math.log1p(ms / 1000);
  });
}
