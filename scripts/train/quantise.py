"""int8 forms of an exported ranker, and whether one may be shipped.

Static QDQ with calibration rows first, then int8 weights alone: never dynamic quantisation, whose scales are those of the
batch, so that a row's score depends on the rows beside it. What is not exported is named with its reason.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from scipy.stats import spearmanr

from common import measure_ms, open_session, without_metadata

LEAST_CORRELATION = 0.995
MOST_DIFFERENCE = 1e-6  # of a row's probabilities alone and in its batch
OPERATORS = ('MatMul', 'Gemm')
SERVED_SHARE = 0.6  # of the fp32 form's time: int8 moves probabilities a little, which must pay
CALIBRATION_ROWS = 4096
CHUNK = 256
LARGE = 4096  # numbers of a matrix that is worth storing as float16


class Reader(CalibrationDataReader):
    def __init__(self, inputs: dict[str, np.ndarray]):
        rows = min(CALIBRATION_ROWS, len(inputs['features']))
        self.parts = iter({k: v[at : at + CHUNK] for k, v in inputs.items()} for at in range(0, rows, CHUNK))

    def get_next(self) -> dict | None:
        return next(self.parts, None)


def static_qdq(onnx_bytes: bytes, inputs: dict[str, np.ndarray]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / 'in.onnx', Path(folder) / 'out.onnx'
        source.write_bytes(onnx_bytes)
        quantize_static(
            source, target, Reader(inputs), quant_format=QuantFormat.QDQ, op_types_to_quantize=list(OPERATORS), per_channel=True,
            nodes_to_exclude=kept_exact(onnx_bytes),
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
        )  # fmt: skip
        return without_metadata(target.read_bytes())


def kept_exact(onnx_bytes: bytes) -> list[str]:
    """Products whose summand is computed, the user's share: int8 kernels want a constant one; and those that make it."""
    graph = onnx.load_from_string(onnx_bytes).graph
    constants = {tensor.name for tensor in graph.initializer}
    computed = [n for n in graph.node if n.op_type == 'Gemm' and len(n.input) > 2 and n.input[2] not in constants]
    summands = {n.input[2] for n in computed}
    return [n.name for n in graph.node if n in computed or summands & set(n.output)]


def weight_only(onnx_bytes: bytes, _inputs: dict[str, np.ndarray]) -> bytes:
    """int8 weights with a scale for each output column, dequantised when the session opens; a smaller file, not a faster one."""
    model = onnx.load_from_string(onnx_bytes)
    graph = model.graph
    used = {name for node in graph.node if node.op_type in OPERATORS for name in node.input}
    axis_of = {n.input[1]: 0 if any(a.name == 'transB' and a.i for a in n.attribute) else 1 for n in graph.node if n.op_type in OPERATORS}
    nodes = []
    for tensor in [t for t in graph.initializer if t.name in used and len(t.dims) == 2 and t.name in axis_of]:
        weight, axis = onnx.numpy_helper.to_array(tensor), axis_of[tensor.name]
        scale = np.maximum(np.abs(weight).max(axis=1 - axis), 1e-12).astype(np.float32) / np.float32(127)
        codes = np.round(weight / np.expand_dims(scale, 1 - axis)).astype(np.int8)
        graph.initializer.remove(tensor)
        graph.initializer.append(onnx.numpy_helper.from_array(codes, f'{tensor.name}_int8'))
        graph.initializer.append(onnx.numpy_helper.from_array(scale, f'{tensor.name}_scale'))
        inputs = [f'{tensor.name}_int8', f'{tensor.name}_scale']
        nodes.append(onnx.helper.make_node('DequantizeLinear', inputs, [tensor.name], axis=axis))
    for node in reversed(nodes):
        graph.node.insert(0, node)
    return model.SerializeToString()


def half_stored(onnx_bytes: bytes) -> bytes:
    """Large matrices whose numbers are all float16 stored as such and cast when the session opens: half the file, the
    same outputs."""
    model = onnx.load_from_string(onnx_bytes)
    graph, casts = model.graph, []
    for tensor in [t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT and np.prod(t.dims) >= LARGE]:
        exact = onnx.numpy_helper.to_array(tensor)
        half = exact.astype(np.float16)
        if (half.astype(np.float32) != exact).any():
            continue
        graph.initializer.remove(tensor)
        graph.initializer.append(onnx.numpy_helper.from_array(half, f'{tensor.name}_half'))
        casts.append(onnx.helper.make_node('Cast', [f'{tensor.name}_half'], [tensor.name], to=onnx.TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)
    return model.SerializeToString()


FORMS = {'static QDQ': static_qdq, 'int8 weights': weight_only}


def export_int8(onnx_bytes: bytes, calibration: dict[str, np.ndarray], held: dict[str, np.ndarray], weights: np.ndarray) -> tuple[bytes | None, dict]:
    """The first form that keeps the order, or None; and for the manifest what was measured of each on the `held` rows.

    `weights` [heads]: of the score whose order counts. Networks that read more than features keep fp32.
    """
    if not set(calibration) <= {'features', 'user'}:
        return None, {'exported': False, 'reason': 'inputs beside the features are not quantised'}
    exact = run(open_session(onnx_bytes), held)
    tried, chosen = {}, None
    for name, make in FORMS.items():
        try:
            made = make(onnx_bytes, calibration)
            session = open_session(made)
        except Exception as error:  # noqa: BLE001 - the quantiser's own errors have no common class
            tried[name] = {'problem': f'{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ""}'}
            continue
        found = run(session, held)
        figures = {
            'rankCorrelation': round(float(spearmanr(exact @ weights, found @ weights).statistic), 5),
            'aloneVersusBatch': alone_difference(session, held, found),
            'largestDifference': float(np.abs(exact - found).max()),
            'msPer1000Rows': measure_ms(session, as_served(held)),
            'bytes': len(made),
        }
        tried[name] = figures
        if figures['rankCorrelation'] >= LEAST_CORRELATION and figures['aloneVersusBatch'] <= MOST_DIFFERENCE:
            chosen = (name, made)
            break
    report = {'exported': chosen is not None, 'limits': {'rankCorrelation': LEAST_CORRELATION, 'aloneVersusBatch': MOST_DIFFERENCE}, 'tried': tried}
    if chosen is None:
        return None, {**report, 'reason': 'no form keeps the order of rows and the independence of a row from its batch'}
    fp32 = measure_ms(open_session(onnx_bytes), as_served(held))
    faster = tried[chosen[0]]['msPer1000Rows'] <= SERVED_SHARE * fp32
    return chosen[1], {**report, 'form': chosen[0], 'fp32MsPer1000Rows': fp32, 'serve': bool(faster)}


def as_served(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k: v[:1] if k == 'user' else v for k, v in inputs.items()}


def run(session: ort.InferenceSession, inputs: dict[str, np.ndarray]) -> np.ndarray:
    return session.run(None, inputs)[0].astype(np.float64)


def alone_difference(session: ort.InferenceSession, inputs: dict[str, np.ndarray], together: np.ndarray) -> float:
    """Largest difference of a probability between a row's batch and the row alone, over rows spread over the batch."""
    rows = np.linspace(0, len(together) - 1, 40).astype(int)
    alone = [run(session, {k: v[r : r + 1] for k, v in inputs.items()})[0] for r in rows]
    return float(np.abs(np.stack(alone) - together[rows]).max())
