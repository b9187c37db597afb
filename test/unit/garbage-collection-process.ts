// A process with the service's settings of V8: makes garbage in its main thread, then in a worker, and prints what came
// of their young generations (MiB) and of the priority of V8's helper threads. Started by garbage-collection.test.ts.
import '../../src/garbage-collection.ts';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { getHeapSpaceStatistics } from 'node:v8';
import { Worker } from 'node:worker_threads';

/** Ten bursts of objects of which some thousand live for a while. */
const CHURN = `
  const kept = new Array(30_000);
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 150_000; i++) kept[i % kept.length] = { i, list: [i], text: 'x' + i };
    await sleep(30);
  }
  return getHeapSpaceStatistics().find((one) => one.space_name === 'new_space').space_size / 2 ** 20;
`;
const IN_WORKER = `
  const { getHeapSpaceStatistics } = require('node:v8');
  const { setTimeout: sleep } = require('node:timers/promises');
  (async () => {${CHURN}})().then((size) => require('node:worker_threads').parentPort.postMessage(size));
`;

const AsyncFunction = (async () => {}).constructor as FunctionConstructor;
const churn = new AsyncFunction('sleep', 'getHeapSpaceStatistics', CHURN);
const main: number = await churn(sleep, getHeapSpaceStatistics);
const worker = await new Promise((resolve, reject) => {
  const thread = new Worker(IN_WORKER, { eval: true });
  thread.once('message', resolve);
  thread.once('error', reject);
});
const tasks = '/proc/self/task';
const niceOf = (id: string) =>
  Number(readFileSync(`${tasks}/${id}/stat`, 'utf8').split(') ')[1].split(' ')[16]);
const helpers = process.platform === 'linux' ? readdirSync(tasks) : [];
const nice = helpers
  .filter((id) => readFileSync(`${tasks}/${id}/comm`, 'utf8').startsWith('V8Worker'))
  .map(niceOf);
console.log(JSON.stringify({ main, worker, nice }));
process.exit(0);
