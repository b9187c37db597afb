// Splits a text file into records by newline, as bytes, in bounded memory; newlines inside CSV quotes do not split.
// Called by csv-rows.ts and jsonl.ts.
import { createReadStream } from 'node:fs';

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const QUOTE = 0x22;
/** A record above this is reported as too long and skipped without being held. */
export const MAX_RECORD_BYTES = 1 << 20;

export interface ByteRecord {
  /** 1-based number of the record in the file. */
  number: number;
  /** Without the line break; null when it was longer than MAX_RECORD_BYTES. */
  bytes: Buffer | null;
  /** Offset in the file of the byte after this record. */
  end: number;
}

export async function* readByteRecords(path: string, quotes: boolean): AsyncGenerator<ByteRecord[]> {
  let held: Buffer[] = [];
  let heldBytes = 0;
  let number = 0;
  let offset = 0;
  let quoted = false;
  const finish = (last: Buffer, end: number): ByteRecord => {
    const size = heldBytes + last.length;
    let bytes = size > MAX_RECORD_BYTES ? null : held.length > 0 ? Buffer.concat([...held, last]) : last;
    if (bytes && bytes[bytes.length - 1] === RETURN) bytes = bytes.subarray(0, -1);
    held = [];
    heldBytes = 0;
    return { number: ++number, bytes, end };
  };
  for await (const data of createReadStream(path, { highWaterMark: 1 << 18 })) {
    const chunk = data as Buffer;
    const records: ByteRecord[] = [];
    let from = 0;
    for (let at = quotes ? 0 : chunk.indexOf(NEWLINE); at >= 0 && at < chunk.length; ) {
      if (quotes && chunk[at] === QUOTE) quoted = !quoted;
      if (chunk[at] === NEWLINE && !quoted) {
        records.push(finish(chunk.subarray(from, at), offset + at + 1));
        from = at + 1;
      }
      at = quotes ? at + 1 : chunk.indexOf(NEWLINE, from);
    }
    const rest = chunk.subarray(from);
    heldBytes += rest.length;
    if (heldBytes <= MAX_RECORD_BYTES) held.push(Buffer.from(rest));
    else held = [];
    offset += chunk.length;
    if (records.length > 0) yield records;
  }
  if (heldBytes > 0) yield [finish(Buffer.alloc(0), offset)];
}

const decoder = new TextDecoder('utf-8', { fatal: true });

/** The record's text, or why it has none. A byte order mark is dropped. */
export function decodeRecord(bytes: Buffer | null): { text: string } | { problem: string } {
  if (!bytes) return { problem: `is longer than ${MAX_RECORD_BYTES} bytes` };
  try {
    return { text: decoder.decode(bytes) };
  } catch {
    return { problem: 'is not valid UTF-8' };
  }
}
