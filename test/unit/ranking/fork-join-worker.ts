// A second worker for fork-join.test.ts: helps with its own session of the model, hangs in a chunk, or ends in one.
import { parentPort, workerData } from 'node:worker_threads';
import { ChunkBoard } from '../../../src/ranking/chunk-board.ts';
import { ForkJoin } from '../../../src/ranking/fork-join.ts';
import { RankerShelf } from '../../../src/ranking/ranker-shelf.ts';

const { board, modelsDir, mode } = workerData as {
  board: SharedArrayBuffer;
  modelsDir: string;
  mode: 'helps' | 'hangs' | 'ends';
};
const fork = new ForkJoin(new ChunkBoard(board));
const shelf = new RankerShelf({ modelsDir, provider: 'cpu' }, fork);
await shelf.apply({ serving: '1', light: null, others: [] });

void fork.help(
  (key) => {
    const model = shelf.lend(key);
    if (model === null || mode === 'helps') return model;
    return {
      run: async () => {
        if (mode === 'ends') process.exit(1);
        // As native code that never returns, but one that a test can end.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
        return new Float32Array(0);
      },
      release: model.release,
    };
  },
  () => true,
);
parentPort!.on('message', () => parentPort!.postMessage(fork.helpedRows));
fork.idle = true;
parentPort!.postMessage('up');
