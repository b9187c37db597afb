// KuaiRand short videos: videos (posts without text), users, impressions with feedback, and earlier watches. Ids are kept
// as given; authors get a prefix because users are numbered separately.
import { join } from 'node:path';
import { LONG_DWELL_MS } from '../../src/vocabulary.ts';
import { csvRows } from './csv-rows.ts';
import { BatchBuilder, type ImportFormat } from './format.ts';
import { parquetGroups, toKey, toList, toNumber } from './parquet-rows.ts';

const VIDEOS = 'video_features_basic_pure.csv';
const USERS = 'user_features_pure.csv';
const IMPRESSIONS = 'impressions.parquet';
const SEQUENCES = 'user_sequences.parquet';

const IMPRESSION_COLUMNS = [
  'user_id',
  'video_id',
  'time_ms',
  'is_click',
  'is_like',
  'is_follow',
  'is_comment',
  'is_forward',
  'is_hate',
  'play_time_ms',
] as const;
const SEQUENCE_COLUMNS = ['user_id', 'last_time_ms', 'watch_seq', 'like_seq', 'long_watch_seq'] as const;

/** `register_days` counts back from the day the features were taken: the data set ends on this day. */
const FEATURES_TAKEN_AT = Date.UTC(2022, 4, 8);
const DAY_MS = 24 * 3_600_000;
/** The earlier watches carry one time, that of the last: the others are set this far apart before it. */
const WATCH_STEP_MS = 10 * 60_000;
const DAY = /^\d{4}-\d\d-\d\d$/;

export const kuairand: ImportFormat = {
  files: [VIDEOS, USERS, IMPRESSIONS, SEQUENCES],
  detectsLanguage: false,
  async *read(options) {
    const builder = new BatchBuilder(options);
    const authors = new Map<string, string>();
    const badRow = (file: string) => (row: number, field: string, reason: string) =>
      builder.reject(file, row, field, reason);

    const videoColumns = ['video_id', 'author_id', 'upload_dt', 'video_duration', 'tag'];
    const videos = csvRows(join(options.dir, VIDEOS), videoColumns, options.limit, badRow(VIDEOS));
    for await (const { row, values } of videos) {
      const author = `author:${values.author_id}`;
      authors.set(values.video_id, author);
      builder.addPost(
        {
          id: values.video_id,
          authorId: author,
          // A day in China.
          createdAt: DAY.test(values.upload_dt) ? `${values.upload_dt}T00:00:00+08:00` : values.upload_dt,
          mediaType: 'video',
          ...(values.tag ? { topic: `tag:${values.tag.split(',')[0]}` } : {}),
          extra: {
            durationMs: Number(values.video_duration) || 0,
            tags: values.tag,
            videoType: values.video_type,
            uploadType: values.upload_type,
            musicId: values.music_id,
          },
        },
        VIDEOS,
        row,
      );
      if (builder.countRow()) yield builder.take(0.05);
    }

    const userColumns = ['user_id', 'register_days'];
    const users = csvRows(join(options.dir, USERS), userColumns, options.limit, badRow(USERS));
    for await (const { row, values, fraction } of users) {
      const days = Number(values.register_days);
      if (values.register_days === '' || !(days >= 0)) {
        builder.reject(USERS, row, 'register_days', 'must be a number of days, 0 or more');
      } else {
        builder.addUser({ id: values.user_id, createdAt: FEATURES_TAKEN_AT - days * DAY_MS }, USERS, row);
      }
      if (builder.countRow()) yield builder.take(0.05 + 0.1 * fraction);
    }

    for await (const group of parquetGroups(join(options.dir, SEQUENCES), SEQUENCE_COLUMNS, options.limit)) {
      for (let i = 0; i < group.rows; i++) {
        addWatches(builder, group.columns, i, group.firstRow + i + 1);
        if (builder.countRow())
          yield builder.take(0.15 + (0.55 * (group.firstRow + i + 1)) / group.totalRows);
      }
    }
    for await (const group of parquetGroups(
      join(options.dir, IMPRESSIONS),
      IMPRESSION_COLUMNS,
      options.limit,
    )) {
      for (let i = 0; i < group.rows; i++) {
        addImpression(builder, group.columns, i, group.firstRow + i + 1, authors);
        if (builder.countRow()) yield builder.take(0.7 + (0.3 * (group.firstRow + i + 1)) / group.totalRows);
      }
    }
    yield builder.take(1);
  },
};

type Columns = Record<string, ArrayLike<unknown>>;

/** Earlier watches, oldest first: a click each, a dwell of LONG_DWELL_MS where it was a long watch, a like where liked. */
function addWatches(builder: BatchBuilder, columns: Columns, i: number, row: number): void {
  const userId = toKey(columns.user_id[i]);
  const watched = toList(columns.watch_seq[i]);
  const lastAt = toNumber(columns.last_time_ms[i]);
  const liked = new Set(toList(columns.like_seq[i]).map(String));
  const long = new Set(toList(columns.long_watch_seq[i]).map(String));
  watched.forEach((video, k) => {
    const postId = String(video);
    const event = { userId, postId, at: lastAt - (watched.length - 1 - k) * WATCH_STEP_MS };
    builder.addEvent({ ...event, type: 'click' }, SEQUENCES, row);
    if (long.has(postId))
      builder.addEvent({ ...event, type: 'dwell', dwellMs: LONG_DWELL_MS }, SEQUENCES, row);
    if (liked.has(postId)) builder.addEvent({ ...event, type: 'like' }, SEQUENCES, row);
  });
}

const FEEDBACK = [
  ['is_click', 'click'],
  ['is_like', 'like'],
  ['is_comment', 'reply'],
  ['is_forward', 'share'],
  ['is_hate', 'hide'],
] as const;

function addImpression(
  builder: BatchBuilder,
  columns: Columns,
  i: number,
  row: number,
  authors: Map<string, string>,
): void {
  const userId = toKey(columns.user_id[i]);
  const postId = toKey(columns.video_id[i]);
  const at = toNumber(columns.time_ms[i]);
  builder.addEvent({ userId, postId, type: 'impression', at }, IMPRESSIONS, row);
  for (const [column, type] of FEEDBACK) {
    if (toNumber(columns[column][i]) === 1) builder.addEvent({ userId, postId, type, at }, IMPRESSIONS, row);
  }
  const dwellMs = toNumber(columns.play_time_ms[i]);
  if (dwellMs > 0) builder.addEvent({ userId, postId, type: 'dwell', at, dwellMs }, IMPRESSIONS, row);
  if (toNumber(columns.is_follow[i]) !== 1) return;
  const authorId = authors.get(postId ?? '');
  if (authorId) builder.addFollow({ userId, authorId, createdAt: at }, IMPRESSIONS, row);
  else builder.reject(IMPRESSIONS, row, 'is_follow', 'the video has no author in the video file');
}
