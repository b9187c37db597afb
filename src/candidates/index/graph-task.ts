// The main thread's end of graph-worker.ts: starts one worker a shard, follows table growth, waits for the files.
import { Worker } from 'node:worker_threads';
import { FeedrankError } from '../../errors.ts';
import type { GraphOrder, GraphReport, GraphWork } from './graph-worker.ts';
import type { GraphOptions } from './hnsw-index.ts';
import type { PostTable } from './post-table.ts';

export class GraphTask {
  readonly #shards: number;
  readonly #graph: GraphOptions;
  readonly #workers: ShardWorker[] = [];
  /** Rows inserted so far, over all shards. */
  onProgress: (inserted: number) => void = () => {};

  /** Starts the first shard: its rows begin at 0, however many follow. */
  constructor(table: PostTable, graph: GraphOptions, shards: number) {
    this.#shards = shards;
    this.#graph = graph;
    this.#start(table, 0);
  }

  /** Starts the other shards, whose ranges are known once all rows are there. */
  startRest(table: PostTable): void {
    for (let shard = this.#workers.length; shard < this.#shards; shard++) this.#start(table, shard);
  }

  /** The table moved to a larger memory; its rows are the same. */
  moved(table: PostTable): void {
    for (const worker of this.#workers) worker.post({ table: table.handle() });
  }

  /** Inserts what is left and writes each shard's graph to its path; all rows must be there. */
  async finish(paths: readonly string[]): Promise<void> {
    await Promise.all(this.#workers.map((worker, shard) => worker.finish(paths[shard])));
  }

  /** Ends the workers; between native calls only, so that the process survives. */
  async stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop()));
  }

  #start(table: PostTable, shard: number): void {
    const work = { table: table.handle(), graph: this.#graph, shard, shards: this.#shards };
    const report = () => this.onProgress(this.#workers.reduce((sum, { inserted }) => sum + inserted, 0));
    this.#workers.push(new ShardWorker(work, report));
  }
}

class ShardWorker {
  inserted = 0;
  readonly #worker: Worker;
  readonly #done: Promise<void>;

  constructor(work: GraphWork, onProgress: () => void) {
    const worker = new Worker(new URL('graph-worker.ts', import.meta.url), { workerData: work });
    this.#worker = worker;
    this.#done = new Promise((resolve, reject) => {
      const fail = (why: string) => reject(new FeedrankError('internal', `the graph builder failed: ${why}`));
      worker.on('message', (report: GraphReport) => {
        if ('inserted' in report) {
          this.inserted = report.inserted;
          onProgress();
        } else if ('written' in report) resolve();
        else fail(report.failed);
      });
      worker.on('error', (error) => fail(error.message));
      worker.on('exit', (code) => fail(`it ended with code ${code}`));
    });
    this.#done.catch(() => {});
  }

  async finish(path: string): Promise<void> {
    this.post({ finish: path });
    await this.#done;
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }

  post(order: GraphOrder): void {
    this.#worker.postMessage(order);
  }
}
