// What the device does with a ranker alone, without the service around it: matrix peak, transfer, device time and
// end-to-end time of each network and number of requests, with features uploaded and with posts kept on the device.
import type { InferenceSession } from 'onnxruntime-node';
import type { Provider } from '../../src/ranking/onnx-session.ts';
import {
  gatheredForm,
  type Network,
  type Precision,
  peakGraph,
  randomNumbers,
  rankerGraph,
  residentForm,
  uploadGraph,
} from './gpu-graphs.ts';
import { floats, integers, isRefused, type Refused, rounded, timeRun, withSession } from './gpu-runs.ts';

export interface KernelPlan {
  provider: Provider;
  small: boolean;
  rounds: number;
  networks: readonly Network[];
  precisions: readonly Precision[];
  /** Requests of a batch. */
  requests: readonly number[];
  /** Candidates of a request, and columns of a candidate. */
  rows: number;
  width: number;
  /** Posts of the table on the device. */
  tablePosts: number;
  peakSize: number;
}

export interface Peak {
  precision: Precision;
  size: number;
  /** Of one matrix product. */
  ms: number;
  tflops: number;
}

export interface KernelRun {
  requests: number;
  rows: number;
  /** Features in memory → probabilities in memory. */
  endToEndMs: number;
  /** Features made on the device, one number back, less what an empty graph takes. */
  deviceMs: number;
  /** The rest: upload, download and the way through the runtime. */
  transferMs: number;
  /** A graph that only uploads the features. */
  uploadMs: number;
  rowsPerSecond: number;
  /** Of the matrix peak at the same precision, in device time; null where that was refused. */
  shareOfPeak: number | null;
  /** Row numbers and user state in memory → probabilities in memory. */
  gathered: { endToEndMs: number; uploadBytes: number; largestDifference: number } | Refused;
  uploadBytes: number;
}

export interface KernelResult {
  network: Network;
  precision: Precision;
  parameters: number;
  mflopsPerRow: number;
  runs: KernelRun[];
}

type Refusal = Refused & { network: Network; precision: Precision };

const SHORT = 2;
const LONG = 10;
/** Columns of the features that a table on the device can hold: the post's own vector's. */
const POST_COLUMNS = 64;

/** Time of a product, from chains of two lengths: what both have in common is not counted. */
export async function measurePeak(plan: KernelPlan, precision: Precision): Promise<Peak | Refused> {
  const { provider, peakSize: size, rounds } = plan;
  const times: number[] = [];
  for (const products of [SHORT, LONG]) {
    const feeds = { row: floats(randomNumbers(size, 'row', 1), 1, size) };
    const bytes = peakGraph(size, products, precision);
    const found = await withSession(bytes, 'a matrix product', provider, async (session) => ({
      ms: await timeRun(session, feeds, rounds),
    }));
    if (isRefused(found)) return found;
    times.push(found.ms);
  }
  const ms = (times[1] - times[0]) / (LONG - SHORT);
  if (!(ms > 0)) return { refused: 'ten products took no longer than two: choose a larger --peak-size' };
  return { precision, size, ms: rounded(ms), tflops: rounded((2 * size ** 3) / ms / 1e9) };
}

/** Milliseconds of a graph with nothing in it but what every resident form has: the runtime's own cost of a run. */
export async function measureEmpty(plan: KernelPlan): Promise<number> {
  const found = await withSession(
    uploadGraph(plan.width),
    'an empty graph',
    plan.provider,
    async (session) => ({
      ms: await timeRun(session, { features: features(1, plan.width) }, plan.rounds),
    }),
  );
  if (isRefused(found)) throw new Error(found.refused);
  return found.ms;
}

export async function measureNetwork(
  plan: KernelPlan,
  network: Network,
  precision: Precision,
  { emptyMs, peak }: { emptyMs: number; peak: Peak | undefined },
  progress: (line: string) => void,
): Promise<KernelResult | Refusal> {
  const { provider, width, rounds } = plan;
  const { bytes, parameters, flopsPerRow } = rankerGraph(network, width, precision, plan.small);
  const name = `${network} ${precision}`;
  const runs: KernelRun[] = [];
  for (const requests of plan.requests) {
    const rows = requests * plan.rows;
    progress(`${name}: ${requests} × ${plan.rows} rows`);
    const row = floats(randomNumbers(width, 'row', 1), 1, width);
    const device = await withSession(residentForm(bytes, rows, width), name, provider, async (session) => ({
      ms: await timeRun(session, { row }, rounds),
    }));
    if (isRefused(device)) return { network, precision, ...device };
    const upload = await withSession(uploadGraph(width), name, provider, async (session) => ({
      ms: await timeRun(session, { features: features(rows, width) }, rounds),
    }));
    if (isRefused(upload)) return { network, precision, ...upload };
    const whole = await withSession(bytes, name, provider, async (session) => ({
      ms: await timeRun(session, { features: features(rows, width) }, rounds),
      gathered: await measureGathered(plan, session, bytes, name, requests),
    }));
    if (isRefused(whole)) return { network, precision, ...whole };
    const deviceMs = Math.max(device.ms - emptyMs, 0);
    runs.push({
      requests,
      rows,
      endToEndMs: rounded(whole.ms),
      deviceMs: rounded(deviceMs),
      transferMs: rounded(Math.max(whole.ms - deviceMs, 0)),
      uploadMs: rounded(upload.ms),
      rowsPerSecond: Math.round((rows / whole.ms) * 1000),
      shareOfPeak:
        peak && deviceMs > 0 ? rounded((flopsPerRow * rows) / deviceMs / 1e9 / peak.tflops, 3) : null,
      gathered: whole.gathered,
      uploadBytes: rows * width * 4,
    });
  }
  return { network, precision, parameters, mflopsPerRow: rounded(flopsPerRow / 1e6), runs };
}

/** The same network with the posts' columns on the device, timed, and compared with the features uploaded whole. */
async function measureGathered(
  plan: KernelPlan,
  whole: InferenceSession,
  bytes: Uint8Array,
  name: string,
  requests: number,
): Promise<KernelRun['gathered']> {
  const { width, tablePosts, rows: each, rounds, provider } = plan;
  const rows = requests * each;
  const userColumns = width - POST_COLUMNS;
  const posts = randomNumbers(tablePosts * POST_COLUMNS, 'posts', 1);
  const user = randomNumbers(requests * userColumns, 'user', 1);
  const request = Int32Array.from({ length: rows }, (_, i) => Math.floor(i / each));
  const post = Int32Array.from({ length: rows }, (_, i) => (i * 7919) % tablePosts);
  const feeds = {
    user: floats(user, requests, userColumns),
    request: integers(request),
    post: integers(post),
  };
  const table = { rows: tablePosts, columns: POST_COLUMNS, data: posts };
  return withSession(gatheredForm(bytes, width, table), name, provider, async (session) => {
    const endToEndMs = rounded(await timeRun(session, feeds, rounds));
    const joined = new Float32Array(rows * width);
    for (let i = 0; i < rows; i++) {
      const state = user.subarray(request[i] * userColumns, (request[i] + 1) * userColumns);
      joined.set(state, i * width);
      joined.set(
        posts.subarray(post[i] * POST_COLUMNS, (post[i] + 1) * POST_COLUMNS),
        i * width + userColumns,
      );
    }
    const expected = (await whole.run({ features: floats(joined, rows, width) })).probabilities
      .data as Float32Array;
    const got = (await session.run(feeds)).probabilities.data as Float32Array;
    const largest = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - got[i])), 0);
    return {
      endToEndMs,
      uploadBytes: user.byteLength + request.byteLength + post.byteLength,
      largestDifference: rounded(largest, 2),
    };
  });
}

function features(rows: number, width: number) {
  return floats(randomNumbers(rows * width, 'features', 1), rows, width);
}
