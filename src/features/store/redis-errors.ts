// Turns what ioredis and the server raise into FeedrankError codes. Called by redis-state-store.ts.
import { type ErrorCode, FeedrankError, messageOf } from '../../errors.ts';

/** `what` names the operation in the message; the driver's own error is kept as the cause. */
export function redisError(error: unknown, what: string): FeedrankError {
  if (error instanceof FeedrankError) return error;
  const message = messageOf(error);
  const code = codeOf(message);
  return new FeedrankError(code, `${what}: ${REASONS[code] ?? message}`, { cause: error });
}

/** The key holds another type of value: something else wrote it. */
export function isWrongType(error: unknown): boolean {
  const cause = error instanceof FeedrankError ? error.cause : error;
  return messageOf(cause).startsWith('WRONGTYPE');
}

const REASONS: Partial<Record<ErrorCode, string>> = {
  timeout: 'Redis did not answer within its time',
  unavailable: 'Redis cannot be reached',
  storage_full: 'Redis has no room left',
};

function codeOf(message: string): ErrorCode {
  if (/command timed out/i.test(message)) return 'timeout';
  if (/\bOOM\b|\bMISCONF\b|no space left/i.test(message)) return 'storage_full';
  if (
    /^(READONLY|LOADING|CLUSTERDOWN|MASTERDOWN|NOAUTH|NOPERM|WRONGPASS|TRYAGAIN|BUSY)|writeable|connection is closed|max retries|ECONN|ENOTFOUND|EPIPE|ETIMEDOUT|EHOSTUNREACH|connect/i.test(
      message,
    )
  ) {
    return 'unavailable';
  }
  return 'internal';
}
