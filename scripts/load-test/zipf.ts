// Zipf-distributed ranks without a table, by rejection-inversion (Hörmann and Derflinger, "Rejection-inversion to
// generate variates from monotone discrete distributions", ACM TOMACS 1996). Called by traffic.ts.
import type { Rng } from '../generate/rng.ts';

export class Zipf {
  readonly #size: number;
  readonly #exponent: number;
  readonly #fromOne: number;
  readonly #toEnd: number;
  readonly #accept: number;

  /** P(rank) ∝ rank^−exponent for ranks 1..size; exponent 0 is uniform. */
  constructor(size: number, exponent: number) {
    this.#size = size;
    this.#exponent = exponent;
    this.#fromOne = this.#integral(1.5) - 1;
    this.#toEnd = this.#integral(size + 0.5);
    this.#accept = 2 - this.#inverse(this.#integral(2.5) - this.#height(2));
  }

  /** A rank in 1..size. */
  draw(rng: Rng): number {
    while (true) {
      const u = this.#toEnd + rng.next() * (this.#fromOne - this.#toEnd);
      const x = this.#inverse(u);
      const rank = Math.min(this.#size, Math.max(1, Math.round(x)));
      if (rank - x <= this.#accept || u >= this.#integral(rank + 0.5) - this.#height(rank)) return rank;
    }
  }

  #height(x: number): number {
    return Math.exp(-this.#exponent * Math.log(x));
  }

  /** ∫ height, with the constant that makes it exact through exponent 1. */
  #integral(x: number): number {
    const log = Math.log(x);
    const t = (1 - this.#exponent) * log;
    return (Math.abs(t) > 1e-8 ? Math.expm1(t) / t : 1 + t / 2) * log;
  }

  #inverse(y: number): number {
    const t = Math.max(-1, y * (1 - this.#exponent));
    return Math.exp((Math.abs(t) > 1e-8 ? Math.log1p(t) / t : 1 - t / 2) * y);
  }
}
