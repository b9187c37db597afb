// Typed errors with stable codes: stages turn them into a degraded value, the API into problem+json.

export type ErrorCode =
  | 'invalid_input'
  | 'not_found'
  | 'unauthorized'
  | 'forbidden'
  | 'conflict'
  | 'payload_too_large'
  | 'unsupported_media_type'
  | 'rate_limited'
  | 'overloaded'
  | 'timeout'
  | 'unavailable'
  | 'corrupt_artifact'
  | 'invalid_cursor'
  | 'expired_cursor'
  | 'locked'
  | 'storage_full'
  | 'internal';

export interface FieldProblem {
  /** JSON path of the offending field, for example `events[3].at`. */
  field: string;
  reason: string;
}

/** Every error the service raises on purpose. `message` is safe to show to a client. */
export class FeedrankError extends Error {
  readonly code: ErrorCode;
  readonly fields: readonly FieldProblem[];
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { fields?: readonly FieldProblem[]; retryAfterSeconds?: number; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = 'FeedrankError';
    this.code = code;
    this.fields = options.fields ?? [];
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

export function invalid(field: string, reason: string): FeedrankError {
  return new FeedrankError('invalid_input', `${field}: ${reason}`, { fields: [{ field, reason }] });
}

/** Narrow an unknown thrown value to its message. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
