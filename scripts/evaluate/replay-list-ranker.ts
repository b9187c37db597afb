// A small ranker of candidate lists that learns as outcomes arrive: softmax over the list (ListNet's top-one likelihood,
// Cao et al., ICML 2007), a linear part beside one hidden layer, Adam. Called by globo.
import { mulberry32 } from './retrieval-data.ts';

/** Lists averaged into one step. */
const BATCH = 16;
const BETA_1 = 0.9;
const BETA_2 = 0.999;
/** Rows from which the inputs' mean and spread are taken before any step is made. */
const SCALE_ROWS = 50_000;
/** Inputs further than this many spreads from their mean are taken to be that far. */
const CLIP = 6;

export interface ListRankerOptions {
  features: number;
  /** 0 makes the ranker linear. */
  hidden: number;
  rate: number;
  seed: number;
}

export class ListRanker {
  readonly options: ListRankerOptions;
  /** Linear weights [F], then hidden weights [H, F], hidden biases [H], output weights [H]. */
  readonly #weights: Float64Array;
  readonly #gradient: Float64Array;
  readonly #first: Float64Array;
  readonly #second: Float64Array;
  readonly #mean: Float64Array;
  readonly #scale: Float64Array;
  readonly #squares: Float64Array;
  readonly #hiddenOut: Float64Array;
  readonly #input: Float64Array;
  #scaleRows = 0;
  #lists = 0;
  #steps = 0;

  constructor(options: ListRankerOptions) {
    this.options = options;
    const { features, hidden } = options;
    const size = features + hidden * features + 2 * hidden;
    this.#weights = new Float64Array(size);
    this.#gradient = new Float64Array(size);
    this.#first = new Float64Array(size);
    this.#second = new Float64Array(size);
    this.#mean = new Float64Array(features);
    this.#scale = new Float64Array(features).fill(1);
    this.#squares = new Float64Array(features);
    this.#hiddenOut = new Float64Array(hidden);
    this.#input = new Float64Array(features);
    const random = mulberry32(options.seed);
    const spread = 2 / Math.sqrt(features);
    for (let i = 0; i < hidden * features; i++) this.#weights[features + i] = (random() - 0.5) * spread;
    const output = features + hidden * features + hidden;
    for (let h = 0; h < hidden; h++) this.#weights[output + h] = (random() - 0.5) * 0.2;
  }

  /** Whether it has seen enough to be asked. */
  get ready(): boolean {
    return this.#steps > 0;
  }

  /** Scores of `rows` rows of `matrix` [rows, F] into `scores`. */
  score(matrix: Float32Array, rows: number, scores: Float64Array): void {
    for (let row = 0; row < rows; row++) scores[row] = this.#forward(matrix, row);
  }

  /** One list [rows, F] of which row 0 was chosen; a step is made after each BATCH lists. */
  learn(matrix: Float32Array, rows: number): void {
    if (this.#scaleRows < SCALE_ROWS) {
      this.#measure(matrix, rows);
      return;
    }
    const scores = new Float64Array(rows);
    this.score(matrix, rows, scores);
    let largest = Number.NEGATIVE_INFINITY;
    for (const score of scores) largest = Math.max(largest, score);
    let sum = 0;
    for (let row = 0; row < rows; row++) sum += scores[row] = Math.exp(scores[row] - largest);
    for (let row = 0; row < rows; row++) {
      const slope = scores[row] / sum - (row === 0 ? 1 : 0);
      if (Math.abs(slope) > 1e-4) this.#backward(matrix, row, slope / BATCH);
    }
    if (++this.#lists % BATCH === 0) this.#step();
  }

  #forward(matrix: Float32Array, row: number): number {
    const { features, hidden } = this.options;
    const weights = this.#weights;
    const input = this.#input;
    const start = row * features;
    let score = 0;
    for (let f = 0; f < features; f++) {
      const value = (matrix[start + f] - this.#mean[f]) * this.#scale[f];
      input[f] = Math.min(Math.max(value, -CLIP), CLIP);
      score += input[f] * weights[f];
    }
    const biases = features + hidden * features;
    for (let h = 0; h < hidden; h++) {
      const at = features + h * features;
      let sum = weights[biases + h];
      for (let f = 0; f < features; f++) sum += input[f] * weights[at + f];
      this.#hiddenOut[h] = Math.max(sum, 0);
      if (sum > 0) score += sum * weights[biases + hidden + h];
    }
    return score;
  }

  #backward(matrix: Float32Array, row: number, slope: number): void {
    const { features, hidden } = this.options;
    this.#forward(matrix, row);
    const { weights, gradient } = { weights: this.#weights, gradient: this.#gradient };
    const input = this.#input;
    for (let f = 0; f < features; f++) gradient[f] += slope * input[f];
    const biases = features + hidden * features;
    for (let h = 0; h < hidden; h++) {
      const out = this.#hiddenOut[h];
      if (out === 0) continue;
      gradient[biases + hidden + h] += slope * out;
      const inner = slope * weights[biases + hidden + h];
      gradient[biases + h] += inner;
      const at = features + h * features;
      for (let f = 0; f < features; f++) gradient[at + f] += inner * input[f];
    }
  }

  #step(): void {
    const t = ++this.#steps;
    const rate = (this.options.rate * Math.sqrt(1 - BETA_2 ** t)) / (1 - BETA_1 ** t);
    for (let i = 0; i < this.#weights.length; i++) {
      const slope = this.#gradient[i];
      this.#first[i] = BETA_1 * this.#first[i] + (1 - BETA_1) * slope;
      this.#second[i] = BETA_2 * this.#second[i] + (1 - BETA_2) * slope * slope;
      this.#weights[i] -= (rate * this.#first[i]) / (Math.sqrt(this.#second[i]) + 1e-8);
      this.#gradient[i] = 0;
    }
  }

  #measure(matrix: Float32Array, rows: number): void {
    const { features } = this.options;
    for (let row = 0; row < rows; row++) {
      this.#scaleRows++;
      for (let f = 0; f < features; f++) {
        const value = matrix[row * features + f];
        const off = value - this.#mean[f];
        this.#mean[f] += off / this.#scaleRows;
        this.#squares[f] += off * (value - this.#mean[f]);
      }
    }
    for (let f = 0; f < features; f++) {
      const spread = Math.sqrt(this.#squares[f] / this.#scaleRows);
      this.#scale[f] = spread > 1e-6 ? 1 / spread : 0;
    }
  }
}
