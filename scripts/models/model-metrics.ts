// A manifest's figures in one flat list, so that versions can stand side by side.
import type { ModelManifest } from '../../src/features/model-artifact.ts';

/** What `list` shows of each kind, where a manifest has it. */
const KEY_METRICS: Record<ModelManifest['kind'], readonly [label: string, path: string][]> = {
  ranker: [
    ['click auc', 'test.click.auc'],
    ['like auc', 'test.like.auc'],
    ['click ece', 'test.click.ece'],
  ],
  'user-tower': [['next recall', 'nextRecall10Of1000.tower']],
  'post-tower': [['agreement', 'agreement10.tower']],
};

/** Numbers by dotted path; lists (curves of the training) are left out. */
export function flatNumbers(value: unknown, prefix = ''): Map<string, number> {
  const flat = new Map<string, number>();
  if (typeof value === 'number') flat.set(prefix, value);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return flat;
  for (const [key, part] of Object.entries(value)) {
    for (const [path, number] of flatNumbers(part, prefix === '' ? key : `${prefix}.${key}`)) {
      flat.set(path, number);
    }
  }
  return flat;
}

export function keyMetrics(manifest: ModelManifest): Record<string, number> {
  const flat = flatNumbers(manifest.metrics);
  const present = KEY_METRICS[manifest.kind].flatMap(([label, path]) => {
    const value = flat.get(path);
    return value === undefined ? [] : [[label, value] as const];
  });
  return Object.fromEntries(present);
}

export interface ComparedFigure {
  figure: string;
  /** null where the version's manifest does not have it. */
  a: number | null;
  b: number | null;
  /** b − a. */
  difference: number | null;
}

/** Metrics and the numbers about the training data, in a's order, then what only b has. */
export function compareFigures(a: ModelManifest, b: ModelManifest): ComparedFigure[] {
  const [left, right] = [a, b].map(
    ({ metrics, data }) => new Map([...flatNumbers(metrics), ...flatNumbers(data, 'data')]),
  );
  return [...new Set([...left.keys(), ...right.keys()])].map((figure) => {
    const [from, to] = [left.get(figure) ?? null, right.get(figure) ?? null];
    return { figure, a: from, b: to, difference: from === null || to === null ? null : to - from };
  });
}

/** Features of b that a lacks, and the reverse. */
export function compareFeatures(a: ModelManifest, b: ModelManifest): { added: string[]; removed: string[] } {
  const [before, after] = [a, b].map((manifest) => {
    const { features } = manifest as { features?: unknown };
    return Array.isArray(features) ? features.map(String) : [];
  });
  return {
    added: after.filter((feature) => !before.includes(feature)),
    removed: before.filter((feature) => !after.includes(feature)),
  };
}
