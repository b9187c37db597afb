// `npm run evaluate -- kuairand-libfm`: a folder of libFM files out of KuaiRand's impressions, for developing
// `evaluate -- ctr`. The last day is the test, the day before it the validation, everything earlier the training.
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type FlagValues, runCommand, textFlag, UsageError } from '../import/command.ts';
import { csvRows } from '../import/csv-rows.ts';
import { parquetGroups, toKey, toNumber } from '../import/parquet-rows.ts';

const HELP = `usage: npm run evaluate -- kuairand-libfm --path DIR --out DIR [flags]

  --path DIR     KuaiRand folder: impressions.parquet, user_features_pure.csv, video_features_basic_pure.csv
  --out DIR      where train.libfm, validation.libfm, test.libfm and fields.json go
  --label NAME   column of the impressions that is the label (default is_click)
  --json FILE    write the figures to FILE instead of standard output
  --help         this text`;

const IMPRESSIONS = 'impressions.parquet';
const USERS = 'user_features_pure.csv';
const VIDEOS = 'video_features_basic_pure.csv';
const LABELS = ['is_click', 'long_view', 'is_like', 'is_follow', 'is_comment', 'is_forward'];

const USER_FIELDS = [
  'user_active_degree',
  'is_live_streamer',
  'is_video_author',
  'follow_user_num_range',
  'fans_user_num_range',
  'friend_user_num_range',
  'register_days_range',
  ...Array.from({ length: 18 }, (_, i) => `onehot_feat${i}`),
];
const VIDEO_FIELDS = ['author_id', 'video_type', 'upload_type', 'music_type', 'tag'];
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** The data set's days are China's. */
const ZONE_MS = 8 * HOUR_MS;
const SPLITS = ['train', 'validation', 'test'] as const;

export async function runKuairandLibfm(argv: string[]): Promise<void> {
  const flags = { path: { type: 'string' }, out: { type: 'string' }, label: { type: 'string' } } as const;
  await runCommand({ help: HELP, flags, run: convert }, argv);
}

async function convert(flags: FlagValues): Promise<object> {
  const path = requiredFlag(flags, 'path');
  const out = requiredFlag(flags, 'out');
  const label = textFlag(flags, 'label') ?? 'is_click';
  if (!LABELS.includes(label)) throw new UsageError(`--label must be ${LABELS.join(', ')}, not "${label}"`);
  for (const file of [IMPRESSIONS, USERS, VIDEOS]) {
    if (!existsSync(join(path, file))) throw new Error(`${join(path, file)}: no such file`);
  }
  const users = await readFeatures(join(path, USERS), 'user_id', USER_FIELDS);
  const videos = await readFeatures(join(path, VIDEOS), 'video_id', [
    ...VIDEO_FIELDS,
    'upload_dt',
    'video_duration',
  ]);
  const rows: { day: number; text: string[]; positive: boolean }[] = [];
  const columns = ['user_id', 'video_id', 'time_ms', 'tab', label] as const;
  for await (const group of parquetGroups(join(path, IMPRESSIONS), columns, Number.POSITIVE_INFINITY)) {
    for (let i = 0; i < group.rows; i++) {
      const userId = toKey(group.columns.user_id[i]) ?? '';
      const videoId = toKey(group.columns.video_id[i]) ?? '';
      const at = toNumber(group.columns.time_ms[i]) + ZONE_MS;
      const row = group.firstRow + i + 1;
      if (!Number.isFinite(at)) throw new Error(`${IMPRESSIONS}, row ${row}: time_ms is not a number`);
      const video = videos.get(videoId);
      const context = [toKey(group.columns.tab[i]) ?? '', String(Math.floor((at % DAY_MS) / HOUR_MS))];
      rows.push({
        day: Math.floor(at / DAY_MS),
        text: [
          userId,
          videoId,
          ...context,
          ...USER_FIELDS.map((name) => users.get(userId)?.[name] ?? ''),
          ...VIDEO_FIELDS.map((name) => video?.[name] ?? ''),
          octave(Number(video?.video_duration) / 1000),
          octave((at - Date.parse(`${video?.upload_dt}T00:00:00Z`)) / DAY_MS),
        ],
        positive: toNumber(group.columns[label][i]) === 1,
      });
    }
  }
  const fields = ['user_id', 'video_id', 'tab', 'hour', ...USER_FIELDS, ...VIDEO_FIELDS, 'duration', 'age'];
  return writeFolder(resolve(out), rows, fields);
}

async function writeFolder(
  out: string,
  rows: { day: number; text: string[]; positive: boolean }[],
  fields: string[],
): Promise<object> {
  const days = [...new Set(rows.map(({ day }) => day))].sort((a, b) => a - b);
  if (days.length < 3) throw new Error(`${IMPRESSIONS}: ${days.length} days, at least 3 are needed`);
  const [validationDay, testDay] = days.slice(-2);
  const numberOf = fields.map(() => new Map<string, number>());
  for (const { text } of rows) {
    text.forEach((value, field) => {
      const known = numberOf[field];
      if (!known.has(value)) known.set(value, known.size);
    });
  }
  let size = 0;
  const firstOf = numberOf.map((known) => (size += known.size) - known.size);
  const lines: Record<(typeof SPLITS)[number], string[]> = { train: [], validation: [], test: [] };
  for (const { day, text, positive } of rows) {
    const split = day === testDay ? 'test' : day === validationDay ? 'validation' : 'train';
    const features = text.map((value, field) => `${firstOf[field] + numberOf[field].get(value)!}:1`);
    lines[split].push(`${positive ? 1 : -1} ${features.join(' ')}\n`);
  }
  await mkdir(out, { recursive: true });
  for (const split of SPLITS) await writeFile(join(out, `${split}.libfm`), lines[split].join(''));
  const ranges = fields.map((name, field) => ({ name, first: firstOf[field], ids: numberOf[field].size }));
  await writeFile(join(out, 'fields.json'), `${JSON.stringify(ranges, null, 2)}\n`);
  const count = Object.fromEntries(SPLITS.map((split) => [split, lines[split].length]));
  return { out, rows: count, fields: fields.length, ids: size };
}

/** Whole binary logarithm as a category; '' for what is not a positive number. */
function octave(value: number): string {
  return value > 0 ? String(Math.round(Math.log2(value))) : '';
}

async function readFeatures(
  path: string,
  key: string,
  fields: string[],
): Promise<Map<string, Record<string, string>>> {
  const found = new Map<string, Record<string, string>>();
  const refuse = (row: number, field: string, reason: string) => {
    throw new Error(`${path}, row ${row}: ${field} ${reason}`);
  };
  for await (const { values } of csvRows(path, [key, ...fields], Number.POSITIVE_INFINITY, refuse)) {
    found.set(values[key], values);
  }
  return found;
}

function requiredFlag(flags: FlagValues, name: string): string {
  const value = textFlag(flags, name);
  if (value === undefined) throw new UsageError(`--${name} DIR is required`);
  return value;
}

if (import.meta.main) await runKuairandLibfm(process.argv.slice(2));
