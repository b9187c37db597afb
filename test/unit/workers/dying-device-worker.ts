// The device worker, but it dies a moment after the first request: for tests of its replacement. A second one lives.
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import type { DeviceRequest, DeviceWorkerData } from '../../../src/ranking/device/device-protocol.ts';

const { modelsDir } = workerData as DeviceWorkerData;
const died = join(modelsDir, 'died');

if (!existsSync(died)) {
  parentPort!.on('message', ({ kind }: DeviceRequest) => {
    if (kind !== 'close') return;
    writeFileSync(died, '');
    throw new Error('the device is lost');
  });
}
await import('../../../src/ranking/device/device-worker.ts');
