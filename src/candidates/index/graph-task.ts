// The main thread's end of graph-worker.ts: starts it, follows table growth, waits for the file.
import { Worker } from 'node:worker_threads';
import { FeedrankError } from '../../errors.ts';
import type { GraphOrder, GraphReport } from './graph-worker.ts';
import type { GraphOptions } from './hnsw-index.ts';
import type { PostTable } from './post-table.ts';

export class GraphTask {
  readonly #worker: Worker;
  readonly #done: Promise<void>;
  /** Rows inserted so far. */
  inserted = 0;
  onProgress: (inserted: number) => void = () => {};

  constructor(table: PostTable, graph: GraphOptions) {
    const worker = new Worker(new URL('graph-worker.ts', import.meta.url), {
      workerData: { table: table.handle(), graph },
    });
    this.#worker = worker;
    this.#done = new Promise((resolve, reject) => {
      const fail = (why: string) => reject(new FeedrankError('internal', `the graph builder failed: ${why}`));
      worker.on('message', (report: GraphReport) => {
        if ('inserted' in report) this.onProgress((this.inserted = report.inserted));
        else if ('written' in report) resolve();
        else fail(report.failed);
      });
      worker.on('error', (error) => fail(error.message));
      worker.on('exit', (code) => fail(`it ended with code ${code}`));
    });
    this.#done.catch(() => {});
  }

  /** The table moved to a larger memory; its rows are the same. */
  moved(table: PostTable): void {
    this.#post({ table: table.handle() });
  }

  /** Inserts what is left and writes the graph to `path`. */
  async finish(path: string): Promise<void> {
    this.#post({ finish: path });
    await this.#done;
  }

  /** Ends the worker; between native calls only, so that the process survives. */
  async stop(): Promise<void> {
    await this.#worker.terminate();
  }

  #post(order: GraphOrder): void {
    this.#worker.postMessage(order);
  }
}
