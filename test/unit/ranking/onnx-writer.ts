// Writes small ONNX graphs without Python: the little of protobuf that onnx.proto3 needs. One input `features` [N, D],
// one output `probabilities` [N, heads].
function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  bytes.push(rest);
  return bytes;
}

function number(field: number, value: number): Buffer {
  return Buffer.from([...varint(field << 3), ...varint(value)]);
}

function bytes(field: number, value: Uint8Array | string): Buffer {
  const data = Buffer.from(value as string);
  return Buffer.concat([Buffer.from([...varint((field << 3) | 2), ...varint(data.length)]), data]);
}

function message(field: number, ...parts: Buffer[]): Buffer {
  return bytes(field, Buffer.concat(parts));
}

const FLOAT = 1;

function matrixInfo(field: number, name: string, columns: number): Buffer {
  const rows = message(1, bytes(2, 'N'));
  const shape = message(2, rows, message(1, number(1, columns)));
  return message(field, bytes(1, name), message(2, message(1, number(1, FLOAT), shape)));
}

function node(inputs: string[], output: string, operator: string): Buffer {
  return message(1, ...inputs.map((input) => bytes(1, input)), bytes(2, output), bytes(4, operator));
}

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
  nodes: OnnxNode[];
  matrices: OnnxMatrix[];
}

export function onnxBytes({ width, heads, nodes, matrices }: OnnxGraph): Buffer {
  const graph = message(
    7,
    ...nodes.map(({ inputs, output, operator }) => node(inputs, output, operator)),
    bytes(2, 'tiny'),
    ...matrices.map(({ name, dims, values }) =>
      message(
        5,
        ...dims.map((dim) => number(1, dim)),
        number(2, FLOAT),
        bytes(8, name),
        bytes(9, new Uint8Array(values.buffer, values.byteOffset, values.byteLength)),
      ),
    ),
    matrixInfo(11, 'features', width),
    matrixInfo(12, 'probabilities', heads),
  );
  return Buffer.concat([number(1, 8), graph, message(8, bytes(1, ''), number(2, 18))]);
}
