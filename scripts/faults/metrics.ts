// Prometheus text as samples that can be asked. Called by service.ts.

export class Samples {
  readonly #samples: { name: string; labels: string; value: number }[];

  constructor(samples: { name: string; labels: string; value: number }[]) {
    this.#samples = samples;
  }

  /** Sum of the samples of a name whose labels contain every given `label="value"`; null when there are none. */
  sum(name: string, ...labels: string[]): number | null {
    const found = this.#samples.filter(
      (sample) => sample.name === name && labels.every((label) => sample.labels.includes(label)),
    );
    return found.length === 0 ? null : found.reduce((sum, sample) => sum + sample.value, 0);
  }
}

export function readMetrics(text: string): Samples {
  const samples = [...text.matchAll(/^([a-zA-Z_:][\w:]*)(?:\{([^}]*)\})? (\S+)$/gm)].map(
    ([, name, labels = '', value]) => ({ name, labels, value: Number(value) }),
  );
  return new Samples(samples);
}
