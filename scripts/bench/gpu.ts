// `npm run bench -- gpu`, or `node scripts/bench/gpu.ts` on a bare machine: what a device does with ranking and
// retrieval. Needs node, onnxruntime-node and zod; writes its own models, asks no network. docs/GPU.md explains it.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { FULL_WIDTH } from '../../src/features/feature-schema.ts';
import type { Provider } from '../../src/ranking/onnx-session.ts';
import { type BenchDevice, benchDevice } from './gpu-device.ts';
import type { Network, Precision } from './gpu-graphs.ts';
import {
  type KernelPlan,
  type KernelResult,
  measureEmpty,
  measureNetwork,
  measurePeak,
  type Peak,
} from './gpu-kernels.ts';
import { printGpu } from './gpu-print.ts';
import { measureRetrieval, type RetrievalPlan, type RetrievalResult } from './gpu-retrieval.ts';
import { isRefused, type Refused, rounded } from './gpu-runs.ts';
import { measureService, type ServicePlan, type ServiceRun } from './gpu-service.ts';
import { type Machine, machine } from './machine.ts';
import type { BenchReport } from './report.ts';

export interface GpuReport {
  machine: Machine;
  at: string;
  provider: Provider;
  device: BenchDevice;
  /** True: sizes of a proof, not of a measurement. */
  small: boolean;
  options: {
    rounds: number;
    rows: number;
    width: number;
    tablePosts: number;
    deadlineMs: number;
    seconds: number;
  };
  peaks: (Peak | (Refused & { precision: Precision }))[];
  /** A graph that uploads one row and gives one number back. */
  emptyMs: number;
  networks: (KernelResult | (Refused & { network: Network; precision: Precision }))[];
  service: (ServiceRun | (Refused & { network: Network; precision: Precision }))[];
  retrieval: RetrievalResult[];
}

const HELP = `usage: npm run bench -- gpu [flags]
       node scripts/bench/gpu.ts [flags]

  peak       matrix products of --peak-size: the device's peak, float32 (TF32 where the device does so) and float16
  networks   light, DCN and heavy ranker at each number of requests: end to end, device time, transfer, share of peak;
             features uploaded, and posts kept on the device and gathered by row
  service    the same through the service's device worker and batcher, feed workers in a closed loop
  retrieval  exact scan of all posts on the device, beside the service's exact index on the CPU

  --provider P       cuda, webgpu or cpu (default cuda)
  --only A,B         some of peak, networks, service, retrieval
  --small            sizes that prove the path on an adapter in software; no measurement
  --networks A,B     of light, dcn, heavy (default all)
  --precisions A,B   of fp32, fp16 (default both)
  --requests N,N     requests of a batch (default 1,4,16,64)
  --rows N           candidates of a request (default 1000)
  --rounds N         runs whose median counts (default 15)
  --peak-size N      matrices of N × N (default 8192)
  --table-posts N    posts of the table on the device (default 1000000)
  --feeders N,N      feed workers in a closed loop (default 1,4,16,64)
  --seconds N        length of each load (default 5)
  --deadline-ms N    time a request has on the device (default 100)
  --posts N,N        posts of a retrieval (default 1000000,10000000)
  --queries N        queries of a batch (default 64)
  --k N              posts retrieved (default 1000)
  --chunk-posts N    posts of one matrix product (default 1000000)
  --cpu-posts N      largest retrieval whose CPU index is measured too (default 1000000)
  --json FILE        write every figure
  --help

What a provider refuses is written down with its reason, and the rest goes on.`;

const PARTS = ['peak', 'networks', 'service', 'retrieval'] as const;
const NETWORKS = ['light', 'dcn', 'heavy'] as const;
const PRECISIONS = ['fp32', 'fp16'] as const;
const PROVIDERS = ['cuda', 'webgpu', 'cpu'] as const;

/** What `--small` puts in the place of the defaults. */
const SMALL = {
  requests: '1,2',
  rows: '32',
  rounds: '3',
  'peak-size': '128',
  'table-posts': '1000',
  feeders: '1,2',
  seconds: '1',
  'deadline-ms': '2000',
  posts: '3000',
  queries: '4',
  k: '50',
  'chunk-posts': '1000',
  'cpu-posts': '3000',
};
const DEFAULTS: Record<keyof typeof SMALL, string> = {
  requests: '1,4,16,64',
  rows: '1000',
  rounds: '15',
  'peak-size': '8192',
  'table-posts': '1000000',
  feeders: '1,4,16,64',
  seconds: '5',
  'deadline-ms': '100',
  posts: '1000000,10000000',
  queries: '64',
  k: '1000',
  'chunk-posts': '1000000',
  'cpu-posts': '1000000',
};

interface Plan {
  parts: readonly (typeof PARTS)[number][];
  kernels: KernelPlan;
  service: ServicePlan;
  retrieval: RetrievalPlan;
  json: string | undefined;
}

function readPlan(argv: string[]): Plan | null {
  const { values } = parseArgs({
    args: argv,
    options: {
      ...(Object.fromEntries(Object.keys(SMALL).map((flag) => [flag, { type: 'string' }])) as Record<
        keyof typeof SMALL,
        { type: 'string' }
      >),
      provider: { type: 'string', default: 'cuda' },
      only: { type: 'string', default: PARTS.join() },
      networks: { type: 'string', default: NETWORKS.join() },
      precisions: { type: 'string', default: PRECISIONS.join() },
      small: { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  const { small } = values;
  const text = (flag: keyof typeof SMALL) => values[flag] ?? (small ? SMALL : DEFAULTS)[flag];
  const whole = (flag: keyof typeof SMALL, most: number) => wholes(flag, text(flag), most, 1)[0];
  const many = (flag: keyof typeof SMALL, most: number) => wholes(flag, text(flag), most, 16);
  const provider = oneOf('provider', values.provider, PROVIDERS, 1)[0];
  const networks = oneOf('networks', values.networks, NETWORKS, 3);
  const precisions = oneOf('precisions', values.precisions, PRECISIONS, 2);
  const rows = whole('rows', 5000);
  const rounds = whole('rounds', 1000);
  const k = whole('k', 8192);
  const posts = many('posts', 100_000_000);
  const chunkPosts = whole('chunk-posts', 100_000_000);
  for (const size of [...posts, chunkPosts]) {
    if (size < k) throw new Error(`--k: ${k} of ${size} posts cannot be found`);
  }
  return {
    parts: oneOf('only', values.only, PARTS, PARTS.length),
    kernels: {
      provider,
      small,
      rounds,
      networks,
      precisions,
      requests: many('requests', 1024),
      rows,
      width: FULL_WIDTH,
      tablePosts: whole('table-posts', 100_000_000),
      peakSize: whole('peak-size', 32_768),
    },
    service: {
      provider,
      small,
      networks,
      precisions,
      rows,
      feeders: many('feeders', 512),
      seconds: whole('seconds', 3600),
      deadlineMs: whole('deadline-ms', 60_000),
    },
    retrieval: {
      provider,
      rounds,
      precisions,
      posts,
      queries: whole('queries', 4096),
      k,
      chunkPosts,
      cpuPosts: whole('cpu-posts', 100_000_000),
    },
    json: values.json,
  };
}

function wholes(flag: string, text: string, most: number, count: number): number[] {
  const values = text.split(',').map((one) => (one.trim() === '' ? Number.NaN : Number(one)));
  if (values.length <= count && values.every((n) => Number.isInteger(n) && n >= 1 && n <= most))
    return values;
  const what = count === 1 ? 'a whole number' : 'whole numbers';
  throw new Error(`--${flag}: expected ${what} from 1 to ${most}, got '${text}'`);
}

function oneOf<T extends string>(flag: string, text: string, known: readonly T[], count: number): T[] {
  const values = text.split(',') as T[];
  if (values.length <= count && values.every((value) => known.includes(value))) return values;
  throw new Error(
    `--${flag}: expected ${count === 1 ? 'one' : 'some'} of ${known.join(', ')}, got '${text}'`,
  );
}

async function measure({ parts, kernels, service, retrieval }: Plan): Promise<GpuReport> {
  const progress = (line: string) => console.error(`bench gpu: ${line}`);
  const { provider, small, rounds, rows, width, tablePosts } = kernels;
  const { deadlineMs, seconds } = service;
  const report: GpuReport = {
    machine: machine(),
    at: new Date().toISOString(),
    provider,
    device: benchDevice(provider),
    small,
    options: { rounds, rows, width, tablePosts, deadlineMs, seconds },
    peaks: [],
    emptyMs: 0,
    networks: [],
    service: [],
    retrieval: [],
  };
  progress(`${provider} on ${report.device.name}`);
  // A provider that runs nothing ends it here, by name; the figure is that of a device that is warm.
  await measureEmpty(kernels);
  const networks = parts.includes('networks');
  if (parts.includes('peak') || networks) {
    for (const precision of kernels.precisions) {
      progress(`peak, ${precision}`);
      const peak = await measurePeak(kernels, precision);
      report.peaks.push(isRefused(peak) ? { ...peak, precision } : peak);
    }
  }
  if (networks) {
    const emptyMs = await measureEmpty(kernels);
    report.emptyMs = rounded(emptyMs);
    for (const network of kernels.networks) {
      for (const precision of kernels.precisions) {
        const found = report.peaks.find((peak) => peak.precision === precision);
        const peak = found && !isRefused(found) ? found : undefined;
        report.networks.push(await measureNetwork(kernels, network, precision, { emptyMs, peak }, progress));
      }
    }
  }
  if (parts.includes('service')) report.service = await measureService(service, progress);
  if (parts.includes('retrieval')) report.retrieval = await measureRetrieval(retrieval, progress);
  return report;
}

/** As `bench -- page --from` joins it with the figures of other runs. */
function asBenchReport(gpu: GpuReport): BenchReport {
  const options = { sizes: [], users: 0, seed: 1, rounds: gpu.options.rounds, requests: 0 };
  return { machine: gpu.machine, at: gpu.at, options, comparisons: [], feeds: [], gpu };
}

/** @throws Error with one line: a flag that cannot be used, or a provider that cannot run anything. */
export async function benchGpu(argv: string[]): Promise<void> {
  const plan = readPlan(argv);
  if (plan === null) return console.log(HELP);
  const report = await measure(plan);
  console.log(printGpu(report));
  if (plan.json) writeFileSync(plan.json, `${JSON.stringify(asBenchReport(report), null, 2)}\n`);
}

if (import.meta.main) {
  try {
    await benchGpu(process.argv.slice(2));
  } catch (error) {
    console.error(`bench gpu: ${error instanceof Error ? error.message.split('\n')[0] : error}`);
    process.exitCode = 1;
  }
}
