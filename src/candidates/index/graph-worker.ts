// Worker thread of the index build: inserts rows into the graph as the table grows (hnswlib inserts synchronously)
// and writes the file. Started by graph-task.ts, which it tells its progress.
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { messageOf } from '../../errors.ts';
import { type GraphOptions, HnswBuilder } from './hnsw-index.ts';
import { PostTable, type TableHandle } from './post-table.ts';
import { HEADER } from './table-layout.ts';

export type GraphOrder = { table: TableHandle } | { finish: string };
export type GraphReport = { inserted: number } | { written: true } | { failed: string };

/** Rows between two looks at the mailbox: about 50 ms of insertion. */
const SLICE = 256;
const IDLE_MS = 20;

const port = parentPort!;
const options = workerData as { table: TableHandle; graph: GraphOptions };

try {
  let table = PostTable.open(options.table);
  let finish = '';
  const builder = await HnswBuilder.create(table.capacity, options.graph);
  for (let inserted = 0; finish === '' || inserted < table.rows; ) {
    const order = receiveMessageOnPort(port)?.message as GraphOrder | undefined;
    if (order && 'table' in order) {
      table = PostTable.open(order.table);
      builder.resize(table.capacity);
    } else if (order) {
      finish = order.finish;
    }
    const to = Math.min(table.rows, inserted + SLICE);
    if (to === inserted) {
      Atomics.wait(table.header, HEADER.rows, to, IDLE_MS);
      continue;
    }
    builder.insert(table.vectors, inserted, to);
    inserted = to;
    port.postMessage({ inserted } satisfies GraphReport);
  }
  builder.write(finish);
  port.postMessage({ written: true } satisfies GraphReport);
} catch (error) {
  port.postMessage({ failed: messageOf(error) } satisfies GraphReport);
}
