// Short texts, nearly always ASCII, as UTF-8: without a call into native code for each.
import type { Buffer } from 'node:buffer';

/** Bytes of a UTF-16 code unit, at most. */
export const UTF8_MOST = 3;

/** Writes `text` to `out` at `at`, where there must be room; how many bytes it took. */
export function writeText(text: string, out: Buffer, at: number): number {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return out.write(text, at);
    out[at + i] = code;
  }
  return text.length;
}
