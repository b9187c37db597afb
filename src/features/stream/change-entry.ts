// An entry of the change stream: up to ENTRY_CHANGES changes of one transaction, a mark, or a new start. Fields: `p` id
// of the entry before, and one of `c` changes (JSON), `m` mark, `s` start. A reader that misses the entry before knows.
import type { Change, Position } from '../../contracts.ts';

export const ENTRY_CHANGES = 100;

/** Every transaction before `position` of the SQL feed is in the stream before the mark; true at `atMs`. */
export interface StreamMark {
  position: Position;
  atMs: number;
}

export interface StreamEntry {
  id: string;
  previous: string;
  changes: Change[];
  mark: StreamMark | null;
  /** The stream began anew here: what was before is not in it. */
  start: boolean;
}

export function encodeMark({ position, atMs }: StreamMark): string {
  return `${position} ${atMs}`;
}

/** null for an entry that was not written by this program. */
export function decodeEntry(id: string, fields: readonly string[]): StreamEntry | null {
  const entry: StreamEntry = { id, previous: '', changes: [], mark: null, start: false };
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const value = fields[i + 1];
    if (fields[i] === 'p') entry.previous = value;
    else if (fields[i] === 's') entry.start = true;
    else if (fields[i] === 'm') {
      const [position, atMs] = value.split(' ');
      entry.mark = { position, atMs: Number(atMs) };
    } else if (fields[i] === 'c') {
      try {
        entry.changes = JSON.parse(value) as Change[];
      } catch {
        return null;
      }
    } else return null;
  }
  return entry;
}
