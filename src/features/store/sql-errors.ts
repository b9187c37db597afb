// Turns what pg and the server raise into FeedrankError codes; every SQL adapter's calls pass through here.
import { type ErrorCode, FeedrankError, messageOf } from '../../errors.ts';

const CODE_OF_SQLSTATE: Record<string, ErrorCode> = {
  '57014': 'timeout', // query_canceled: statement_timeout
  '55P03': 'timeout', // lock_not_available: lock_timeout
  '53100': 'storage_full', // disk_full
  '21000': 'invalid_input', // cardinality_violation
  '54000': 'invalid_input', // program_limit_exceeded: a key too long for its index
  '28P01': 'unavailable',
  '28000': 'unavailable',
  '3D000': 'unavailable', // no such database
  XX000: 'internal',
};

const CODE_OF_CLASS: Record<string, ErrorCode> = {
  '08': 'unavailable', // connection
  '22': 'invalid_input', // data
  '53': 'unavailable', // resources
  '57': 'unavailable', // shutdown, crash
  '40': 'unavailable', // serialization, deadlock: worth another try
};

const NETWORK_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'ENOENT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
]);

const LOST_CONNECTION =
  /connection terminated|connection ended|not queryable|cannot use a pool|socket hang up|disconnected/i;
const TIMED_OUT = /query read timeout|timeout exceeded when trying to connect|timeout expired/i;
const DISK_FULL = /no space left on device|disk full|disk quota exceeded/i;

/** `what` names the operation in the message; the driver's own error is kept as the cause. */
export function sqlError(error: unknown, what: string): FeedrankError {
  if (error instanceof FeedrankError) return error;
  const message = messageOf(error);
  const code = codeOf((error as { code?: unknown } | null)?.code, message);
  const reason = code === 'internal' || code === 'invalid_input' ? message : REASONS[code];
  return new FeedrankError(code, `${what}: ${reason ?? message}`, { cause: error });
}

/** Deadlock or serialization failure: the transaction left nothing behind and may be run again. */
export function isRetryable(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return code === '40P01' || code === '40001';
}

const REASONS: Partial<Record<ErrorCode, string>> = {
  timeout: 'the database did not answer within its time',
  unavailable: 'the database cannot be reached',
  storage_full: 'the disk of the database is full',
};

function codeOf(code: unknown, message: string): ErrorCode {
  if (DISK_FULL.test(message) || code === 'ENOSPC') return 'storage_full';
  if (TIMED_OUT.test(message)) return 'timeout';
  if (typeof code === 'string') {
    if (NETWORK_CODES.has(code)) return 'unavailable';
    const known = CODE_OF_SQLSTATE[code] ?? CODE_OF_CLASS[code.slice(0, 2)];
    if (known) return known;
  }
  return LOST_CONNECTION.test(message) ? 'unavailable' : 'internal';
}
