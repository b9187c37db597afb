// Quantiles and the like, for benchmarks.

/** The q-quantile (nearest rank) of some numbers; NaN of none. */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) return Number.NaN;
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))];
}

export interface Spread {
  p50: number;
  p99: number;
  mean: number;
}

export function spread(values: readonly number[]): Spread {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return { p50: round(quantile(values, 0.5)), p99: round(quantile(values, 0.99)), mean: round(mean) };
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

function round(value: number): number {
  return Number(value.toFixed(3));
}
