// How long to wait before a dead worker is replaced: one that keeps dying is replaced more and more slowly.

const DEATHS_WINDOW_MS = 60_000;
const STEP_MS = 50;
const MAX_MS = 5000;

export class RespawnBackoff {
  #deaths: number[] = [];

  /** Counts a death. Milliseconds until its replacement: 0 for the first of a minute, then doubling. */
  died(): number {
    const now = performance.now();
    this.#deaths = [...this.#deaths.filter((then) => then > now - DEATHS_WINDOW_MS), now];
    return Math.min(MAX_MS, 2 ** (this.#deaths.length - 1) * STEP_MS - STEP_MS);
  }
}
