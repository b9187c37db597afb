"""Shared by every trainer: ONNX export, the model folder (model.onnx, manifest.json, golden.json), progress, seeds."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch

GOLDEN_TOLERANCE = 1e-4
TYPES = {np.dtype(np.float32): 'float32', np.dtype(np.int32): 'int32', np.dtype(np.int64): 'int64'}


def seed_everything(seed: int, threads: int = 1) -> np.random.Generator:
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    return np.random.default_rng(seed)


def export_onnx(
    module: torch.nn.Module, example: dict[str, torch.Tensor], outputs: list[str], fixed: set[str] = frozenset()
) -> bytes:
    """ONNX bytes of an inference module; dimension 0 of every input and output is dynamic and called N.

    An input of rank 2 named `*_ids` also has a dynamic width; the shape of those named in `fixed` is the example's.
    """
    module = module.eval()
    batch = torch.export.Dim('N')
    shapes = {}
    for name, tensor in example.items():
        dims = {} if name in fixed else {0: batch}
        if name.endswith('_ids') and tensor.dim() == 2:
            dims[1] = torch.export.Dim(f'{name}_width')
        shapes[name] = dims
    program = torch.onnx.export(
        module,
        (),
        kwargs=example,
        input_names=list(example),
        output_names=outputs,
        dynamic_shapes=shapes,
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    out = io.BytesIO()
    program.save(out)
    return without_metadata(out.getvalue())


def loosen(onnx_bytes: bytes, name: str) -> bytes:
    """Lets an input that was exported with one row have one for each candidate too."""
    model = onnx.load_from_string(onnx_bytes)
    found = next(i for i in model.graph.input if i.name == name)
    found.type.tensor_type.shape.dim[0].dim_param = 'M'
    del model.graph.value_info[:]
    return model.SerializeToString()


def without_metadata(onnx_bytes: bytes) -> bytes:
    """The same graph without what the exporter notes about its source (stack traces with paths of the machine)."""
    model = onnx.load_from_string(onnx_bytes)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        del part.metadata_props[:]
        part.doc_string = ''
    model.producer_name, model.producer_version = 'feedrank', ''
    return model.SerializeToString()


def open_session(onnx_bytes: bytes) -> ort.InferenceSession:
    """One thread, as a feed worker runs it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(onnx_bytes, options, providers=['CPUExecutionProvider'])


def measure_ms(session: ort.InferenceSession, inputs: dict[str, np.ndarray], rows: int = 1000, runs: int = 40) -> float:
    """ms of one run of `rows` rows, the tenth percentile: what others do on the machine only adds to it.

    Inputs of one row, a request's own, stay as they are.
    """
    first = next(iter(inputs.values()))
    part = {k: np.resize(v, (rows, *v.shape[1:])) if len(v) == len(first) else v for k, v in inputs.items()}
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        session.run(None, part)
        times.append(time.perf_counter() - began)
    return round(float(np.percentile(times, 10)) * 1000, 3)


def run_onnx(onnx_bytes: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = open_session(onnx_bytes)
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))


def _golden_tensor(array: np.ndarray) -> dict:
    flat = array.reshape(-1)
    data = [round(float(v), 7) for v in flat] if array.dtype == np.float32 else [int(v) for v in flat]
    return {'dims': list(array.shape), 'type': TYPES[array.dtype], 'data': data}


def write_model(
    folder: Path,
    onnx_bytes: bytes,
    manifest: dict,
    golden_inputs: dict[str, np.ndarray],
    golden_outputs: dict[str, np.ndarray] | None = None,
    tolerance: float = GOLDEN_TOLERANCE,
    more_files: dict[str, bytes] | None = None,
) -> Path:
    """Writes models/<name>/<version> so that a reader sees the old folder or the new one, never half of each.

    manifest needs name, version and kind; createdAt, files, inputs and outputs are filled in here. golden_outputs are
    computed with ONNX Runtime when absent. more_files: listed beside model.onnx, by name.
    """
    folder = Path(folder)
    golden_outputs = golden_outputs or run_onnx(onnx_bytes, golden_inputs)
    for name, value in golden_outputs.items():
        if not np.isfinite(value).all():
            raise SystemExit(f'{folder}: output {name} is not finite; nothing was written')
    golden = {
        'inputs': {k: _golden_tensor(v) for k, v in golden_inputs.items()},
        'outputs': {k: _golden_tensor(v) for k, v in golden_outputs.items()},
        'tolerance': tolerance,
    }
    files = {'model.onnx': onnx_bytes, 'golden.json': (json.dumps(golden) + '\n').encode(), **(more_files or {})}
    manifest = {
        **manifest,
        'createdAt': datetime.now(timezone.utc).isoformat(timespec='milliseconds').replace('+00:00', 'Z'),
        'inputs': manifest.get('inputs', list(golden_inputs)),
        'outputs': manifest.get('outputs', list(golden_outputs)),
        'files': {k: {'sha256': hashlib.sha256(v).hexdigest(), 'bytes': len(v)} for k, v in files.items()},
    }
    files['manifest.json'] = (json.dumps(manifest, indent=2) + '\n').encode()
    staging = folder.parent / f'.{folder.name}.{os.getpid()}'
    staging.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (staging / name).write_bytes(data)
    if folder.exists():
        retired = folder.parent / f'.{folder.name}.old.{os.getpid()}'
        folder.rename(retired)
        staging.rename(folder)
        for path in retired.iterdir():
            path.unlink()
        retired.rmdir()
    else:
        staging.rename(folder)
    return folder


class Progress:
    """One line every few seconds: what, how far, the last figures, time left."""

    def __init__(self, label: str, total: int, every_seconds: float = 5.0, done: int = 0):
        self.label, self.total, self.every, self.first = label, total, every_seconds, done
        self.began = self.last = time.monotonic()

    def update(self, done: int, note: str = '') -> None:
        now = time.monotonic()
        if now - self.last < self.every and done < self.total:
            return
        self.last = now
        pace = max(done - self.first, 1) / max(now - self.began, 1e-3)
        print(f'{self.label} {done}/{self.total}  {note}  {pace:.1f}/s, ETA {(self.total - done) / pace:.0f} s', flush=True)


def bags(offsets: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Picks rows of a CSR table: flat int64 ids and offsets [len(rows) + 1]."""
    lengths = offsets[rows + 1] - offsets[rows]
    ends = np.cumsum(lengths)
    where = np.arange(ends[-1] if len(ends) else 0) + np.repeat(offsets[rows] - (ends - lengths), lengths)
    return torch.from_numpy(ids[where].astype(np.int64)), torch.from_numpy(np.concatenate([[0], ends]).astype(np.int64))
