// Recall of the search on live traffic: a share of the requests is searched once more by the exact scan, on an idle
// worker and one at a time. Never on a request's path; called by SlateMaker after an answer.
import type { Histogram } from 'prom-client';
import type { WorkerPool } from './pool.ts';
import type { RecallJob } from './worker.ts';

export interface LiveRecallOptions {
  pool: Pick<WorkerPool, 'background'>;
  /** Share of requests that is measured, 0–1. */
  share: number;
  recall: Histogram;
  random?: () => number;
}

export class LiveRecall {
  readonly #options: LiveRecallOptions;
  #measuring = false;

  constructor(options: LiveRecallOptions) {
    this.#options = options;
  }

  /** Never throws; what finds no idle worker is left out. */
  sample(generation: string, vector: Float32Array, k: number): void {
    const { pool, share, recall, random = Math.random } = this.#options;
    if (this.#measuring || random() >= share) return;
    const work = pool.background('recall', { generation, vector, k } satisfies RecallJob);
    if (work === null) return;
    this.#measuring = true;
    work
      .then(
        (share) => {
          if (typeof share === 'number') recall.observe(share);
        },
        () => {
          // The generation was closed, or the worker ended: nothing was measured.
        },
      )
      .finally(() => {
        this.#measuring = false;
      });
  }
}
