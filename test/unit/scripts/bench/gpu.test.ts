import { InferenceSession, type Tensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import type { GpuReport } from '../../../../scripts/bench/gpu.ts';
import {
  gatheredForm,
  peakGraph,
  randomNumbers,
  rankerGraph,
  residentForm,
} from '../../../../scripts/bench/gpu-graphs.ts';
import { gpuSection, printGpu } from '../../../../scripts/bench/gpu-print.ts';
import { measureRetrieval } from '../../../../scripts/bench/gpu-retrieval.ts';
import { floats, integers } from '../../../../scripts/bench/gpu-runs.ts';
import { HEADS } from '../../../../src/vocabulary.ts';

const WIDTH = 100;
const ROWS = 12;
const NETWORKS = ['light', 'dcn', 'heavy'] as const;

async function run(bytes: Uint8Array, feeds: Record<string, Tensor>): Promise<Record<string, Float32Array>> {
  const session = await InferenceSession.create(bytes, { intraOpNumThreads: 1 });
  const outputs = await session.run(feeds);
  await session.release();
  return Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, data as Float32Array]));
}

describe('networks of the GPU benchmark', () => {
  it.each(NETWORKS)('%s gives probabilities that differ, nearly the same in float16', async (network) => {
    const features = floats(randomNumbers(ROWS * WIDTH, 'features', 1), ROWS, WIDTH);
    const [exact, half] = await Promise.all(
      (['fp32', 'fp16'] as const).map((precision) =>
        run(rankerGraph(network, WIDTH, precision, true).bytes, { features }),
      ),
    );
    expect(exact.probabilities.length).toBe(ROWS * HEADS.length);
    expect(new Set(exact.probabilities).size).toBeGreaterThan(ROWS);
    for (const [i, p] of exact.probabilities.entries()) {
      expect(p).toBeGreaterThan(0);
      expect(p).toBeLessThan(1);
      expect(Math.abs(p - half.probabilities[i])).toBeLessThan(0.005);
    }
  });

  it('counts parameters and operations: the heavy one has 50 million', () => {
    const light = rankerGraph('light', WIDTH, 'fp32', false);
    const weights = WIDTH * 256 + 256 * 64 + 64 * HEADS.length;
    expect(light.flopsPerRow).toBe(2 * weights);
    expect(light.parameters).toBe(weights + 256 + 64 + HEADS.length);
    const heavy = 130 * 4096 + 3 * 4096 * 4096 + 4096 * HEADS.length;
    expect(heavy).toBeGreaterThan(50e6);
  });

  it('gathers posts by row on the device and gives what uploaded features give', async () => {
    const { bytes } = rankerGraph('dcn', WIDTH, 'fp32', true);
    const columns = 64;
    const table = randomNumbers(50 * columns, 'table', 1);
    const user = randomNumbers(2 * (WIDTH - columns), 'user', 1);
    const request = Int32Array.from({ length: ROWS }, (_, i) => i % 2);
    const post = Int32Array.from({ length: ROWS }, (_, i) => (i * 13) % 50);
    const joined = new Float32Array(ROWS * WIDTH);
    for (let i = 0; i < ROWS; i++) {
      const part = WIDTH - columns;
      joined.set(user.subarray(request[i] * part, (request[i] + 1) * part), i * WIDTH);
      joined.set(table.subarray(post[i] * columns, (post[i] + 1) * columns), i * WIDTH + part);
    }
    const whole = await run(bytes, { features: floats(joined, ROWS, WIDTH) });
    const gathered = await run(gatheredForm(bytes, WIDTH, { rows: 50, columns, data: table }), {
      user: floats(user, 2, WIDTH - columns),
      request: integers(request),
      post: integers(post),
    });
    expect(gathered.probabilities).toEqual(whole.probabilities);
  });

  it('makes features on the device and brings back their mean only', async () => {
    const { bytes } = rankerGraph('light', WIDTH, 'fp32', true);
    const row = randomNumbers(WIDTH, 'row', 1);
    const column = randomNumbers(ROWS, 'column', 0.1);
    const features = Float32Array.from(
      { length: ROWS * WIDTH },
      (_, i) => column[Math.floor(i / WIDTH)] + row[i % WIDTH],
    );
    const whole = await run(bytes, { features: floats(features, ROWS, WIDTH) });
    const resident = await run(residentForm(bytes, ROWS, WIDTH), { row: floats(row, 1, WIDTH) });
    const mean = whole.probabilities.reduce((sum, p) => sum + p, 0) / whole.probabilities.length;
    expect(Object.keys(resident)).toEqual(['mean']);
    expect(resident.mean[0]).toBeCloseTo(mean, 5);
  });

  it('keeps the numbers of a chain of products in range', async () => {
    for (const precision of ['fp32', 'fp16'] as const) {
      const { mean } = await run(peakGraph(64, 10, precision), {
        row: floats(randomNumbers(64, 'row', 1), 1, 64),
      });
      expect(Math.abs(mean[0])).toBeLessThan(100);
    }
  });
});

describe('retrieval of the GPU benchmark', () => {
  it('finds the true nearest over several chunks, the last of them short', async () => {
    const plan = {
      provider: 'cpu',
      rounds: 1,
      posts: [700],
      precisions: ['fp32'],
      queries: 3,
      k: 40,
    } as const;
    const [result] = await measureRetrieval({ ...plan, chunkPosts: 300, cpuPosts: 700 }, () => {});
    expect(result.runs).toMatchObject([{ chunks: 3, recall: 1, posts: 700 }]);
    expect(result.cpu?.recall).toBeGreaterThan(0.98);
  });
});

describe('tables of the GPU benchmark', () => {
  const report = (real: boolean): GpuReport => ({
    machine: { cpu: 'a CPU', cores: 2, memoryGiB: 8, node: 'v24', platform: 'linux-x64' },
    at: '2026-01-02T03:04:05Z',
    provider: 'cuda',
    device: { name: 'a device', real },
    small: false,
    options: { rounds: 3, rows: 1000, width: 130, tablePosts: 10, deadlineMs: 100, seconds: 1 },
    peaks: [
      { precision: 'fp32', size: 8192, ms: 2, tflops: 550 },
      { precision: 'fp16', refused: 'no float16' },
    ],
    emptyMs: 0.1,
    networks: [],
    service: [],
    retrieval: [],
  });

  it('go onto the page from a real device only, with what it refused', () => {
    expect(gpuSection(report(true))).toContain('| fp32 | 8192 | 2 | 550 |');
    expect(gpuSection(report(true))).toContain('- fp16 refused: no float16');
    expect(gpuSection(report(false))).toBe('');
    expect(gpuSection({ ...report(true), small: true })).toBe('');
    expect(gpuSection(undefined)).toBe('');
  });

  it('say on the terminal when they are no figures of a GPU', () => {
    expect(printGpu(report(true))).not.toContain('No figures of a GPU');
    expect(printGpu(report(false))).toContain('No figures of a GPU');
  });
});
