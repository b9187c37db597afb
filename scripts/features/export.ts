// The offline half of the feature store: one row an impression with every feature as of it, and what followed. Replayed by
// the trainer's own code (scripts/train/training-set.ts), written as one Parquet file. Called by scripts/features.ts.
import { mkdir, open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ColumnSource, fileWriter, ParquetWriter, schemaFromColumnData } from 'hyparquet-writer';
import { FEATURES, type FeatureId } from '../../src/features/feature-schema.ts';
import { HEADS } from '../../src/vocabulary.ts';
import { type TrainingSource, type TrainingTowers, writeTrainingSet } from '../train/training-set.ts';
import type { TrainingSetMeta } from '../train/training-set-writer.ts';

export interface ExportFeatures {
  source: TrainingSource;
  towers: TrainingTowers;
  outDir: string;
  maxRows: number;
  seed: number;
  /** Impressions before this share of the events' time move counters only. */
  warmUpShare?: number;
  onProgress?: (what: string, done: number, total: number) => void;
}

const ROW_GROUP = 50_000;
/** Left out: the products of the vectors' coordinates, which follow from the vectors. */
const EXPORTED = FEATURES.map(({ id }) => id).filter((id): id is FeatureId => id !== 'hadamard@1');

/**
 * Writes `features.parquet` (user_id, post_id, at, features, labels) and `meta.json`.
 * @throws FeedrankError(invalid_input) when there is no impression to make a row of.
 */
export async function exportFeatures(options: ExportFeatures): Promise<TrainingSetMeta> {
  const { outDir, onProgress } = options;
  const columns = join(outDir, 'columns.partial');
  await mkdir(outDir, { recursive: true });
  await rm(join(outDir, 'meta.json'), { force: true });
  const users = new Names();
  const posts = new Names();
  try {
    const meta = await writeTrainingSet({
      ...options,
      outDir: columns,
      features: EXPORTED,
      onRow: ({ userId, postId }) => {
        users.add(userId);
        posts.add(postId);
      },
    });
    await writeParquet(columns, join(outDir, 'features.parquet'), meta, users, posts, onProgress);
    // Last, so that a torn export is not read.
    await writeFile(join(outDir, 'meta.json'), `${JSON.stringify(meta, null, 2)}\n`);
    return meta;
  } finally {
    await rm(columns, { recursive: true, force: true });
  }
}

/** `post_age@1` → `post_age_v1`, of several numbers `post_age_v1_0` … */
export function columnNames({ id, width }: { id: string; width: number }): string[] {
  const name = id.replace('@', '_v');
  return width === 1 ? [name] : Array.from({ length: width }, (_, i) => `${name}_${i}`);
}

async function writeParquet(
  folder: string,
  path: string,
  meta: TrainingSetMeta,
  users: Names,
  posts: Names,
  onProgress: ExportFeatures['onProgress'],
): Promise<void> {
  const names = meta.features.flatMap(columnNames);
  const [features, times, labels] = await Promise.all(
    ['features.f32', 'times.f64', 'labels.u8'].map((name) => open(join(folder, name))),
  );
  let writer: ParquetWriter | null = null;
  try {
    for (let from = 0; from < meta.rows; from += ROW_GROUP) {
      const rows = Math.min(ROW_GROUP, meta.rows - from);
      const block = new Float32Array(await bytesOf(features, from, rows, 4 * names.length));
      const at = new Float64Array(await bytesOf(times, from, rows, 8));
      const outcomes = new Uint8Array(await bytesOf(labels, from, rows, HEADS.length));
      const sources: ColumnSource[] = [
        { name: 'user_id', type: 'STRING', data: users.slice(from, rows) },
        { name: 'post_id', type: 'STRING', data: posts.slice(from, rows) },
        { name: 'at', type: 'TIMESTAMP', data: Array.from(at, (ms) => new Date(ms)) },
        ...names.map((name, column) => ({
          name,
          type: 'FLOAT' as const,
          data: Float32Array.from({ length: rows }, (_, row) => block[row * names.length + column]),
        })),
        ...HEADS.map((head, column) => ({
          name: `label_${head}`,
          type: 'BOOLEAN' as const,
          data: Array.from({ length: rows }, (_, row) => outcomes[row * HEADS.length + column] === 1),
        })),
      ];
      const columnData = sources.map((source) => ({ ...source, nullable: false }));
      writer ??= new ParquetWriter({
        writer: fileWriter(path),
        schema: schemaFromColumnData({ columnData }),
      });
      await writer.write({ columnData, rowGroupSize: ROW_GROUP });
      onProgress?.('write', from + rows, meta.rows);
    }
    await writer?.finish();
  } finally {
    await Promise.all([features, times, labels].map((file) => file.close()));
  }
}

async function bytesOf(
  file: Awaited<ReturnType<typeof open>>,
  from: number,
  rows: number,
  width: number,
): Promise<ArrayBuffer> {
  const bytes = new Uint8Array(rows * width);
  await file.read(bytes, 0, bytes.length, from * width);
  return bytes.buffer;
}

/** Names of rows, each kept once: eight bytes a row. */
class Names {
  readonly #known = new Map<string, number>();
  readonly #names: string[] = [];
  readonly #rows: number[] = [];

  add(name: string): void {
    let number = this.#known.get(name);
    if (number === undefined) {
      number = this.#names.push(name) - 1;
      this.#known.set(name, number);
    }
    this.#rows.push(number);
  }

  slice(from: number, rows: number): string[] {
    return this.#rows.slice(from, from + rows).map((number) => this.#names[number]);
  }
}
