// Holds the dashboard and the alert rules against the metrics that the code really emits: names, kinds and labels. The
// code is read as text, so that roles that this test does not start count too; what it does start checks the reading.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { collectDefaultMetrics, type Metric, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { createTelemetry } from '../../src/telemetry.ts';
import { downBackends, openWorld } from './api/world.ts';

interface EmittedMetric {
  kind: 'Counter' | 'Gauge' | 'Histogram';
  labels: string[];
}

const FOLDER = 'config/observability';
/** Prometheus puts these on whatever it scrapes. */
const TARGET_LABELS = ['instance', 'job'];

function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(folder, file));
}

/** Metrics as the source declares them: `new Kind({ name: '…', labelNames: […] })`, or by a local `figure('…')`. */
function metricsInCode(): Map<string, EmittedMetric> {
  const metrics = new Map<string, EmittedMetric>();
  for (const file of sourceFiles('src')) {
    const text = readFileSync(file, 'utf8');
    for (const match of text.matchAll(/name: '(feedrank_\w+)'/g)) {
      const kind = [...text.slice(0, match.index).matchAll(/new (Counter|Gauge|Histogram)\b/g)].at(-1)?.[1];
      const rest = text.slice(match.index);
      const labels = /labelNames: \[([^\]]*)\]/.exec(rest.slice(0, rest.search(/\n\s*\}\)/)))?.[1] ?? '';
      metrics.set(match[1], {
        kind: kind as EmittedMetric['kind'],
        labels: [...labels.matchAll(/'(\w+)'/g)].map(([, label]) => label),
      });
    }
    for (const [, name] of text.matchAll(/\bfigure\(\s*'(feedrank_\w+)'/g))
      metrics.set(name, { kind: 'Gauge', labels: [] });
  }
  return metrics;
}

/** What can be asked for in a query, with its labels: a histogram stands for its three series. */
function seriesOf(metrics: Map<string, EmittedMetric>): Map<string, string[]> {
  const series = new Map<string, string[]>();
  for (const [name, { kind, labels }] of metrics) {
    if (kind !== 'Histogram') series.set(name, labels);
    else {
      series.set(`${name}_bucket`, [...labels, 'le']);
      series.set(`${name}_sum`, labels);
      series.set(`${name}_count`, labels);
    }
  }
  const defaults = new Registry();
  collectDefaultMetrics({ register: defaults });
  for (const metric of defaults.getMetricsAsArray() as unknown as (Metric & Declared)[])
    series.set(metric.name, [...metric.labelNames]);
  return series;
}

interface Declared {
  name: string;
  labelNames: readonly string[];
}

interface Query {
  where: string;
  expr: string;
  /** Labels that its texts use. */
  texts: string[];
}

interface Panel {
  title: string;
  targets?: { expr: string; legendFormat: string }[];
}

const dashboard = JSON.parse(readFileSync(join(FOLDER, 'grafana-dashboard.json'), 'utf8')) as {
  panels: Panel[];
};

function queriesOfDashboard(): Query[] {
  return dashboard.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr, legendFormat }) => ({
      where: `panel '${title}'`,
      expr,
      texts: [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label),
    })),
  );
}

function queriesOfAlerts(): Query[] {
  const text = readFileSync(join(FOLDER, 'alerts.yaml'), 'utf8');
  return text
    .split(/^ +- alert: /m)
    .slice(1)
    .map((rule) => ({
      where: `alert ${rule.split('\n')[0]}`,
      expr: quoted(rule, 'expr'),
      texts: [...rule.matchAll(/\$labels\.(\w+)/g)].map(([, label]) => label),
    }));
}

/** The value of a key of a rule: one line in quotes, which do not come up inside it. */
function quoted(rule: string, key: string): string {
  const value = new RegExp(`^ +${key}: (?:"([^"\n]+)"|'([^'\n]+)')$`, 'm').exec(rule);
  return value?.[1] ?? value?.[2] ?? '';
}

/** What is wrong with a query, in words; empty = nothing. */
function problemsOf({ where, expr, texts }: Query, series: Map<string, string[]>): string[] {
  const problems: string[] = [];
  const known = new Set(TARGET_LABELS);
  const used = [...expr.matchAll(/\b((?:feedrank|nodejs|process)_\w+)(?:\{([^}]*)\})?/g)];
  if (used.length === 0) problems.push(`${where}: asks for no metric: ${expr}`);
  for (const [, name, selector = ''] of used) {
    const labels = series.get(name);
    if (!labels) {
      problems.push(`${where}: nothing emits ${name}`);
      continue;
    }
    for (const label of labels) known.add(label);
    for (const [, label] of selector.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)) {
      if (![...labels, ...TARGET_LABELS].includes(label))
        problems.push(`${where}: ${name} has no label ${label}`);
    }
  }
  const grouped = [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list]) => list.split(/,\s*/));
  for (const label of [...grouped, ...texts]) {
    if (!known.has(label)) problems.push(`${where}: no metric of it has a label ${label}`);
  }
  // A text may only use what the aggregation leaves.
  if (grouped.length > 0 && !/ or /.test(expr)) {
    for (const label of texts)
      if (!grouped.includes(label)) problems.push(`${where}: ${label} is summed away`);
  } else if (/^\s*(sum|histogram_quantile)\(/.test(expr) && texts.length > 0) {
    problems.push(`${where}: ${texts.join(', ')} is summed away`);
  }
  return problems;
}

describe('the metrics', () => {
  it('are read from the code as the code declares them', async () => {
    const inCode = metricsInCode();
    expect(inCode.size).toBeGreaterThan(30);
    const telemetry = createTelemetry();
    telemetry.watchReadiness(() => ({ ready: true, degraded: [], models: { ranker: 'ranker@1' } }));
    telemetry.watchPool(() => 0);
    const world = await openWorld(downBackends(), { context: { metrics: { registry: telemetry.registry } } });
    await world.app.inject('/feed/u1');
    const emitted = telemetry.registry.getMetricsAsArray() as unknown as Declared[];
    const own = emitted.filter(({ name }) => name.startsWith('feedrank_'));
    expect(own.length).toBeGreaterThan(20);
    for (const { name, labelNames } of own) expect(inCode.get(name)?.labels, name).toEqual([...labelNames]);
    const scraped = (await world.app.inject('/metrics')).body;
    for (const { name } of own) expect(scraped).toContain(`# TYPE ${name} `);
    await world.close();
  });

  it('are named by Prometheus’s rules', () => {
    for (const [name, { kind }] of metricsInCode()) {
      expect(name.endsWith('_total'), name).toBe(kind === 'Counter');
      expect(name, name).not.toMatch(/_(count|sum|bucket)$/);
    }
  });
});

describe.each([
  ['the dashboard', queriesOfDashboard(), 40],
  ['the alert rules', queriesOfAlerts(), 15],
] as const)('%s', (_, queries, atLeast) => {
  it('asks only for what the code emits, by labels that it has', () => {
    expect(queries.length).toBeGreaterThan(atLeast);
    const series = seriesOf(metricsInCode());
    expect(queries.flatMap((query) => problemsOf(query, series))).toEqual([]);
  });
});

describe('the check itself', () => {
  const series = seriesOf(metricsInCode());
  it.each([
    ['feedrank_no_such_metric', []],
    ['feedrank_ready{color="red"}', []],
    ['sum by (color) (feedrank_ready)', []],
    ['feedrank_stage_seconds', []],
    ['feedrank_ready', ['color']],
    ['sum by (stage) (rate(feedrank_stage_seconds_count[5m]))', ['outcome']],
    ['up == 0', []],
  ])('finds fault with %s %j', (expr, texts) => {
    expect(problemsOf({ where: 'here', expr, texts: [...texts] }, series)).toHaveLength(1);
  });
});

describe('the alert rules', () => {
  it('say how urgent they are and what to do', () => {
    const text = readFileSync(join(FOLDER, 'alerts.yaml'), 'utf8');
    for (const rule of text.split(/^ +- alert: /m).slice(1)) {
      const [name] = rule.split('\n');
      expect(rule, name).toMatch(/severity: (page|ticket) \}/);
      for (const key of ['expr', 'summary', 'description'])
        expect(quoted(rule, key), `${name} ${key}`).not.toBe('');
    }
  });
});
