// Sessions and timed runs of the GPU benchmark: what a provider refuses is a result like any other, with its reason.
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import { messageOf } from '../../src/errors.ts';
import { createRankerSession, type Provider } from '../../src/ranking/onnx-session.ts';
import { median } from './statistics.ts';

export type Feeds = Record<string, Tensor>;

/** First runs compile kernels and allocate. */
const WARM_UP_RUNS = 2;

export interface Refused {
  refused: string;
}

export function isRefused(value: object): value is Refused {
  return 'refused' in value;
}

/** `work` on a session of its own, which is released; what the provider refuses comes back as its reason. */
export async function withSession<T extends object>(
  source: Uint8Array | string,
  name: string,
  provider: Provider,
  work: (session: InferenceSession) => Promise<T>,
): Promise<T | Refused> {
  let session: InferenceSession | undefined;
  try {
    session = await createRankerSession(source, name, provider);
    return await work(session);
  } catch (error) {
    return { refused: messageOf(error).split('\n')[0].slice(0, 300) };
  } finally {
    await session?.release();
  }
}

/** Median milliseconds of a run, from its inputs in memory to its outputs in memory. */
export async function timeRun(session: InferenceSession, feeds: Feeds, rounds: number): Promise<number> {
  for (let i = 0; i < WARM_UP_RUNS; i++) await session.run(feeds);
  const times: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const began = performance.now();
    await session.run(feeds);
    times.push(performance.now() - began);
  }
  return median(times);
}

export function floats(data: Float32Array, ...dims: number[]): Tensor {
  return new Tensor('float32', data, dims);
}

export function integers(data: Int32Array): Tensor {
  return new Tensor('int32', data, [data.length]);
}

export function rounded(value: number, digits = 4): number {
  return Number(value.toPrecision(digits));
}
