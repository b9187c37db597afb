// The files of a KuaiRand folder as columns. Called by kuairand-impressions.ts.
import { join } from 'node:path';
import { FeedrankError } from '../../src/errors.ts';
import { csvRows } from '../import/csv-rows.ts';
import { parquetGroups, toList, toNumber } from '../import/parquet-rows.ts';

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
  'long_view',
  'play_time_ms',
  'duration_ms',
  'tab',
] as const;
const VIDEO_COLUMNS = ['video_id', 'author_id', 'upload_dt', 'video_duration', 'tag'];
const SEQUENCE_COLUMNS = ['user_id', 'last_time_ms', 'watch_seq', 'like_seq', 'long_watch_seq'] as const;
const FOREVER = Number.POSITIVE_INFINITY;

export interface Video {
  author: string;
  tag: string;
  music: string;
  type: string;
  upload: string;
  uploadedAt: number;
  durationMs: number;
}

export interface Watched {
  user: Int32Array;
  video: Int32Array;
  at: Float64Array;
  /** 1 where it was watched for long, or liked. */
  long: Float32Array;
  liked: Float32Array;
}

/** Columns of the impressions, earliest first. @throws FeedrankError(invalid_input) where there is none. */
export async function readImpressionColumns(dir: string): Promise<{
  sorted: Record<(typeof IMPRESSION_COLUMNS)[number], Float64Array>;
  rejected: number;
}> {
  const raw: number[][] = IMPRESSION_COLUMNS.map(() => []);
  let rejected = 0;
  for await (const group of parquetGroups(join(dir, 'impressions.parquet'), IMPRESSION_COLUMNS, FOREVER)) {
    for (let i = 0; i < group.rows; i++) {
      const values = IMPRESSION_COLUMNS.map((name) => toNumber(group.columns[name][i]));
      if (!values.slice(0, 3).every(Number.isFinite)) rejected++;
      else for (let c = 0; c < values.length; c++) raw[c].push(values[c]);
    }
  }
  const rows = raw[0].length;
  if (rows === 0) throw new FeedrankError('invalid_input', 'impressions.parquet: holds no impression');
  const order = Array.from({ length: rows }, (_, i) => i).sort((a, b) => raw[2][a] - raw[2][b] || a - b);
  const sorted = Object.fromEntries(
    IMPRESSION_COLUMNS.map((name, c) => [name, Float64Array.from(order, (i) => raw[c][i])]),
  ) as Record<(typeof IMPRESSION_COLUMNS)[number], Float64Array>;
  return { sorted, rejected };
}

export async function readVideos(dir: string): Promise<Map<string, Video>> {
  const videos = new Map<string, Video>();
  const file = join(dir, 'video_features_basic_pure.csv');
  for await (const { values } of csvRows(file, VIDEO_COLUMNS, FOREVER, () => {})) {
    videos.set(values.video_id, {
      author: values.author_id,
      tag: values.tag.split(',')[0],
      music: values.music_id ?? '',
      type: values.video_type ?? '',
      upload: values.upload_type ?? '',
      uploadedAt: Date.parse(`${values.upload_dt}T00:00:00+08:00`),
      durationMs: Number(values.video_duration) || 0,
    });
  }
  return videos;
}

/** Column → user id → value. */
export async function readUsers(dir: string): Promise<Map<string, Map<string, string>>> {
  const columns = new Map<string, Map<string, string>>();
  const file = join(dir, 'user_features_pure.csv');
  for await (const { values } of csvRows(file, ['user_id'], FOREVER, () => {})) {
    for (const [name, value] of Object.entries(values)) {
      if (name === 'user_id') continue;
      let column = columns.get(name);
      if (!column) columns.set(name, (column = new Map()));
      column.set(values.user_id, value);
    }
  }
  return columns;
}

export async function readSequences(
  dir: string,
  userCode: (id: number) => number,
  videoCode: (id: string) => number,
): Promise<Watched> {
  const events: { user: number; video: number; at: number; long: number; liked: number }[] = [];
  for await (const group of parquetGroups(join(dir, 'user_sequences.parquet'), SEQUENCE_COLUMNS, FOREVER)) {
    for (let i = 0; i < group.rows; i++) {
      const at = toNumber(group.columns.last_time_ms[i]);
      const id = toNumber(group.columns.user_id[i]);
      if (!Number.isFinite(at) || !Number.isFinite(id)) continue;
      const liked = new Set(toList(group.columns.like_seq[i]).map(String));
      const long = new Set(toList(group.columns.long_watch_seq[i]).map(String));
      for (const item of toList(group.columns.watch_seq[i]).map(String)) {
        const event = { user: userCode(id), video: videoCode(item), at, long: long.has(item) ? 1 : 0 };
        events.push({ ...event, liked: liked.has(item) ? 1 : 0 });
      }
    }
  }
  events.sort((a, b) => a.at - b.at);
  return {
    user: Int32Array.from(events, (e) => e.user),
    video: Int32Array.from(events, (e) => e.video),
    at: Float64Array.from(events, (e) => e.at),
    long: Float32Array.from(events, (e) => e.long),
    liked: Float32Array.from(events, (e) => e.liked),
  };
}
