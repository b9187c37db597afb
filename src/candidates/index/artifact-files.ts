// Files of an index version: written whole and synced, read back in chunks with size and sha256 checked. A file that
// is short, long or changed is refused with its name and the reason.
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, rename, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { FeedrankError, messageOf } from '../../errors.ts';

export interface FileEntry {
  bytes: number;
  sha256: string;
}

/** Chunk of reads and writes: large enough for disk speed, small enough not to hold up a serving process. */
const CHUNK_BYTES = 4 << 20;

/** Writes the parts one after another, syncs, and returns size and hash. Throws storage_full on a full disk. */
export async function writeFileSynced(path: string, parts: readonly Uint8Array[]): Promise<FileEntry> {
  const hash = createHash('sha256');
  let bytes = 0;
  const file = await open(path, 'w');
  try {
    for (const part of parts) {
      for (let at = 0; at < part.length; at += CHUNK_BYTES) {
        const chunk = part.subarray(at, at + CHUNK_BYTES);
        hash.update(chunk);
        for (let done = 0; done < chunk.length; ) {
          const { bytesWritten } = await file.write(chunk, done, chunk.length - done);
          done += bytesWritten;
        }
        bytes += chunk.length;
      }
    }
    await file.sync();
  } catch (error) {
    throw storageError(error, path);
  } finally {
    await file.close();
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** Writes beside the target, syncs and renames: readers see the old or the new file, never a part. */
export async function replaceFile(path: string, contents: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  await writeFileSynced(temporary, [Buffer.from(contents)]);
  await rename(temporary, path);
  await syncFolder(dirname(path));
}

export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Size and hash of a file that something else wrote, after syncing it. */
export async function measureFile(path: string): Promise<FileEntry> {
  const hash = createHash('sha256');
  let bytes = 0;
  const file = await open(path, 'r+');
  try {
    await file.sync();
    for await (const chunk of chunksOf(file)) {
      hash.update(chunk);
      bytes += chunk.length;
    }
  } catch (error) {
    throw storageError(error, path);
  } finally {
    await file.close();
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** Throws corrupt_artifact naming the file unless it has the size and hash of `expected`. */
export async function verifyFile(path: string, expected: FileEntry): Promise<void> {
  const file = await openChecked(path, expected);
  const hash = createHash('sha256');
  try {
    for await (const chunk of chunksOf(file)) hash.update(chunk);
  } finally {
    await file.close();
  }
  checkHash(path, hash.digest('hex'), expected);
}

/** Reads a file into the targets, one after another, which must have its length together, and checks its hash. */
export async function readInto(
  path: string,
  expected: FileEntry,
  targets: readonly Uint8Array[],
): Promise<void> {
  const wanted = targets.reduce((sum, target) => sum + target.length, 0);
  if (wanted !== expected.bytes) {
    throw corrupt(path, `has ${expected.bytes} bytes in the manifest, its counts say ${wanted}`);
  }
  const file = await openChecked(path, expected);
  const hash = createHash('sha256');
  try {
    for (const target of targets) {
      for (let at = 0; at < target.length; ) {
        const { bytesRead } = await file.read(target, at, Math.min(CHUNK_BYTES, target.length - at));
        if (bytesRead === 0) throw corrupt(path, 'ends early');
        hash.update(target.subarray(at, at + bytesRead));
        at += bytesRead;
      }
    }
  } finally {
    await file.close();
  }
  checkHash(path, hash.digest('hex'), expected);
}

export function corrupt(path: string, reason: string): FeedrankError {
  const name = `${basename(dirname(path))}/${basename(path)}`;
  return new FeedrankError('corrupt_artifact', `${name}: ${reason}`);
}

/** A write error as storage_full where the disk or the quota is full. */
export function storageError(error: unknown, path: string): unknown {
  const code = (error as NodeJS.ErrnoException)?.code;
  if (code !== 'ENOSPC' && code !== 'EDQUOT' && code !== 'EFBIG') return error;
  return new FeedrankError('storage_full', `no space left to write ${basename(path)}: ${messageOf(error)}`, {
    cause: error,
  });
}

async function openChecked(path: string, expected: FileEntry): Promise<FileHandle> {
  let size: number;
  try {
    size = (await stat(path)).size;
  } catch (cause) {
    throw corrupt(path, `cannot be read: ${messageOf(cause)}`);
  }
  if (size !== expected.bytes) throw corrupt(path, `has ${size} bytes, ${expected.bytes} were published`);
  return open(path, 'r');
}

function checkHash(path: string, found: string, expected: FileEntry): void {
  if (found !== expected.sha256) throw corrupt(path, 'its sha256 is not the published one');
}

async function* chunksOf(file: FileHandle): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  for (let at = 0; ; ) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}
