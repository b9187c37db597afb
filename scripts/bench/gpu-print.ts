// The GPU benchmark's tables, as Markdown: on the terminal, and on the performance page where the device is real.
import type { GpuReport } from './gpu.ts';
import { isRefused } from './gpu-runs.ts';

export function printGpu(report: GpuReport): string {
  const { provider, device, small, machine } = report;
  const real = device.real && !small;
  const note = real ? '' : '\n\nNo figures of a GPU: this proves that the path works, and nothing else.';
  return `${provider} on ${device.name}; ${machine.cpu}, ${machine.cores} cores, Node ${machine.node}${note}\n${tables(report)}`;
}

/** A section of docs/PERFORMANCE.md; empty for what no GPU has measured. */
export function gpuSection(report: GpuReport | undefined): string {
  if (!report?.device.real || report.small) return '';
  const { at, provider, device, machine, options } = report;
  return `## On a GPU

Written by \`npm run bench -- gpu\` on ${at.slice(0, 10)}: ${device.name} by the ${provider} provider, ${machine.cpu},
${machine.cores} cores. Medians of ${options.rounds} runs; networks with seeded weights over ${options.width} columns;
docs/GPU.md says what each table means.
${tables(report)}
`;
}

function tables({ peaks, networks, service, retrieval, emptyMs }: GpuReport): string {
  const parts: string[] = [];
  if (peaks.length > 0) parts.push(peakTable(peaks));
  if (networks.length > 0) parts.push(networkTable(networks, emptyMs));
  if (service.length > 0) parts.push(serviceTable(service));
  if (retrieval.length > 0) parts.push(retrievalTable(retrieval));
  return parts.map((part) => `\n${part}\n`).join('');
}

function table(
  title: string,
  columns: readonly string[],
  rows: readonly (readonly unknown[])[],
  refused: string[],
) {
  const line = (cells: readonly unknown[]) => `| ${cells.join(' | ')} |`;
  const body =
    rows.length === 0 ? [] : ['', line(columns), `|${'---|'.repeat(columns.length)}`, ...rows.map(line)];
  return [`**${title}**`, ...body, ...(refused.length > 0 ? ['', ...refused] : [])].join('\n');
}

function peakTable(peaks: GpuReport['peaks']): string {
  const rows = peaks.flatMap((one) =>
    isRefused(one) ? [] : [[one.precision, one.size, one.ms, one.tflops]],
  );
  const refused = peaks.flatMap((one) =>
    isRefused(one) ? [`- ${one.precision} refused: ${one.refused}`] : [],
  );
  return table('Matrix peak', ['precision', 'n × n', 'ms a product', 'TFLOP/s'], rows, refused);
}

function networkTable(networks: GpuReport['networks'], emptyMs: number): string {
  const rows = networks.flatMap((one) =>
    isRefused(one)
      ? []
      : one.runs.map((run) => [
          `${one.network} ${one.precision}`,
          run.requests,
          run.endToEndMs,
          run.deviceMs,
          run.transferMs,
          run.uploadMs,
          run.rowsPerSecond.toLocaleString('en'),
          run.shareOfPeak === null ? '' : percent(run.shareOfPeak),
          isRefused(run.gathered) ? 'refused' : run.gathered.endToEndMs,
        ]),
  );
  const refused = networks.flatMap((one) => {
    if (isRefused(one)) return [`- ${one.network} ${one.precision} refused: ${one.refused}`];
    const gathered = one.runs.map((run) => run.gathered).find(isRefused);
    return gathered
      ? [`- ${one.network} ${one.precision}, posts on the device, refused: ${gathered.refused}`]
      : [];
  });
  const columns = [
    'network',
    'requests',
    'end to end ms',
    'device ms',
    'transfer ms',
    'upload alone ms',
    'rows/s',
    'of peak',
    'posts on the device, ms',
  ];
  return table(`Networks (an empty graph takes ${emptyMs} ms)`, columns, rows, refused);
}

function serviceTable(service: GpuReport['service']): string {
  const rows = service.flatMap((one) =>
    isRefused(one)
      ? []
      : [
          [
            `${one.network} ${one.precision}`,
            one.feeders,
            one.requestsPerSecond,
            one.latencyMs.p50,
            one.latencyMs.p99,
            one.requestsPerBatch,
            one.batchMs.p50,
            percent(one.deviceBusy),
            percent(one.padding),
            one.late,
            one.failed,
          ],
        ],
  );
  const refused = service.flatMap((one) =>
    isRefused(one) ? [`- ${one.network} ${one.precision} refused: ${one.refused}`] : [],
  );
  const columns = [
    'network',
    'feed workers',
    'requests/s',
    'p50 ms',
    'p99 ms',
    'requests a batch',
    'batch ms',
    'device busy',
    'padding',
    'late',
    'failed',
  ];
  return table('Through the service’s batcher, closed loop', columns, rows, refused);
}

function retrievalTable(retrieval: GpuReport['retrieval']): string {
  const rows = retrieval.flatMap(({ posts, runs, cpu }) => [
    ...runs.flatMap((run) =>
      isRefused(run)
        ? []
        : [
            [
              posts.toLocaleString('en'),
              `device, ${run.precision}`,
              run.queries,
              run.batchMs,
              run.msPerQuery,
              run.queriesPerSecond,
              run.recall,
            ],
          ],
    ),
    ...(cpu
      ? [[posts.toLocaleString('en'), 'CPU, exact index, one thread', 1, '', cpu.msPerQuery, '', cpu.recall]]
      : []),
  ]);
  const refused = retrieval.flatMap(({ posts, runs }) =>
    runs.flatMap((run) =>
      isRefused(run) ? [`- ${posts} posts, ${run.precision} refused: ${run.refused}`] : [],
    ),
  );
  const columns = ['posts', 'by', 'queries a batch', 'batch ms', 'ms a query', 'queries/s', 'recall'];
  return table('Retrieval by exact scan', columns, rows, refused);
}

function percent(share: number): string {
  return `${Number((share * 100).toPrecision(3))} %`;
}
