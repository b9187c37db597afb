// A feed worker as the device sees it: encoded rows in, probabilities out, one request at a time, as fast as it is
// answered. A thread of gpu-service.ts.
import { parentPort, workerData } from 'node:worker_threads';
import { FeedrankError } from '../../src/errors.ts';
import { DeviceClient } from '../../src/ranking/device/device-client.ts';
import { type DeviceHandle, DeviceMemory } from '../../src/ranking/device/device-memory.ts';
import { steadyNow } from '../../src/steady-clock.ts';
import { randomNumbers } from './gpu-graphs.ts';

export interface FeederData {
  handle: DeviceHandle;
  id: number;
  rows: number;
  columns: number;
  deadlineMs: number;
  seconds: number;
  seed: number;
}

export interface FeederResult {
  /** Milliseconds of each answered request, from the encoded rows to the probabilities. */
  latenciesMs: number[];
  late: number;
  failed: number;
  seconds: number;
}

/** What a feed worker does meanwhile is not simulated, but one that is turned away does not ask again at once. */
const TURNED_AWAY_MS = 1;

const { handle, id, rows, columns, deadlineMs, seconds, seed } = workerData as FeederData;
const client = new DeviceClient(new DeviceMemory(handle), { id, model: 'bench' });
const features = randomNumbers(rows * columns, `feeder ${seed}`, 1);
const pause = new Int32Array(new SharedArrayBuffer(4));
const result: FeederResult = { latenciesMs: [], late: 0, failed: 0, seconds: 0 };
const start = performance.now();
const end = start + seconds * 1000;
for (let began = start; began < end; began = performance.now()) {
  try {
    client.run({ features, rows, columns, user: null }, steadyNow() + deadlineMs);
    result.latenciesMs.push(performance.now() - began);
  } catch (error) {
    if (!(error instanceof FeedrankError)) throw error;
    if (error.code === 'timeout') result.late++;
    else result.failed++;
    Atomics.wait(pause, 0, 0, TURNED_AWAY_MS);
  }
}
result.seconds = (performance.now() - start) / 1000;
parentPort!.postMessage(result);
