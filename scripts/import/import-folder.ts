// Reads one folder of a known format into a store: the import command without its command line. Called by
// scripts/import.ts, the demo and tests.
import { createWriteStream, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import type { ChangeFeed, EventStore, PostStore, UserStore } from '../../src/contracts.ts';
import { deadlineIn } from '../../src/deadline.ts';
import type { ImportFormat, Reject } from './format.ts';
import { type SinkCounts, storeSink } from './sink.ts';

const CHANGES_MS = 60_000;

export interface FolderImport {
  format: ImportFormat;
  dir: string;
  /** At most so many rows of each file; default all. */
  limit?: number;
  /** Default: the format's own choice. */
  detectLanguage?: boolean;
  /** Made at the first reject. */
  rejectsPath: string;
  onProgress?: (fraction: number, rows: number) => void;
}

export interface ImportFigures extends SinkCounts {
  rows: number;
  /** False: everything was there already. */
  changed: boolean;
  rejected: number;
  /** Counts by file, field and reason, the first fifty kinds. */
  rejectedBy: Record<string, number>;
  rejectsFile: string | null;
}

/** @throws FeedrankError(invalid_input) for a file that is not of the format; the store's own errors. */
export async function importFolder(
  store: PostStore & UserStore & EventStore & ChangeFeed,
  { format, dir, limit = Number.MAX_SAFE_INTEGER, detectLanguage, rejectsPath, onProgress }: FolderImport,
): Promise<ImportFigures> {
  const before = await store.position(deadlineIn(CHANGES_MS));
  const sink = storeSink(store);
  const rejects = rejectFile(rejectsPath);
  let rows = 0;
  try {
    const batches = format.read({
      dir,
      limit,
      detectLanguage: detectLanguage ?? format.detectsLanguage,
      reject: rejects.add,
    });
    for await (const batch of batches) {
      await sink.write(batch);
      rows = batch.rows;
      onProgress?.(batch.fraction, rows);
    }
  } finally {
    await sink.close();
    await rejects.close();
  }
  onProgress?.(1, rows);
  const { changes } = await store.read(before, 1, deadlineIn(CHANGES_MS));
  return {
    rows,
    ...sink.counts,
    changed: changes.length > 0,
    rejected: rejects.count(),
    rejectedBy: rejects.byKind(),
    rejectsFile: rejects.count() > 0 ? rejectsPath : null,
  };
}

/** The rejects file, made at the first reject. */
function rejectFile(path: string) {
  let stream: WriteStream | null = null;
  let failure: Error | null = null;
  let count = 0;
  const reasons = new Map<string, number>();
  return {
    add(reject: Reject): void {
      if (failure) throw failure;
      if (!stream) {
        stream = createWriteStream(path);
        stream.on('error', (error) => {
          failure = error;
        });
      }
      count++;
      const key = `${reject.file}: ${reject.field} ${reject.reason}`.slice(0, 200);
      if (reasons.has(key) || reasons.size < 50) reasons.set(key, (reasons.get(key) ?? 0) + 1);
      stream.write(`${JSON.stringify(reject)}\n`);
    },
    count: () => count,
    byKind: () => Object.fromEntries(reasons),
    async close(): Promise<void> {
      if (failure) throw failure;
      if (!stream) return;
      stream.end();
      await finished(stream);
    },
  };
}
