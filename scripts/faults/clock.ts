// Waiting, for the scenarios.

/** At once for times that have passed. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}

/** Asks again every 100 ms; seconds until `done` held, null when it did not in time. */
export async function secondsUntil(
  done: () => Promise<boolean> | boolean,
  limitMs: number,
): Promise<number | null> {
  const startedAt = Date.now();
  while (Date.now() - startedAt < limitMs) {
    if (await Promise.resolve(done()).catch(() => false)) return (Date.now() - startedAt) / 1000;
    await sleep(100);
  }
  return null;
}
