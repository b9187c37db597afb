// Finds the float weights of an ONNX file: the few fields of onnx.proto3 that lead to them, ModelProto.graph (7),
// GraphProto.initializer (5), TensorProto. Called by the check of a new version, and by tests that spoil a model.
import { FeedrankError } from '../errors.ts';

export interface Weights {
  name: string;
  dims: number[];
  /** Copy of the values, which begin at `at` in the file. */
  values: Float32Array;
  at: number;
}

/** TensorProto.DataType. */
const FLOAT = 1;
const FLOAT16 = 10;

export interface Field {
  number: number;
  /** Of a varint. */
  value: number;
  /** Of a length-delimited field: where its bytes lie. */
  from: number;
  to: number;
}

/** Every float32 or float16 initializer that is stored as raw data, in file order; external data is not read. */
export function weightsOf(bytes: Uint8Array): Weights[] {
  const found: Weights[] = [];
  for (const graph of fields(bytes, 0, bytes.length)) {
    if (graph.number !== 7) continue;
    for (const initializer of fields(bytes, graph.from, graph.to)) {
      if (initializer.number === 5) found.push(...tensor(bytes, initializer));
    }
  }
  return found;
}

function tensor(bytes: Uint8Array, { from, to }: Field): Weights[] {
  let name = '';
  let type = 0;
  let raw: Field | undefined;
  const dims: number[] = [];
  for (const field of fields(bytes, from, to)) {
    if (field.number === 1 && field.from === 0) dims.push(field.value);
    // Packed dims.
    else if (field.number === 1) for (const one of varints(bytes, field.from, field.to)) dims.push(one);
    else if (field.number === 2) type = field.value;
    else if (field.number === 8) name = Buffer.from(bytes.subarray(field.from, field.to)).toString();
    else if (field.number === 9) raw = field;
  }
  if (!raw || (type !== FLOAT && type !== FLOAT16)) return [];
  const { from: at, to: end } = raw;
  const { buffer } = Uint8Array.from(bytes.subarray(at, end));
  const values =
    type === FLOAT ? new Float32Array(buffer) : Float32Array.from(new Uint16Array(buffer), ofHalf);
  return [{ name, dims, values, at }];
}

/** The number that an IEEE 754 half stands for. */
function ofHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The varint and length-delimited fields of a protobuf message that lies in `[from, to)`. */
export function* fields(bytes: Uint8Array, from: number, to: number): Generator<Field> {
  for (let at = from; at < to; ) {
    const [tag, afterTag] = varint(bytes, at);
    const number = Math.floor(tag / 8);
    const wire = tag % 8;
    if (wire === 0) {
      const [value, next] = varint(bytes, afterTag);
      yield { number, value, from: 0, to: 0 };
      at = next;
    } else if (wire === 2) {
      const [length, start] = varint(bytes, afterTag);
      yield { number, value: 0, from: start, to: start + length };
      at = start + length;
    } else {
      at = afterTag + (wire === 1 ? 8 : 4);
    }
  }
}

function* varints(bytes: Uint8Array, from: number, to: number): Generator<number> {
  for (let at = from; at < to; ) {
    const [value, next] = varint(bytes, at);
    yield value;
    at = next;
  }
}

function varint(bytes: Uint8Array, from: number): [value: number, next: number] {
  let value = 0;
  let scale = 1;
  for (let at = from; at < bytes.length; at++, scale *= 128) {
    value += (bytes[at] & 0x7f) * scale;
    if (bytes[at] < 0x80) return [value, at + 1];
  }
  throw new FeedrankError('corrupt_artifact', 'the ONNX file ends early');
}
