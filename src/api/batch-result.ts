// The answer to a bulk request: one result an item, so that a bad item loses nothing but itself.
import type { FieldProblem } from '../errors.ts';
import type { BatchResponse, ItemResult } from './response-schemas.ts';

export interface BatchOutcome {
  results: ItemResult[];
  /** Causes, for example `apply_delayed`. */
  degraded: string[];
}

export function rejected(index: number, item: unknown, problem: FieldProblem): ItemResult {
  const id = (item as { id?: unknown } | null)?.id;
  const shown = typeof id === 'string' ? id.slice(0, 256) : null;
  return { index, id: shown, status: 'rejected', field: problem.field, reason: problem.reason };
}

export function batchResponse(outcome: BatchOutcome, requestId: string): BatchResponse {
  const count = (status: ItemResult['status']) =>
    outcome.results.filter((result) => result.status === status).length;
  return {
    requestId,
    stored: count('stored'),
    duplicates: count('duplicate'),
    rejected: count('rejected'),
    results: outcome.results,
    degraded: outcome.degraded,
  };
}

/** 200 all taken, 207 some rejected, 400 all rejected. */
export function batchStatus(response: BatchResponse): 200 | 207 | 400 {
  if (response.rejected === 0) return 200;
  return response.rejected === response.results.length ? 400 : 207;
}
