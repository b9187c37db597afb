// Writes ONNX files, and rewrites a file's inputs and outputs: the little of protobuf that onnx.proto3 needs. Files are
// lists of parts, so that weights are not copied on their way. Called by the GPU benchmark and by tests.
import { type Field, fields } from '../../src/ranking/onnx-weights.ts';

export const ONNX_TYPE = { float32: 1, int32: 6, int64: 7, float16: 10 } as const;
export type OnnxType = keyof typeof ONNX_TYPE;

export interface OnnxTensor {
  name: string;
  type: OnnxType;
  dims: readonly number[];
  /** Little-endian, as ONNX's raw_data. */
  data: NodeJS.ArrayBufferView;
}

export interface OnnxNode {
  operator: string;
  inputs: readonly string[];
  outputs: readonly string[];
  attributes?: Record<string, number | readonly number[]>;
}

export interface OnnxValue {
  name: string;
  type: OnnxType;
  /** A name stands for a number that each run gives. */
  dims: readonly (number | string)[];
}

export interface OnnxGraph {
  nodes: readonly OnnxNode[];
  tensors: readonly OnnxTensor[];
  inputs: readonly OnnxValue[];
  outputs: readonly OnnxValue[];
}

const IR_VERSION = 8;
const OPSET = 17;
/** Field numbers: ModelProto.graph, and those of GraphProto. */
const GRAPH = 7;
const FIELD = { node: 1, name: 2, initializer: 5, input: 11, output: 12 } as const;
/** AttributeProto.AttributeType. */
const INT = 2;
const INTS = 7;

/** The file as parts to be written one after the other. */
export function onnxParts({ nodes, tensors, inputs, outputs }: OnnxGraph): Uint8Array[] {
  const graph = message(GRAPH, [
    ...nodes.flatMap(nodeParts),
    ...text(FIELD.name, 'graph'),
    ...tensors.flatMap(tensorParts),
    ...inputs.flatMap((value) => valueParts(FIELD.input, value)),
    ...outputs.flatMap((value) => valueParts(FIELD.output, value)),
  ]);
  const opset = message(8, [...text(1, ''), number(2, OPSET)]);
  return [number(1, IR_VERSION), ...graph, ...opset];
}

export function onnxBytes(graph: OnnxGraph): Buffer {
  return Buffer.concat(onnxParts(graph));
}

export interface Surgery {
  /** Inputs and outputs that are no longer the graph's own: nodes of `before` make the one, `after` reads the other. */
  without: readonly string[];
  before: readonly OnnxNode[];
  after: readonly OnnxNode[];
  tensors: readonly OnnxTensor[];
  inputs: readonly OnnxValue[];
  outputs: readonly OnnxValue[];
}

/** The file with other inputs and outputs, its own nodes and weights untouched. */
export function rewired(bytes: Uint8Array, change: Surgery): Buffer {
  const parts: Uint8Array[] = [];
  for (const field of fields(bytes, 0, bytes.length)) {
    if (field.number === GRAPH) parts.push(...message(GRAPH, rewiredGraph(bytes, field, change)));
    else parts.push(...copied(bytes, field));
  }
  return Buffer.concat(parts);
}

function rewiredGraph(bytes: Uint8Array, { from, to }: Field, change: Surgery): Uint8Array[] {
  const kept = [...fields(bytes, from, to)].filter((field) => {
    if (field.number !== FIELD.input && field.number !== FIELD.output) return true;
    return !change.without.includes(nameOf(bytes, field));
  });
  const nodes = kept.filter((field) => field.number === FIELD.node);
  const others = kept.filter((field) => field.number !== FIELD.node);
  return [
    ...change.before.flatMap(nodeParts),
    ...nodes.flatMap((field) => copied(bytes, field)),
    ...change.after.flatMap(nodeParts),
    ...others.flatMap((field) => copied(bytes, field)),
    ...change.tensors.flatMap(tensorParts),
    ...change.inputs.flatMap((value) => valueParts(FIELD.input, value)),
    ...change.outputs.flatMap((value) => valueParts(FIELD.output, value)),
  ];
}

/** ValueInfoProto.name. */
function nameOf(bytes: Uint8Array, { from, to }: Field): string {
  for (const field of fields(bytes, from, to)) {
    if (field.number === 1) return Buffer.from(bytes.subarray(field.from, field.to)).toString();
  }
  return '';
}

function copied(bytes: Uint8Array, { number: at, value, from, to }: Field): Uint8Array[] {
  // A varint has no place in the file: its range is empty and begins at 0.
  return from === 0 ? [number(at, value)] : message(at, [bytes.subarray(from, to)]);
}

function nodeParts({ operator, inputs, outputs, attributes = {} }: OnnxNode): Uint8Array[] {
  return message(FIELD.node, [
    ...inputs.flatMap((name) => text(1, name)),
    ...outputs.flatMap((name) => text(2, name)),
    ...text(4, operator),
    ...Object.entries(attributes).flatMap(([name, value]) => {
      const values =
        typeof value === 'number'
          ? [number(3, value), number(20, INT)]
          : [...value.map((one) => number(8, one)), number(20, INTS)];
      return message(5, [...text(1, name), ...values]);
    }),
  ]);
}

function tensorParts({ name, type, dims, data }: OnnxTensor): Uint8Array[] {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return message(FIELD.initializer, [
    ...dims.map((dim) => number(1, dim)),
    number(2, ONNX_TYPE[type]),
    ...text(8, name),
    ...message(9, [raw]),
  ]);
}

function valueParts(field: number, { name, type, dims }: OnnxValue): Uint8Array[] {
  const shape = dims.flatMap((dim) => message(1, typeof dim === 'number' ? [number(1, dim)] : text(2, dim)));
  const tensor = message(1, [number(1, ONNX_TYPE[type]), ...message(2, shape)]);
  return message(field, [...text(1, name), ...message(2, tensor)]);
}

function message(field: number, parts: readonly Uint8Array[]): Uint8Array[] {
  const length = parts.reduce((sum, part) => sum + part.byteLength, 0);
  return [Buffer.from([...varint((field << 3) | 2), ...varint(length)]), ...parts];
}

function text(field: number, value: string): Uint8Array[] {
  return message(field, [Buffer.from(value)]);
}

function number(field: number, value: number): Uint8Array {
  return Buffer.from([...varint(field << 3), ...varint(value)]);
}

/** Of a whole number from 0 to 2³². */
function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value >>> 0;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  bytes.push(rest);
  return bytes;
}
