// One JSON request to a replica, with a limit of time. Called by the replay's sender, readers and probes.

export interface Answer {
  status: number;
  body: unknown;
  /** From sending to the last byte. */
  ms: number;
  retryAfterMs: number | null;
}

/** Rejects when there is no answer in time. */
export async function callApi(
  base: string,
  method: string,
  path: string,
  body?: object,
  timeoutMs = 15_000,
): Promise<Answer> {
  const startedAt = performance.now();
  const response = await fetch(`${base}${path}`, {
    method,
    ...(body ? { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) } : {}),
    signal: AbortSignal.timeout(timeoutMs),
  });
  const text = await response.text();
  const retryAfter = Number(response.headers.get('retry-after') ?? Number.NaN);
  return {
    status: response.status,
    body: text === '' ? null : JSON.parse(text),
    ms: performance.now() - startedAt,
    retryAfterMs: Number.isFinite(retryAfter) ? retryAfter * 1000 : null,
  };
}
