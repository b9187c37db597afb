// What the main thread and the device worker say to each other. Types only.
import type { ErrorCode } from '../../errors.ts';
import type { Provider } from '../onnx-session.ts';
import type { DeviceEvent } from './device-loop.ts';
import type { DeviceHandle } from './device-memory.ts';

export interface DeviceWorkerData {
  handle: DeviceHandle;
  modelsDir: string;
  provider: Provider;
}

/** `stop`: finish the batch in progress, close every model, end the thread. */
export interface DeviceRequest {
  kind: 'open' | 'close' | 'stop';
  /** Number of the request; its reply carries it. */
  reply: number;
  /** Number of the model. */
  id: number;
  name: string;
  version: string;
}

export type WorkerEvent =
  | Exclude<DeviceEvent, { kind: 'failed' }>
  | { kind: 'failed'; requests: number; error: string };

export type DeviceMessage = { reply: number; code?: ErrorCode; error?: string } | { events: WorkerEvent[] };
