// What a training did as one HTML file: loss and metric curves, the comparison of architectures, calibration by head; no
// script, nothing from outside. Called by scripts/train.ts.
import { REPORT_STYLE } from '../load-test/report-style.ts';
import { escapeHtml, type Plot, type Series, svgPlot } from '../load-test/svg-plot.ts';
import type { Comparison, RankerFigures } from './train-ranker.ts';
import type { TowerFigures } from './train-towers.ts';

export interface TrainingCurves {
  /** [step, mean training loss since the point before]. */
  loss: [number, number][];
  /** What was measured on the validation rows after each epoch. */
  epochs: ({ epoch: number; step: number } & Record<string, unknown>)[];
  best_epoch: number;
  stopped_early: boolean;
  seconds: number;
  /** Steps at which a killed run went on. */
  resumed_at: number[];
}

interface HeadFigures {
  auc?: number | null;
  logLoss?: number;
  ece?: number;
  ndcg10?: number | null;
  rate: number;
}

export interface ArchitectureFigures {
  test: Record<string, HeadFigures>;
  meanAuc: number;
  valueNdcg10: number | null;
  msPer1000Rows: number;
  parameters: number;
  validationAuc?: number;
  withinBudget?: boolean;
}

export interface TrainingReport {
  what: string;
  data: string;
  seed: number;
  startedAt: string;
  seconds: number;
  registered: { name: string; version: string; promoted: boolean; reason: string }[];
  towers?: TowerFigures;
  ranker?: RankerFigures;
}

/** Lines of one plot; svg-plot.ts has as many colours. */
const COLOURS = 5;

export function trainingReport(report: TrainingReport): string {
  const { towers, ranker, registered } = report;
  const served = registered
    .map(
      ({ name, version, promoted, reason }) =>
        `${name}@${version} ${promoted ? 'serves' : 'kept'}: ${reason}`,
    )
    .map((line) => `<li>${escapeHtml(line)}</li>`);
  const all = [...Object.values(towers?.curves ?? {}), ...Object.values(ranker?.curves ?? {})];
  const resumed = all.flatMap(({ resumed_at }) => resumed_at);
  const facts: [string, string][] = [
    ['Trained', `${report.what} on ${report.data}, seed ${report.seed}`],
    ['Time', `${report.seconds.toFixed(0)} s from ${report.startedAt}`],
    ['Interrupted', resumed.length === 0 ? 'no' : `went on from step ${resumed.join(', ')}`],
  ];
  const body = [
    `<table class="facts">${facts.map(([name, text]) => `<tr><th>${name}</th><td>${escapeHtml(text)}</td></tr>`).join('')}</table>`,
    `<ul>${served.join('')}</ul>`,
    ...(towers ? towerPart(towers) : []),
    ...(ranker ? rankerPart(ranker) : []),
  ];
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Training ${escapeHtml(report.startedAt)}</title>
<style>${REPORT_STYLE}</style></head>
<body>
<h1>Training</h1>
${body.join('\n')}
</body></html>
`;
}

function towerPart({ curves, comparison }: TowerFigures): string[] {
  return [
    '<h2>Towers</h2>',
    ...curvePlots(curves, [['recall100', 'recall@100']]),
    comparisonLine(comparison),
  ];
}

function rankerPart({ curves, architectures, chosen, figures }: RankerFigures): string[] {
  const shipped = Object.entries(figures).flatMap(([name, { comparison }]) => [
    `<h3>${escapeHtml(name)}</h3>`,
    comparisonLine(comparison),
    headTable(architectures[name] ?? architectures[chosen]),
  ]);
  return [
    '<h2>Ranker</h2>',
    ...curvePlots(curves, [
      ['auc', 'mean AUC of the heads'],
      ['logLoss', 'mean log loss of the heads'],
    ]),
    `<h3>Architectures on the same rows, the last of the time</h3>${architectureTable(architectures, chosen)}`,
    ...shipped,
  ];
}

function curvePlots(
  curves: Record<string, TrainingCurves>,
  metrics: [key: string, label: string][],
): string[] {
  const names = Object.keys(curves);
  const groups = Array.from({ length: Math.ceil(names.length / COLOURS) }, (_, i) =>
    names.slice(i * COLOURS, (i + 1) * COLOURS),
  );
  return groups.flatMap((group) => {
    const plots = [
      plot(
        'Training loss',
        'step',
        'loss',
        group.map((name, style) => ({ name, style, points: curves[name].loss })),
      ),
      ...metrics.map(([key, label]) =>
        plot(
          `Validation: ${label}`,
          'epoch',
          label,
          group.map((name, style) => ({ name, style, points: byEpoch(curves[name], key) })),
        ),
      ),
    ];
    const stops = group.map((name) => {
      const { best_epoch, stopped_early, epochs, seconds } = curves[name];
      const end = stopped_early ? `stopped early after ${epochs.length}` : `${epochs.length} epochs`;
      return `<li>${escapeHtml(`${name}: ${end}, best ${best_epoch}, ${seconds} s`)}</li>`;
    });
    return [...plots.map((one) => `<figure>${svgPlot(one)}</figure>`), `<ul>${stops.join('')}</ul>`];
  });
}

function byEpoch({ epochs }: TrainingCurves, key: string): [number, number | null][] {
  return epochs.map((epoch) => [epoch.epoch, typeof epoch[key] === 'number' ? epoch[key] : null]);
}

/** The axis is as narrow as the data: what counts are differences. */
function plot(title: string, x: string, y: string, series: Series[]): Plot {
  const values = series.flatMap(({ points }) =>
    points.flatMap(([, value]) => (value === null ? [] : [value])),
  );
  const low = Math.min(...values);
  const high = Math.max(...values);
  const margin = (high - low) * 0.05 || 0.01;
  const from = values.length > 0 ? low - margin : undefined;
  const to = values.length > 0 ? high + margin : undefined;
  const steps = series.flatMap(({ points }) => points.map(([at]) => at));
  const first = Math.min(...steps);
  const whole = [...new Set(steps)].map((at) => ({ at, text: String(at) }));
  return {
    title,
    x: {
      label: x,
      from: Number.isFinite(first) ? first : undefined,
      ticks: x === 'epoch' ? whole : undefined,
    },
    y: { label: y, from, to },
    series,
  };
}

export function comparisonText(comparison: Comparison | null): string {
  if (comparison === null || comparison.against === null) return 'none served before';
  const { against, worse, reason, candidate, incumbent, rows } = comparison;
  if (reason !== undefined) return `against ${against}: ${reason}`;
  const figures = `${JSON.stringify(candidate)} against ${JSON.stringify(incumbent)} of ${against} on ${rows} rows`;
  return `${figures.replaceAll('"', '')}: ${worse ? 'worse' : 'not worse'}`;
}

function comparisonLine(comparison: Comparison | null): string {
  return `<p class="${comparison?.worse ? 'bad' : 'good'}">${escapeHtml(comparisonText(comparison))}</p>`;
}

function architectureTable(architectures: Record<string, ArchitectureFigures>, chosen: string): string {
  const heads = Object.keys(Object.values(architectures)[0]?.test ?? {});
  const names = [
    'model',
    'mean AUC',
    ...heads.map((head) => `${head} AUC`),
    'NDCG@10 of value',
    'log loss',
    'largest ECE',
    'ms / 1000 rows',
    'parameters',
  ];
  const rows = Object.entries(architectures).map(([name, figures]) => {
    const trained = Object.values(figures.test).filter(({ logLoss }) => logLoss !== undefined);
    const losses = trained.map(({ logLoss }) => logLoss ?? 0);
    const cells = [
      name === chosen ? `${name} (shipped)` : name,
      number(figures.meanAuc),
      ...heads.map((head) => number(figures.test[head].auc)),
      number(figures.valueNdcg10),
      number(losses.reduce((sum, loss) => sum + loss, 0) / Math.max(1, losses.length)),
      number(Math.max(...trained.map(({ ece }) => ece ?? 0))),
      `${figures.msPer1000Rows}${figures.withinBudget === false ? ' (over the budget)' : ''}`,
      figures.parameters.toLocaleString('en'),
    ];
    return `<tr>${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`;
  });
  const note = '<p>ms on one core in ONNX Runtime; of LightGBM the parameters are its trees.</p>';
  return `<div class="wide"><table><tr>${names.map((name) => `<th>${name}</th>`).join('')}</tr>${rows.join('')}</table></div>${note}`;
}

function headTable({ test }: ArchitectureFigures): string {
  const rows = Object.entries(test).map(([head, figures]) => {
    const cells = [
      head,
      number(figures.rate),
      ...[figures.auc, figures.ndcg10, figures.logLoss, figures.ece].map(number),
    ];
    return `<tr>${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`;
  });
  const names = ['head', 'rate', 'AUC', 'NDCG@10', 'log loss', 'ECE'];
  return `<table><tr>${names.map((name) => `<th>${name}</th>`).join('')}</tr>${rows.join('')}</table>`;
}

function number(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : value.toFixed(4);
}
