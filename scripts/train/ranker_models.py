"""PyTorch networks of the rankers: features [N, D] -> logits [N, heads], and how they become ONNX.

MLP; DCN-v2, parallel (Wang et al., 2021); FinalMLP (Mao et al., 2023) and MaskNet (Wang et al., 2021) over features as
fields, with the layers of ctr_models.py. Position enters the logits through a shallow tower of its own (Zhao et al.,
2019), so that serving can fix it. The history transformer is in ranker_history.py.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ctr_models
from ranker_calibration import Calibration
from ranker_data import Inputs, TrainingSet
from ranker_history import HistoryNet

UNTRAINED = -30.0  # logit of a head without data
CLIP = 5.0  # normalised features are bounded: a world with larger counts stays in the range that was trained on
ARCHITECTURES = ('MLP', 'DCN-v2', 'FinalMLP', 'MaskNet', 'HistoryTransformer')
# Fields that set FinalMLP's gates: what the user does, and how the post fares.
CONTEXTS = ('user_mix@1', 'post_rates@1')


class Normalise(nn.Module):
    """(x - mean) / std of the training rows, clipped. A constant column becomes 0."""

    def __init__(self, mean: np.ndarray, std: np.ndarray):
        super().__init__()
        self.register_buffer('mean', torch.from_numpy(mean.astype(np.float32)))
        scale = np.where(std > 1e-6, 1 / np.maximum(std, 1e-6), 0)
        self.register_buffer('scale', torch.from_numpy(scale.astype(np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp((x - self.mean) * self.scale, -CLIP, CLIP)


class CrossNet(nn.Module):
    """DCN-v2, parallel. `split` gives what `forward` gives, with the first layers' share of the user's columns, the
    first ones, computed from one row for all candidates."""

    def __init__(self, width: int, heads: int, deep: tuple[int, ...], join: int, cross_layers: int = 2):
        super().__init__()
        self.cross = nn.ModuleList(nn.Linear(width, width) for _ in range(cross_layers))
        for layer in self.cross:
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        self.deep = dense(width, deep)
        self.join = nn.Linear(width + deep[-1], join)
        self.heads = nn.Linear(join, heads)

    def forward(self, x: Tensor) -> Tensor:
        crossed = x
        for layer in self.cross:
            crossed = x * layer(crossed) + crossed
        return self.finish(crossed, self.deep(x))

    def split(self, user: Tensor, post: Tensor) -> Tensor:
        """user [1, U] or [N, U] and post [N, D - U], normalised -> [N, heads]."""
        x = torch.cat([user.expand(post.shape[0], user.shape[1]), post], dim=1)
        crossed = x * halves(self.cross[0], user, post) + x
        for layer in self.cross[1:]:
            crossed = x * layer(crossed) + crossed
        return self.finish(crossed, self.deep[1:](halves(self.deep[0], user, post)))

    def finish(self, crossed: Tensor, deep: Tensor) -> Tensor:
        return self.heads(F.relu(self.join(torch.cat([crossed, deep], dim=1))))


def halves(layer: nn.Linear, user: Tensor, post: Tensor) -> Tensor:
    """layer([user, post]) with the user's share as the summand of one matrix product."""
    columns = user.shape[1]
    return torch.addmm(F.linear(user, layer.weight[:, :columns], layer.bias), post, layer.weight[:, columns:].T)


class DenseNet(nn.Module):
    def __init__(self, width: int, heads: int, hidden: tuple[int, ...]):
        super().__init__()
        self.hidden = dense(width, hidden)
        self.heads = nn.Linear(hidden[-1], heads)

    def forward(self, x: Tensor) -> Tensor:
        return self.heads(self.hidden(x))


class FieldNet(nn.Module):
    """A network over fields [N, F, dim], each a linear map of one feature's columns."""

    def __init__(self, columns: list[tuple[int, int]], dim: int, body: nn.Module):
        super().__init__()
        width = columns[-1][1]
        mask = torch.zeros(len(columns) * dim, width)
        for i, (start, end) in enumerate(columns):
            mask[i * dim : (i + 1) * dim, start:end] = 1
        self.register_buffer('mask', mask)
        # Fan-in is the feature's own width, not that of all.
        self.weight = nn.Parameter(mask * torch.randn_like(mask) / mask.sum(1, keepdim=True).sqrt())
        self.bias = nn.Parameter(torch.zeros(len(mask)))
        self.dim, self.body = dim, body

    @property
    def heads(self) -> nn.Linear:
        return self.body.out

    def forward(self, x: Tensor) -> Tensor:
        return self.body(F.linear(x, self.weight * self.mask, self.bias).unflatten(1, (-1, self.dim)))


class Outputs(nn.Linear):
    """Several outputs in the place of a network's only one, whose axis 1 it will take away: [N, width] -> [N, 1, outputs]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).unsqueeze(1)


class MultiTwoStream(ctr_models.TwoStream):
    """FinalMLP with several outputs: the heads of its bilinear form are not summed but read by one linear layer."""

    def __init__(self, settings: ctr_models.Settings, fields: int, contexts: tuple[int, int], outputs: int):
        super().__init__(settings, fields, contexts)
        del self.linear
        self.out = nn.Linear(settings.hidden[-2] + 2 * settings.hidden[-1], outputs)

    def forward(self, rows: Tensor) -> Tensor:
        flat = rows.flatten(1)
        one, two = (
            stream(flat * (2 * gate(rows[:, context])))
            for stream, gate, context in zip(self.streams, self.gates, self.contexts)
        )
        left = one.unflatten(1, (self.heads, 1, -1))
        right = two.unflatten(1, (self.heads, -1))
        joined = torch.matmul(left, self.form).squeeze(2) * right
        return self.out(torch.cat([one, two, joined.flatten(1)], dim=1))


def dense(width: int, hidden: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(width, units), nn.ReLU()]
        width = units
    return nn.Sequential(*layers)


def make_net(architecture: str, size: str, data: TrainingSet) -> nn.Module:
    """`size`: light, main, large or heavy. Raises SystemExit for a combination that there is not."""
    width, heads, columns = data.x.shape[1], len(data.heads), list(data.at.values())
    heavy = size == 'heavy'
    if size == 'large':
        if architecture != 'DCN-v2':
            raise SystemExit(f'--size large is DCN-v2, not {architecture}')
        return CrossNet(width, heads, (768, 640, 128), 64)
    if size == 'light':
        return DenseNet(width, heads, (24,))
    if architecture == 'MLP':
        return DenseNet(width, heads, (3072, 3072, 512) if heavy else (192, 96))
    if architecture == 'DCN-v2':
        return CrossNet(width, heads, (3072, 3072, 512) if heavy else (128, 64), 512 if heavy else 64)
    if architecture == 'HistoryTransformer':
        return HistoryNet(width, heads, dim=352, layers=6, deep=(2048, 1024, 512)) if heavy else HistoryNet(width, heads)
    if architecture == 'FinalMLP':
        hidden = (2048, 2048, 1024) if heavy else (96, 64, 64)
        settings = ctr_models.Settings(architecture, 32 if heavy else 6, hidden=hidden, parts=4)
        contexts = tuple(data.ids.index(name) if name in data.at else i for i, name in enumerate(CONTEXTS))
        return FieldNet(columns, settings.dim, MultiTwoStream(settings, len(columns), contexts, heads))
    if architecture == 'MaskNet':
        hidden = (2048, 1024) if heavy else (128, 64)
        settings = ctr_models.Settings(architecture, 32 if heavy else 4, hidden=hidden, parts=4 if heavy else 2)
        body = ctr_models.network(settings, len(columns), (0, 1))
        body.out = Outputs(hidden[-1], heads)
        return FieldNet(columns, settings.dim, body)
    raise SystemExit(f'--architecture: {architecture} is none of {", ".join(ARCHITECTURES)}')


class Ranker(nn.Module):
    """Training form: raw features and position in, logits [N, heads] out."""

    def __init__(self, normalise: Normalise, net: nn.Module, base_rates: np.ndarray):
        super().__init__()
        self.normalise, self.net = normalise, net
        rates = np.clip(base_rates, 1e-5, 1 - 1e-5)
        nn.init.zeros_(net.heads.weight)
        with torch.no_grad():
            net.heads.bias.copy_(torch.from_numpy(np.log(rates / (1 - rates)).astype(np.float32)))
        self.position = nn.Linear(2, len(base_rates), bias=False)
        nn.init.zeros_(self.position.weight)

    @property
    def reads_history(self) -> bool:
        return isinstance(self.net, HistoryNet)

    def forward(self, inputs: Inputs) -> Tensor:
        x = self.normalise(inputs.x)
        return (self.net(x, inputs) if self.reads_history else self.net(x)) + self.position(inputs.position)


class RankerExport(Calibration):
    """Inference form: position fixed, calibration inside; a head without data gives 0."""

    def __init__(self, ranker: Ranker, calibration: Calibration, trained: np.ndarray, position: tuple[float, float]):
        fixed = (ranker.position.weight.detach() @ torch.tensor(position)).numpy()
        scale, shift, knots, bends = (getattr(calibration, name).numpy() for name in ('scale', 'shift', 'knots', 'bends'))
        # The fixed position's logits go into shift and knots: nothing is added when serving.
        shift = np.where(trained, scale * fixed + shift, UNTRAINED)
        super().__init__(scale * trained, shift, knots - fixed[:, None], bends * trained[:, None])
        self.normalise, self.net = ranker.normalise, ranker.net

    def finish(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(super().forward(logits))

    def forward(self, features: Tensor) -> Tensor:
        return self.finish(self.net(self.normalise(features)))


class HistoryExport(RankerExport):
    """One user's candidates: features [N, D], post vectors [N, 64]; history [1, H, 64], types and ages [1, H]."""

    def forward(self, features: Tensor, post_vectors: Tensor, history: Tensor, types: Tensor, age_hours: Tensor) -> Tensor:
        x = self.normalise(features)
        nothing = features[:, :2]
        return self.finish(self.net(x, Inputs(features, nothing, post_vectors, history, types.to(torch.int64), age_hours)))


class SplitExport(RankerExport):
    """What is the same for all of a request's candidates as an input of its own, so that its share is computed once:
    user [1, U], features [N, D - U]. A user row for each candidate is read too, by checks over rows of many users."""

    def __init__(self, ranker: Ranker, calibration: Calibration, trained: np.ndarray, position: tuple[float, float], columns: int):
        super().__init__(ranker, calibration, trained, position)
        norm = ranker.normalise
        self.columns = columns
        self.register_buffer('user_mean', norm.mean[:columns].clone())
        self.register_buffer('user_scale', norm.scale[:columns].clone())
        self.register_buffer('post_mean', norm.mean[columns:].clone())
        self.register_buffer('post_scale', norm.scale[columns:].clone())

    def forward(self, user: Tensor, features: Tensor) -> Tensor:
        user = torch.clamp((user - self.user_mean) * self.user_scale, -CLIP, CLIP)
        post = torch.clamp((features - self.post_mean) * self.post_scale, -CLIP, CLIP)
        return self.finish(self.net.split(user, post))
