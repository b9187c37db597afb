// Durations in an HdrHistogram: three significant digits from 1 µs to 2 minutes, encoded in the format that other
// HdrHistogram tools read, so that worker processes' histograms merge without loss.
import {
  build,
  decodeFromCompressedBase64,
  encodeIntoCompressedBase64,
  type Histogram,
} from 'hdr-histogram-js';

const HIGHEST_US = 120_000_000;
const BUCKET_BITS = 32;

/** Milliseconds; null where nothing was recorded. */
export interface LatencySummary {
  count: number;
  mean: number | null;
  p50: number | null;
  p90: number | null;
  p99: number | null;
  p999: number | null;
  max: number | null;
}

export class LatencyHistogram {
  readonly #histogram: Histogram;

  constructor(
    histogram: Histogram = build({
      lowestDiscernibleValue: 1,
      highestTrackableValue: HIGHEST_US,
      numberOfSignificantValueDigits: 3,
      bitBucketSize: BUCKET_BITS,
      useWebAssembly: false,
    }),
  ) {
    this.#histogram = histogram;
  }

  static decode(text: string): LatencyHistogram {
    return new LatencyHistogram(decodeFromCompressedBase64(text, BUCKET_BITS, false));
  }

  /** Below 1 µs counts as 1 µs, above two minutes as two minutes. */
  record(ms: number): void {
    this.#histogram.recordValue(Math.min(HIGHEST_US, Math.max(1, Math.round(ms * 1000))));
  }

  add(other: LatencyHistogram): void {
    this.#histogram.add(other.#histogram);
  }

  reset(): void {
    this.#histogram.reset();
  }

  get count(): number {
    return this.#histogram.totalCount;
  }

  /** Milliseconds at a percentile of 0–100; null of nothing. */
  at(percentile: number): number | null {
    return this.count === 0 ? null : rounded(this.#histogram.getValueAtPercentile(percentile));
  }

  summary(): LatencySummary {
    const any = this.count > 0;
    return {
      count: this.count,
      mean: any ? rounded(this.#histogram.mean) : null,
      p50: this.at(50),
      p90: this.at(90),
      p99: this.at(99),
      p999: this.at(99.9),
      max: this.at(100),
    };
  }

  /** [percentile, ms], denser towards 100, as far as the count resolves. */
  distribution(): [number, number][] {
    const points: [number, number][] = [];
    const smallest = 1 / Math.max(1, this.count);
    for (let above = 1; this.count > 0 && above >= smallest; above /= 10 ** 0.1) {
      const percentile = Number((100 * (1 - above)).toFixed(6));
      points.push([percentile, this.at(percentile)!]);
    }
    return points;
  }

  /** HdrHistogram's compressed V2 form, base64. */
  encode(): string {
    return encodeIntoCompressedBase64(this.#histogram);
  }
}

function rounded(us: number): number {
  return Number((us / 1000).toFixed(3));
}
