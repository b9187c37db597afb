// Every error code the API can answer with: its HTTP status and title. ERRORS.md documents the same list; a test
// holds the two together. Read by errors.ts and by the OpenAPI description.
import type { ErrorCode } from '../errors.ts';

export const ERROR_CATALOGUE: Readonly<Record<ErrorCode, { status: number; title: string }>> = {
  invalid_input: { status: 400, title: 'The request is not valid' },
  invalid_cursor: { status: 400, title: 'The cursor is not one of this feed' },
  unauthorized: { status: 401, title: 'Authentication is required' },
  forbidden: { status: 403, title: 'Not allowed' },
  not_found: { status: 404, title: 'Not found' },
  conflict: { status: 409, title: 'Conflict' },
  expired_cursor: { status: 410, title: 'The cursor has expired' },
  payload_too_large: { status: 413, title: 'The body is too large' },
  unsupported_media_type: { status: 415, title: 'The content type is not supported' },
  rate_limited: { status: 429, title: 'Too many requests' },
  internal: { status: 500, title: 'Internal error' },
  corrupt_artifact: { status: 503, title: 'A model or index cannot be used' },
  locked: { status: 503, title: 'The store is in use by another process' },
  overloaded: { status: 503, title: 'Too much work' },
  unavailable: { status: 503, title: 'Temporarily unavailable' },
  timeout: { status: 504, title: 'Not answered in time' },
  storage_full: { status: 507, title: 'The storage is full' },
};
