"""PyTorch modules of the rankers and their ONNX form: features [N, D] -> probabilities [N, heads].

Main: DCN-v2 (Wang et al., 2021), cross and deep side by side, one linear head for each engagement. Light: one hidden
layer. Position enters the logits through a shallow tower of its own (Zhao et al., 2019), so that serving can fix it.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLIP = 5.0  # normalised features are bounded: a world with larger counts stays in the range that was trained on


class Normalise(nn.Module):
    """(x - mean) / std of the training rows, clipped. A constant column becomes 0."""

    def __init__(self, mean: np.ndarray, std: np.ndarray):
        super().__init__()
        self.register_buffer('mean', torch.from_numpy(mean.astype(np.float32)))
        scale = np.where(std > 1e-6, 1 / np.maximum(std, 1e-6), 0)
        self.register_buffer('scale', torch.from_numpy(scale.astype(np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp((x - self.mean) * self.scale, -CLIP, CLIP)


class MainNet(nn.Module):
    def __init__(self, width: int, heads: int, cross_layers: int = 2, deep: tuple[int, int] = (128, 64), join: int = 64):
        super().__init__()
        self.cross = nn.ModuleList(nn.Linear(width, width) for _ in range(cross_layers))
        for layer in self.cross:
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        self.deep = nn.Sequential(nn.Linear(width, deep[0]), nn.ReLU(), nn.Linear(deep[0], deep[1]), nn.ReLU())
        self.join = nn.Linear(width + deep[1], join)
        self.heads = nn.Linear(join, heads)

    def forward(self, x: Tensor) -> Tensor:
        crossed = x
        for layer in self.cross:
            crossed = x * layer(crossed) + crossed
        joined = torch.cat([crossed, self.deep(x)], dim=1)
        return self.heads(F.relu(self.join(joined)))


class LightNet(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int = 24):
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.heads = nn.Linear(hidden, heads)

    def forward(self, x: Tensor) -> Tensor:
        return self.heads(F.relu(self.hidden(x)))


class Ranker(nn.Module):
    """Training form. x [N, D] raw features; position [N, 2]: ln(1 + position), 1 where it is known."""

    def __init__(self, normalise: Normalise, net: nn.Module, base_rates: np.ndarray):
        super().__init__()
        self.normalise, self.net = normalise, net
        rates = np.clip(base_rates, 1e-5, 1 - 1e-5)
        nn.init.zeros_(net.heads.weight)
        with torch.no_grad():
            net.heads.bias.copy_(torch.from_numpy(np.log(rates / (1 - rates)).astype(np.float32)))
        self.position = nn.Linear(2, len(base_rates), bias=False)
        nn.init.zeros_(self.position.weight)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        return self.net(self.normalise(x)) + self.position(position)


class RankerExport(nn.Module):
    """Inference form: position fixed, Platt calibration (Platt, 1999) inside; a head without data gives 0."""

    def __init__(self, ranker: Ranker, scale: np.ndarray, shift: np.ndarray, trained: np.ndarray, position: tuple[float, float]):
        super().__init__()
        self.normalise, self.net = ranker.normalise, ranker.net
        fixed = ranker.position.weight.detach() @ torch.tensor(position)
        self.register_buffer('scale', torch.from_numpy((scale * trained).astype(np.float32)))
        bias = np.where(trained > 0, scale * fixed.numpy() + shift, -30)
        self.register_buffer('shift', torch.from_numpy(bias.astype(np.float32)))

    def forward(self, features: Tensor) -> Tensor:
        return torch.sigmoid(self.net(self.normalise(features)) * self.scale + self.shift)
