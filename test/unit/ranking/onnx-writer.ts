// Small ONNX rankers for tests: input `features` [N, D], and `user` [R, U] where asked for; output `probabilities`
// [N, heads].
import { onnxBytes as bytesOf } from '../../../scripts/bench/gpu-onnx.ts';

export interface OnnxNode {
  inputs: string[];
  output: string;
  operator: string;
}

export interface OnnxMatrix {
  name: string;
  dims: number[];
  values: Float32Array;
}

export interface OnnxGraph {
  /** D, as the model declares it. */
  width: number;
  heads: number;
  /** U; absent = there is no such input. */
  userWidth?: number;
  nodes: OnnxNode[];
  matrices: OnnxMatrix[];
}

export function onnxBytes({ width, heads, userWidth, nodes, matrices }: OnnxGraph): Buffer {
  return bytesOf({
    nodes: nodes.map(({ inputs, output, operator }) => ({ inputs, outputs: [output], operator })),
    tensors: matrices.map(({ name, dims, values }) => ({ name, type: 'float32', dims, data: values })),
    inputs: [
      { name: 'features', type: 'float32', dims: ['N', width] },
      ...(userWidth === undefined
        ? []
        : [{ name: 'user', type: 'float32' as const, dims: ['R', userWidth] }]),
    ],
    outputs: [{ name: 'probabilities', type: 'float32', dims: ['N', heads] }],
  });
}
