// The device worker: owns the sessions of the execution provider and serves the feed workers through shared memory.
// Speaks device-protocol.ts with device-host.ts on the main thread.
import { parentPort, workerData } from 'node:worker_threads';
import { FeedrankError, messageOf } from '../../errors.ts';
import { DeviceLoop } from './device-loop.ts';
import { DeviceMemory } from './device-memory.ts';
import { DeviceModels } from './device-models.ts';
import type { DeviceMessage, DeviceRequest, DeviceWorkerData, WorkerEvent } from './device-protocol.ts';

/** Events of a busy device go to the main thread this many at a time, or when it has nothing to do. */
const EVENTS = 64;

const { handle, modelsDir, provider } = workerData as DeviceWorkerData;
const port = parentPort!;
const memory = new DeviceMemory(handle);
const models = new DeviceModels(modelsDir, provider, memory);
const events: WorkerEvent[] = [];
const send = (message: DeviceMessage) => port.postMessage(message);

function flush(): void {
  if (events.length > 0) send({ events: events.splice(0) });
}

const loop = new DeviceLoop(
  memory,
  (model, batch) => models.run(model, batch),
  (event) => {
    events.push(event.kind === 'failed' ? { ...event, error: messageOf(event.error) } : event);
    if (events.length >= EVENTS || event.kind === 'failed' || event.queued === 0) flush();
  },
);

async function answer({ kind, id, name, version }: DeviceRequest): Promise<void> {
  if (kind === 'open') return models.open(id, name, version);
  if (kind === 'close') return models.close(id);
  loop.stop();
  await serving;
  await models.closeAll();
  flush();
}

port.on('message', async (request: DeviceRequest) => {
  try {
    await answer(request);
    send({ reply: request.reply });
  } catch (error) {
    const code = error instanceof FeedrankError ? error.code : 'internal';
    send({ reply: request.reply, code, error: messageOf(error) });
  }
  if (request.kind === 'stop') port.close();
});

const serving = loop.serve();
