// A stand-in for embed-worker.ts that ends its thread when asked to embed the text "die", and blocks it for the
// milliseconds of "hang 300".
import { parentPort } from 'node:worker_threads';
import type { EmbedRequest } from '../../../src/features/embed-worker.ts';

parentPort?.on('message', (request: EmbedRequest) => {
  if (request.kind === 'close') parentPort?.close();
  else if (request.kind === 'posts' && request.posts[0].text === 'die') process.exit(3);
  else {
    const hangMs =
      request.kind === 'posts' ? Number(/^hang (\d+)/.exec(request.posts[0].text ?? '')?.[1] ?? 0) : 0;
    if (hangMs > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, hangMs);
    parentPort?.postMessage({ kind: 'result', id: request.id, vectors: new Float32Array(64) });
  }
});
parentPort?.postMessage({
  kind: 'ready',
  dim: 64,
  postTower: 'post-tower@1',
  userTower: 'user-tower@1',
  coldStart: new Float32Array(64),
});
