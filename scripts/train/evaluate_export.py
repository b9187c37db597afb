"""A ranker of the service's own features as the model folder that the service opens. Called by evaluate_impressions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from common import export_onnx, write_model
from evaluate_fit import Net
from evaluate_table import Table


class Exported(nn.Module):
    """features [N, D] -> probabilities [N, heads]: calibrated mean of the networks; a head without a label gives 0."""

    def __init__(self, nets: list[Net], maps: np.ndarray, labels: list[str], heads: list[str]):
        super().__init__()
        self.nets = nn.ModuleList(nets)
        scale, shift, on = np.zeros(len(heads)), np.zeros(len(heads)), np.zeros(len(heads))
        place = np.zeros((len(labels), len(heads)))
        for k, label in enumerate(labels):
            h = heads.index(label)
            scale[h], shift[h], on[h], place[k, h] = maps[0, k], maps[1, k], 1, 1
        for name, values in (('scale', scale), ('shift', shift), ('on', on), ('place', place)):
            self.register_buffer(name, torch.from_numpy(values.astype(np.float32)))

    def forward(self, features: Tensor) -> Tensor:
        none = torch.zeros((features.shape[0], 0), dtype=torch.int64)
        logits = sum(net(features, none) for net in self.nets) / len(self.nets)
        return torch.sigmoid(logits @ self.place * self.scale + self.shift) * self.on


def export(folder: Path, nets: list[Net], maps: np.ndarray, table: Table, features: list[str], heads: list[str]) -> None:
    model = Exported(nets, maps, table.meta['labels'], heads).eval()
    rows = np.linspace(0, table.test - 1, 16).astype(int)
    golden = {'features': table.numbers[rows].copy()}
    onnx_bytes = export_onnx(model, {'features': torch.from_numpy(golden['features'])}, ['probabilities'])
    manifest = {'name': 'ranker', 'version': folder.name, 'kind': 'ranker', 'features': features, 'heads': heads}
    write_model(folder, onnx_bytes, manifest, golden)
