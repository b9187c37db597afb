// Seeded random streams of the generator: stream (seed, name, index) is the same whatever was drawn before it, so
// post 70,000 or user 12 can be made alone. Called by every file of the generator and by evaluations.
import { hash32 } from '../../src/hashing.ts';

/** sfc32 (Doty-Humphrey, PractRand), seeded by murmur3-mixed words. */
export class Rng {
  #a = 0;
  #b = 0;
  #c = 0;
  #d = 0;
  readonly #base: number;

  constructor(seed: number, stream: string) {
    this.#base = mix(mix(seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0), hash32(stream));
    this.at(0);
  }

  /** Moves to the start of sub-stream `index` and returns itself. */
  at(index: number): this {
    this.#a = mix(this.#base, index >>> 0);
    this.#b = mix(this.#a, 0x9e3779b9);
    this.#c = mix(this.#b, 0x85ebca6b);
    this.#d = 1;
    for (let i = 0; i < 4; i++) this.next();
    return this;
  }

  /** Uniform in [0, 1), 32 bits. */
  next(): number {
    const t = (((this.#a + this.#b) | 0) + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + t;
    return (t >>> 0) / 4294967296;
  }

  /** Uniform integer in [0, n). */
  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }

  /** Standard normal (Box & Muller, 1958). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
  }

  /** Exponential of mean 1; with normalisation, a draw from a flat Dirichlet. */
  exponential(): number {
    return -Math.log(1 - this.next());
  }
}

/** A 32-bit hash of two words. */
export function mix(a: number, b: number): number {
  let h = Math.imul(a ^ Math.imul(b, 0xcc9e2d51), 0x1b873593) ^ b;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** First index in [from, to) with `values[index] > target`, `to` when none; values must not fall. */
export function upperBound(values: Float64Array, target: number, from = 0, to = values.length): number {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle] > target) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * Draws an index in [from, to) with the probability of its weight, given running totals
 * (`totals[i]` = sum of the weights 0..i). −1 when the range is empty or weighs nothing.
 */
export function drawWeighted(totals: Float64Array, uniform: number, from = 0, to = totals.length): number {
  if (to <= from) return -1;
  const base = from === 0 ? 0 : totals[from - 1];
  const span = totals[to - 1] - base;
  if (!(span > 0)) return -1;
  return Math.min(upperBound(totals, base + uniform * span, from, to), to - 1);
}

export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
