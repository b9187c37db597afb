// The networks that the GPU benchmark runs, with seeded weights: three rankers, and the forms of them that tell where
// the time goes. Sizes: `light` 50 k parameters, `dcn` DCN-v2 of .7 M, `heavy` a stack of square layers of 51 M.
import { HEADS } from '../../src/vocabulary.ts';
import { Rng } from '../generate/rng.ts';
import { type OnnxNode, type OnnxTensor, onnxBytes, rewired } from './gpu-onnx.ts';

export type Precision = 'fp32' | 'fp16';
export type Network = 'light' | 'dcn' | 'heavy';

export interface RankerGraph {
  bytes: Buffer;
  parameters: number;
  /** Of the matrix products: two a weight. */
  flopsPerRow: number;
}

const SEED = 1;
const CROSS_LAYERS = 3;
const WIDTHS = { light: [256, 64], dcn: [768, 512, 256], heavy: [4096, 4096, 4096, 4096] };
/** Heavy enough to be told from the others, light enough for an adapter in software. */
const SMALL_HEAVY = [256, 256];

export const TENSOR_TYPE = { fp32: 'float32', fp16: 'float16' } as const;

export function numbers(values: Float32Array, precision: Precision): Float32Array | Float16Array {
  return precision === 'fp32' ? values : new Float16Array(values);
}

/** `features` [N, width] float32 → `probabilities` [N, heads] float32, with `precision` in between. */
export function rankerGraph(
  network: Network,
  width: number,
  precision: Precision,
  small: boolean,
): RankerGraph {
  const layers = new Layers(precision);
  const x = layers.cast('features', TENSOR_TYPE[precision]);
  const widths = network === 'heavy' && small ? SMALL_HEAVY : WIDTHS[network];
  let columns = width;
  let deep = x;
  for (const next of widths) {
    deep = layers.apply('Relu', layers.dense(deep, columns, next));
    columns = next;
  }
  if (network === 'dcn') {
    let crossed = x;
    for (let layer = 0; layer < CROSS_LAYERS; layer++) {
      const product = layers.apply('Mul', x, layers.dense(crossed, width, width));
      crossed = layers.apply('Add', product, crossed);
    }
    deep = layers.apply('Concat', { axis: 1 }, crossed, deep);
    columns += width;
  }
  const logits = layers.cast(layers.dense(deep, columns, HEADS.length), 'float32');
  layers.nodes.push({ operator: 'Sigmoid', inputs: [logits], outputs: ['probabilities'] });
  const bytes = onnxBytes({
    nodes: layers.nodes,
    tensors: layers.tensors,
    inputs: [{ name: 'features', type: 'float32', dims: ['N', width] }],
    outputs: [{ name: 'probabilities', type: 'float32', dims: ['N', HEADS.length] }],
  });
  return { bytes, parameters: layers.parameters, flopsPerRow: layers.flopsPerRow };
}

/** The features made on the device from one row, the answer reduced to one number there: next to no transfer. */
export function residentForm(bytes: Uint8Array, rows: number, width: number): Buffer {
  return rewired(bytes, {
    without: ['features', 'probabilities'],
    tensors: [{ name: 'column', type: 'float32', dims: [rows, 1], data: randomNumbers(rows, 'column', 0.1) }],
    before: [{ operator: 'Add', inputs: ['column', 'row'], outputs: ['features'] }],
    after: [REDUCE],
    inputs: [{ name: 'row', type: 'float32', dims: [1, width] }],
    outputs: [{ name: 'mean', type: 'float32', dims: [1, 1] }],
  });
}

/**
 * The last `columns` of the features as a table of posts on the device, gathered by row; the others from one row of
 * user state a request. Uploads 8 bytes a candidate.
 */
export function gatheredForm(
  bytes: Uint8Array,
  width: number,
  posts: { rows: number; columns: number; data: Float32Array },
): Buffer {
  return rewired(bytes, {
    without: ['features'],
    tensors: [{ name: 'posts', type: 'float32', dims: [posts.rows, posts.columns], data: posts.data }],
    before: [
      { operator: 'Gather', inputs: ['user', 'request'], outputs: ['of_user'], attributes: { axis: 0 } },
      { operator: 'Gather', inputs: ['posts', 'post'], outputs: ['of_post'], attributes: { axis: 0 } },
      { operator: 'Concat', inputs: ['of_user', 'of_post'], outputs: ['features'], attributes: { axis: 1 } },
    ],
    after: [],
    inputs: [
      { name: 'user', type: 'float32', dims: ['R', width - posts.columns] },
      { name: 'request', type: 'int32', dims: ['N'] },
      { name: 'post', type: 'int32', dims: ['N'] },
    ],
    outputs: [],
  });
}

/** Nothing but the upload of `features` and a sum over them. */
export function uploadGraph(width: number): Buffer {
  return onnxBytes({
    nodes: [{ operator: 'ReduceMean', inputs: ['features'], outputs: ['mean'] }],
    tensors: [],
    inputs: [{ name: 'features', type: 'float32', dims: ['N', width] }],
    outputs: [{ name: 'mean', type: 'float32', dims: [1, 1] }],
  });
}

/** `products` matrix products [size, size] × [size, size], one after the other; next to no transfer. */
export function peakGraph(size: number, products: number, precision: Precision): Buffer {
  const type = TENSOR_TYPE[precision];
  const scale = Math.sqrt(3 / size);
  const nodes: OnnxNode[] = [
    { operator: 'Add', inputs: ['column', 'row'], outputs: ['full'] },
    {
      operator: 'Cast',
      inputs: ['full'],
      outputs: ['y0'],
      attributes: { to: precision === 'fp32' ? 1 : 10 },
    },
  ];
  for (let i = 0; i < products; i++) {
    nodes.push({ operator: 'MatMul', inputs: [`y${i}`, 'b'], outputs: [`y${i + 1}`] });
  }
  nodes.push({ operator: 'Cast', inputs: [`y${products}`], outputs: ['last'], attributes: { to: 1 } });
  nodes.push({ operator: 'ReduceMean', inputs: ['last'], outputs: ['mean'] });
  const b = numbers(randomNumbers(size * size, 'peak', scale), precision);
  return onnxBytes({
    nodes,
    tensors: [
      { name: 'column', type: 'float32', dims: [size, 1], data: randomNumbers(size, 'column', 1) },
      { name: 'b', type, dims: [size, size], data: b },
    ],
    inputs: [{ name: 'row', type: 'float32', dims: [1, size] }],
    outputs: [{ name: 'mean', type: 'float32', dims: [1, 1] }],
  });
}

/** Uniform in ±limit. */
export function randomNumbers(count: number, stream: string, limit: number): Float32Array {
  const rng = new Rng(SEED, stream);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) values[i] = (2 * rng.next() - 1) * limit;
  return values;
}

const REDUCE: OnnxNode = { operator: 'ReduceMean', inputs: ['probabilities'], outputs: ['mean'] };

class Layers {
  readonly nodes: OnnxNode[] = [];
  readonly tensors: OnnxTensor[] = [];
  parameters = 0;
  flopsPerRow = 0;
  readonly #precision: Precision;
  #next = 0;

  constructor(precision: Precision) {
    this.#precision = precision;
  }

  /** x · W + b with uniform weights of variance 2 ÷ inputs (He et al., 2015), so that numbers keep their size. */
  dense(x: string, inputs: number, outputs: number): string {
    const weights = this.#tensor([inputs, outputs], Math.sqrt(6 / inputs));
    const bias = this.#tensor([outputs], 0.1);
    this.flopsPerRow += 2 * inputs * outputs;
    return this.apply('Gemm', x, weights, bias);
  }

  apply(operator: string, ...rest: (string | Record<string, number>)[]): string {
    const output = `t${this.#next++}`;
    const inputs = rest.filter((one) => typeof one === 'string');
    const attributes = rest.find((one) => typeof one !== 'string');
    this.nodes.push({ operator, inputs, outputs: [output], attributes });
    return output;
  }

  cast(x: string, type: 'float32' | 'float16'): string {
    if (this.#precision === 'fp32') return x;
    return this.apply('Cast', x, { to: type === 'float32' ? 1 : 10 });
  }

  #tensor(dims: number[], limit: number): string {
    // Of its own count, so that both precisions have the same weights.
    const name = `w${this.tensors.length}`;
    const size = dims.reduce((product, dim) => product * dim, 1);
    const data = numbers(randomNumbers(size, name, limit), this.#precision);
    this.tensors.push({ name, type: TENSOR_TYPE[this.#precision], dims, data });
    this.parameters += size;
    return name;
  }
}
