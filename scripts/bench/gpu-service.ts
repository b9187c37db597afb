// The service's own device worker under load: feed workers in a closed loop, through shared memory and the batcher.
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { FEATURES, FULL_WIDTH } from '../../src/features/feature-schema.ts';
import { DeviceHost } from '../../src/ranking/device/device-host.ts';
import type { WorkerEvent } from '../../src/ranking/device/device-protocol.ts';
import { HEADS } from '../../src/vocabulary.ts';
import type { FeederData, FeederResult } from './gpu-feeder.ts';
import { type Network, type Precision, randomNumbers, rankerGraph } from './gpu-graphs.ts';
import type { KernelPlan } from './gpu-kernels.ts';
import { floats, type Refused, rounded, withSession } from './gpu-runs.ts';
import { spread } from './statistics.ts';

export interface ServicePlan
  extends Pick<KernelPlan, 'provider' | 'small' | 'networks' | 'precisions' | 'rows'> {
  /** Feed workers that ask at the same time. */
  feeders: readonly number[];
  seconds: number;
  deadlineMs: number;
}

export interface ServiceRun {
  network: Network;
  precision: Precision;
  feeders: number;
  requestsPerSecond: number;
  rowsPerSecond: number;
  latencyMs: { p50: number; p99: number; mean: number };
  requestsPerBatch: number;
  /** Share of the rows that the device ran which were padding. */
  padding: number;
  batchMs: { p50: number; p99: number; mean: number };
  /** Share of the time in which a batch was running. */
  deviceBusy: number;
  /** Requests that were not answered within the deadline, most of them turned away at once. */
  late: number;
  failed: number;
}

/** float16 keeps 11 bits of a number; random weights are no kinder than trained ones. */
const GOLDEN_TOLERANCE = { fp32: 1e-4, fp16: 0.02 };

export async function measureService(
  plan: ServicePlan,
  progress: (line: string) => void,
): Promise<(ServiceRun | (Refused & { network: Network; precision: Precision }))[]> {
  const modelsDir = mkdtempSync(join(tmpdir(), 'feedrank-gpu-'));
  const found: Awaited<ReturnType<typeof measureService>> = [];
  let events: WorkerEvent[] = [];
  const host = new DeviceHost({
    provider: plan.provider,
    modelsDir,
    workers: Math.max(...plan.feeders),
    rows: plan.rows,
    columns: FULL_WIDTH,
    onEvent: (event) => events.push(event),
  });
  try {
    for (const network of plan.networks) {
      for (const precision of plan.precisions) {
        progress(`service: opening ${network} ${precision}`);
        const name = `${network}-${precision}`;
        const opened = await writeModel(modelsDir, name, network, precision, plan.small).then(
          () => host.open(name, '1'),
          (error: Error) => ({ problem: error.message }),
        );
        if ('problem' in opened) {
          found.push({ network, precision, refused: opened.problem.split('\n')[0].slice(0, 300) });
          continue;
        }
        for (const feeders of plan.feeders) {
          progress(`service: ${name}, ${feeders} feed workers, ${plan.seconds} s`);
          events = [];
          const results = await load(plan, host, opened.id, feeders);
          found.push({ network, precision, feeders, ...figures(plan, results, events) });
        }
        await host.keepOnly(name, []);
      }
    }
    return found;
  } finally {
    await host.stop();
    rmSync(modelsDir, { recursive: true });
  }
}

function load(plan: ServicePlan, host: DeviceHost, id: number, feeders: number): Promise<FeederResult[]> {
  const { rows, deadlineMs, seconds } = plan;
  const one = (seed: number) =>
    new Promise<FeederResult>((resolve, reject) => {
      const workerData: FeederData = {
        handle: host.handle,
        id,
        rows,
        columns: FULL_WIDTH,
        deadlineMs,
        seconds,
        seed,
      };
      const worker = new Worker(new URL('./gpu-feeder.ts', import.meta.url), { workerData });
      worker.once('message', resolve);
      worker.once('error', reject);
    });
  return Promise.all(Array.from({ length: feeders }, (_, seed) => one(seed)));
}

function figures(
  { rows }: ServicePlan,
  results: readonly FeederResult[],
  events: readonly WorkerEvent[],
): Omit<ServiceRun, 'network' | 'precision' | 'feeders'> {
  const seconds = Math.max(...results.map((one) => one.seconds));
  const latencies = results.flatMap(({ latenciesMs }) => latenciesMs);
  const batches = events.filter((event) => event.kind === 'batch');
  const sum = (of: (batch: (typeof batches)[number]) => number) =>
    batches.reduce((all, one) => all + of(one), 0);
  return {
    requestsPerSecond: rounded(latencies.length / seconds),
    rowsPerSecond: Math.round((latencies.length * rows) / seconds),
    latencyMs: spread(latencies),
    requestsPerBatch: rounded(sum(({ requests }) => requests) / batches.length, 3),
    padding: rounded(1 - sum((batch) => batch.rows) / sum(({ bucket }) => bucket), 3),
    batchMs: spread(batches.map(({ ms }) => ms)),
    deviceBusy: rounded(sum(({ ms }) => ms) / seconds / 1000, 3),
    late: results.reduce((all, { late }) => all + late, 0),
    failed: results.reduce((all, { failed }) => all + failed, 0),
  };
}

/** A folder as the service reads it: the network, its manifest, and a golden row computed on the CPU. */
async function writeModel(
  modelsDir: string,
  name: string,
  network: Network,
  precision: Precision,
  small: boolean,
): Promise<void> {
  const { bytes } = rankerGraph(network, FULL_WIDTH, precision, small);
  const row = randomNumbers(FULL_WIDTH, 'golden', 1);
  const answer = await withSession(bytes, name, 'cpu', async (session) => {
    const { probabilities } = await session.run({ features: floats(row, 1, FULL_WIDTH) });
    return { probabilities: [...(probabilities.data as Float32Array)] };
  });
  if ('refused' in answer) throw new Error(answer.refused);
  const golden = Buffer.from(
    JSON.stringify({
      inputs: { features: { dims: [1, FULL_WIDTH], type: 'float32', data: [...row] } },
      outputs: { probabilities: { dims: [1, HEADS.length], type: 'float32', data: answer.probabilities } },
      tolerance: GOLDEN_TOLERANCE[precision],
    }),
  );
  const file = (content: Uint8Array) => ({
    sha256: createHash('sha256').update(content).digest('hex'),
    bytes: content.length,
  });
  const manifest = {
    name,
    version: '1',
    kind: 'ranker',
    createdAt: new Date(0).toISOString(),
    files: { 'model.onnx': file(bytes), 'golden.json': file(golden) },
    inputs: ['features'],
    outputs: ['probabilities'],
    features: FEATURES.map(({ id }) => id),
    heads: HEADS,
  };
  const dir = join(modelsDir, name, '1');
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'model.onnx'), bytes);
  writeFileSync(join(dir, 'golden.json'), golden);
  writeFileSync(join(dir, 'manifest.json'), JSON.stringify(manifest));
}
