// A worker that speaks the pool's protocol: echoes, sleeps without answering, fails, or dies, as told.
import { parentPort } from 'node:worker_threads';
import type { PoolRequest } from '../../../src/pool.ts';

const state = { setting: 'none' };

parentPort?.on('message', ({ id, kind, payload }: PoolRequest) => {
  const answer = (value: unknown) => parentPort?.postMessage({ id, value });
  if (kind === 'echo') answer(payload);
  else if (kind === 'set') answer((state.setting = String(payload)));
  else if (kind === 'get') answer(state.setting);
  else if (kind === 'fail') parentPort?.postMessage({ id, code: 'internal', error: 'as told' });
  else if (kind === 'die') process.exit(7);
  else if (kind === 'fill-memory') {
    const held: number[][] = [];
    for (;;) held.push(new Array(100_000).fill(held.length + 0.5));
  } else if (kind === 'busy') {
    const until = Date.now() + Number(payload);
    while (Date.now() < until);
    answer('done');
  } else if (kind === 'close') {
    answer(null);
    parentPort?.close();
  }
});
