// Checks the structure of a graph file that hnswlib wrote, since it reports success on a full disk and crashes on a
// torn file: header, rows, and the upper levels' links must end exactly where the file ends.
import { open } from 'node:fs/promises';
import { DIM } from '../../vocabulary.ts';
import { corrupt } from './artifact-files.ts';

/** Little-endian size_t fields, two ints, five size_t or doubles: hnswlib's saveIndex. */
const HEADER_BYTES = 6 * 8 + 2 * 4 + 5 * 8;
const CHUNK_BYTES = 1 << 20;

/** Throws corrupt_artifact with the reason. */
export async function checkGraphFile(path: string, rows: number): Promise<void> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const header = Buffer.alloc(HEADER_BYTES);
    if ((await file.read(header, 0, HEADER_BYTES, 0)).bytesRead < HEADER_BYTES)
      throw corrupt(path, 'has no header');
    const count = Number(header.readBigUInt64LE(16));
    const rowBytes = Number(header.readBigUInt64LE(24));
    const dataOffset = Number(header.readBigUInt64LE(40));
    const labelOffset = Number(header.readBigUInt64LE(32));
    if (count !== rows) throw corrupt(path, `holds ${count} rows of ${rows}`);
    if (labelOffset - dataOffset !== DIM * 4) throw corrupt(path, `is not of dimension ${DIM}`);
    const links = HEADER_BYTES + rows * rowBytes;
    if (size < links + rows * 4)
      throw corrupt(path, `is torn: ${size} bytes, at least ${links + rows * 4} expected`);
    const end = await walkLinks(file, links, rows, size);
    if (end !== size) throw corrupt(path, `is torn: ${size} bytes, its links end at ${end}`);
  } finally {
    await file.close();
  }
}

/** Position after the last row's link list; each is a Uint32 length and that many bytes. */
async function walkLinks(
  file: Awaited<ReturnType<typeof open>>,
  start: number,
  rows: number,
  size: number,
): Promise<number> {
  const chunk = Buffer.alloc(CHUNK_BYTES);
  let chunkAt = 0;
  let chunkEnd = 0;
  let position = start;
  for (let row = 0; row < rows; row++) {
    if (position + 4 > size) return position + 4;
    if (position < chunkAt || position + 4 > chunkEnd) {
      chunkAt = position;
      chunkEnd = position + (await file.read(chunk, 0, CHUNK_BYTES, position)).bytesRead;
      if (position + 4 > chunkEnd) return position + 4;
    }
    position += 4 + chunk.readUInt32LE(position - chunkAt);
  }
  return position;
}
