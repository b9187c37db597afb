// Worker thread of the index build: inserts one shard's rows into its graph as the table grows (hnswlib inserts
// synchronously) and writes the file. Started by graph-task.ts, which it tells its progress.
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { messageOf } from '../../errors.ts';
import { shardStart } from './graph-shards.ts';
import { type GraphOptions, HnswBuilder } from './hnsw-index.ts';
import { PostTable } from './post-table.ts';
import type { TableHandle } from './table-handle.ts';
import { HEADER } from './table-layout.ts';

export interface GraphWork {
  table: TableHandle;
  graph: GraphOptions;
  /** Only shard 0 may start before all rows are there: the others' first rows are not known. */
  shard: number;
  shards: number;
}

export type GraphOrder = { table: TableHandle } | { finish: string };
export type GraphReport = { inserted: number } | { written: true } | { failed: string };

/** Rows between two looks at the mailbox: about 50 ms of insertion. */
const SLICE = 256;
const IDLE_MS = 20;

const port = parentPort!;
const { graph, shard, shards, ...start } = workerData as GraphWork;

try {
  let table = PostTable.open(start.table);
  let finish = '';
  const first = shardStart(shard, shards, table.rows);
  const shardCapacity = () => Math.ceil(table.capacity / shards);
  const builder = await HnswBuilder.create(shardCapacity(), graph);
  for (let next = first; ; ) {
    const order = receiveMessageOnPort(port)?.message as GraphOrder | undefined;
    if (order && 'table' in order) {
      table = PostTable.open(order.table);
      builder.resize(shardCapacity());
    } else if (order) {
      finish = order.finish;
    }
    const { rows } = table;
    const to = Math.min(shardStart(shard + 1, shards, rows), next + SLICE);
    if (to > next) {
      builder.insert(table.vectors, next, to);
      next = to;
      port.postMessage({ inserted: next - first } satisfies GraphReport);
    } else if (finish !== '') {
      break;
    } else {
      Atomics.wait(table.header, HEADER.rows, rows, IDLE_MS);
    }
  }
  builder.write(finish);
  port.postMessage({ written: true } satisfies GraphReport);
} catch (error) {
  port.postMessage({ failed: messageOf(error) } satisfies GraphReport);
}
