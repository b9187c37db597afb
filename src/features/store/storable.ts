// Checks values before a store sees them: text without NUL and lone surrogates, finite times, keys that fit an index.
// Every check throws FeedrankError(invalid_input) that names the field.
import { Buffer } from 'node:buffer';
import { statfsSync } from 'node:fs';
import { invalid } from '../../errors.ts';

/** Longest key in UTF-8 bytes: two of them fit one B-tree entry of Postgres (2,704 bytes). */
export const KEY_LIMIT_BYTES = 1024;
/** Longest free text in UTF-16 units. */
export const TEXT_LIMIT = 1_000_000;
export const EXTRA_LIMIT_BYTES = 4096;
/** A Date's, either way. */
const LAST_TIME_MS = 8.64e15;

/** A user, post, author or event key: 1 to KEY_LIMIT_BYTES bytes. */
export function checkKey(value: unknown, field: string): asserts value is string {
  checkText(value, field);
  if (value.length === 0) throw invalid(field, 'must not be empty');
  if (value.length * 3 > KEY_LIMIT_BYTES && Buffer.byteLength(value) > KEY_LIMIT_BYTES) {
    throw invalid(field, `must be at most ${KEY_LIMIT_BYTES} bytes`);
  }
}

export function checkText(value: unknown, field: string): asserts value is string {
  if (typeof value !== 'string') throw invalid(field, 'must be a string');
  if (value.length > TEXT_LIMIT) throw invalid(field, `must be at most ${TEXT_LIMIT} characters`);
  if (value.includes('\0')) throw invalid(field, 'must not contain the NUL character');
  if (!value.isWellFormed()) throw invalid(field, 'must be well-formed Unicode (lone surrogate)');
}

export function checkOptionalText(value: unknown, field: string): void {
  if (value !== undefined && value !== null) checkText(value, field);
}

/** True for what `checkKey` lets pass, long keys aside: it measures them. */
export function isKey(value: unknown): boolean {
  return (
    typeof value === 'string' &&
    value.length > 0 &&
    value.length * 3 <= KEY_LIMIT_BYTES &&
    !value.includes('\0') &&
    value.isWellFormed()
  );
}

/** Whether `checkTime` would let it pass. */
export function isTime(value: unknown): boolean {
  return typeof value === 'number' && Math.abs(value) <= LAST_TIME_MS;
}

/** Unix ms; any finite number that a Date can hold. */
export function checkTime(value: unknown, field: string): asserts value is number {
  if (!isTime(value)) {
    throw invalid(field, 'must be a time in unix milliseconds');
  }
}

export function checkTexts(values: unknown, field: string): void {
  if (values === undefined || values === null) return;
  if (!Array.isArray(values)) throw invalid(field, 'must be a list of strings');
  values.forEach((value, i) => {
    checkText(value, `${field}[${i}]`);
  });
}

/** A JSON object of at most EXTRA_LIMIT_BYTES; returns its JSON, null when absent. */
export function extraJson(value: unknown, field: string): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value !== 'object' || Array.isArray(value)) throw invalid(field, 'must be an object');
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch {
    throw invalid(field, 'must be JSON');
  }
  if (json === undefined) throw invalid(field, 'must be JSON');
  if (Buffer.byteLength(json) > EXTRA_LIMIT_BYTES) {
    throw invalid(field, `must be at most ${EXTRA_LIMIT_BYTES} bytes of JSON`);
  }
  // JSON.stringify writes NUL and lone surrogates as escapes, which jsonb refuses.
  if (/(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/i.test(json)) {
    throw invalid(field, 'must not contain NUL or lone surrogates');
  }
  return json;
}

/** Room left on the disk of a folder; unknown counts as plenty. */
export function freeBytes(folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
