"""Click-through architectures over one embedding table: ids [B, F] -> logits [B].

Floors: LR, FM (Rendle, 2010). MLP; DCN-v2, parallel (Wang et al., 2021); FinalMLP (Mao et al., 2023); MaskNet, parallel
(Wang et al., 2021). A bag of features becomes two fields: its sum and its pairwise interactions (He and Chua, 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FLOORS = ('LR', 'FM')
# The first scouts: the cheapest step of the four, and the best of them in most BARS tables.
ARCHITECTURES = ('FinalMLP', 'MLP', 'DCN-v2', 'MaskNet')
# FuxiCTR's initialiser, the code behind the BARS tables (2022).
INITIAL_STD = 1e-4
# Fields that the label means are mapped into, at most.
MOST_MEAN_FIELDS = 8
# Beyond this width a full matrix of a cross layer, or of a mask, would be larger than all the rest.
FULL_RANK_WIDTH = 1024
LOW_RANK = 64


@dataclass(frozen=True)
class Settings:
    architecture: str
    dim: int = 10
    l2: float = 1e-3
    dropout: float = 0.2
    lr: float = 1e-3
    batch: int = 4096
    hidden: tuple[int, ...] = (400, 400, 400)
    # Cross layers (DCN-v2), heads (FinalMLP), blocks (MaskNet); the others have no use for it.
    parts: int = 3
    # Ids that fewer rows of training hold are taken as unseen.
    min_count: int = 1
    # Whether the label means and counts of the features go in beside the ids (scripts/train/ctr_means.py).
    means: bool = False


class Table(nn.Module):
    """[size, dim] weights; sparse gradients where a dense step over the whole table would dominate."""

    def __init__(self, size: int, dim: int, sparse: bool):
        super().__init__()
        self.sparse = sparse
        self.weight = nn.Parameter(torch.randn(size, dim) * INITIAL_STD)

    def forward(self, ids: Tensor, values: Tensor | None) -> Tensor:
        rows = F.embedding(ids, self.weight, sparse=self.sparse)
        return rows if values is None else rows * values.unsqueeze(2)


class CtrModel(nn.Module):
    def __init__(self, settings: Settings, size: int, fields: int, bag: bool, contexts: tuple[int, int], sparse: bool):
        super().__init__()
        self.bag, self.dim = bag, settings.dim
        floor = settings.architecture in FLOORS
        self.bias = nn.Parameter(torch.zeros(1))
        self.first = Table(size, 1, sparse) if floor else None
        self.table = None if settings.architecture == 'LR' else Table(size, settings.dim, sparse)
        places = 2 if bag else fields
        self.means = None
        if settings.means:
            extra = min(MOST_MEAN_FIELDS, -(-2 * fields // settings.dim))
            self.means = nn.Linear(2 * fields, extra * settings.dim)
            places += extra
        self.net = None if floor else network(settings, places, (0, 1) if bag else contexts)

    def tables(self) -> list[Table]:
        return [table for table in (self.first, self.table) if table is not None]

    def forward(self, ids: Tensor, values: Tensor | None, means: Tensor | None) -> Tensor:
        logits = self.bias
        if self.first is not None:
            logits = logits + self.first(ids, values).sum(dim=(1, 2))
        if self.table is None:
            return logits
        rows = self.table(ids, values)
        if self.net is None or self.bag:
            total = rows.sum(dim=1)
            pairs = (total * total - (rows * rows).sum(dim=1)) / 2
            if self.net is None:
                return logits + pairs.sum(dim=1)
            rows = torch.stack([total, pairs], dim=1)
        if self.means is not None:
            rows = torch.cat([rows, self.means(means).view(len(ids), -1, rows.shape[2])], dim=1)
        return logits + self.net(rows)


class Dropout(nn.Module):
    """Masks are windows at random offsets into one long draw: new draws were a fifth of a step's time."""

    SPARE = 1_000_003

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate
        self.drawn = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        if len(self.drawn) < x.numel() + self.SPARE or self.drawn.dtype != x.dtype:
            kept = torch.rand(x.numel() + self.SPARE) >= self.rate
            self.drawn = kept.to(x.dtype) / (1 - self.rate)
        start = int(torch.randint(len(self.drawn) - x.numel(), (1,)))
        return x * self.drawn[start : start + x.numel()].view_as(x)


class Head(nn.Linear):
    """In float32 under autocast too: scores of half precision would tie."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast('cpu', enabled=False):
            return super().forward(x.float())


def mlp(width: int, hidden: tuple[int, ...], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(width, units), nn.BatchNorm1d(units), nn.ReLU()]
        if dropout > 0:
            layers.append(Dropout(dropout))
        width = units
    return nn.Sequential(*layers)


def network(settings: Settings, fields: int, contexts: tuple[int, int]) -> nn.Module:
    kinds = {'MLP': Deep, 'DCN-v2': CrossDeep, 'MaskNet': Masked}
    if settings.architecture == 'FinalMLP':
        return TwoStream(settings, fields, contexts)
    return kinds[settings.architecture](settings, fields)


class Deep(nn.Module):
    def __init__(self, settings: Settings, fields: int):
        super().__init__()
        self.hidden = mlp(fields * settings.dim, settings.hidden, settings.dropout)
        self.out = Head(settings.hidden[-1], 1)

    def forward(self, rows: Tensor) -> Tensor:
        return self.out(self.hidden(rows.flatten(1))).squeeze(1)


def square(width: int) -> nn.Module:
    """A map of a width onto itself; of low rank where it is wide (Wang et al., 2021)."""
    if width <= FULL_RANK_WIDTH:
        return nn.Linear(width, width)
    return nn.Sequential(nn.Linear(width, LOW_RANK, bias=False), nn.Linear(LOW_RANK, width))


class CrossDeep(nn.Module):
    def __init__(self, settings: Settings, fields: int):
        super().__init__()
        width = fields * settings.dim
        self.cross = nn.ModuleList(square(width) for _ in range(settings.parts))
        self.hidden = mlp(width, settings.hidden, settings.dropout)
        self.out = Head(width + settings.hidden[-1], 1)

    def forward(self, rows: Tensor) -> Tensor:
        first = rows.flatten(1)
        crossed = first
        for layer in self.cross:
            crossed = first * layer(crossed) + crossed
        return self.out(torch.cat([crossed, self.hidden(first)], dim=1)).squeeze(1)


class TwoStream(nn.Module):
    """Two gated streams joined by a bilinear form in several heads. `contexts`: the fields that set the gates.

    The last of `hidden` is the second stream's only layer, those before it are the first's.
    """

    def __init__(self, settings: Settings, fields: int, contexts: tuple[int, int]):
        super().__init__()
        width, units = fields * settings.dim, settings.hidden[0]
        wide, narrow = settings.hidden[-2], settings.hidden[-1]
        self.contexts, self.heads = contexts, settings.parts
        if wide % self.heads or narrow % self.heads:
            raise ValueError(f'{self.heads} heads do not divide {wide} and {narrow}')
        self.gates = nn.ModuleList(
            nn.Sequential(nn.Linear(settings.dim, units), nn.ReLU(), nn.Linear(units, width), nn.Sigmoid())
            for _ in contexts
        )
        self.streams = nn.ModuleList(
            [mlp(width, settings.hidden[:-1], settings.dropout), mlp(width, (narrow,), settings.dropout)]
        )
        self.linear = nn.ModuleList([Head(wide, 1), Head(narrow, 1)])
        self.form = nn.Parameter(torch.empty(self.heads, wide // self.heads, narrow // self.heads))
        nn.init.xavier_normal_(self.form)

    def forward(self, rows: Tensor) -> Tensor:
        flat = rows.flatten(1)
        one, two = (
            stream(flat * (2 * gate(rows[:, context])))
            for stream, gate, context in zip(self.streams, self.gates, self.contexts)
        )
        left = one.view(len(one), self.heads, -1).transpose(0, 1)
        right = two.view(len(two), self.heads, -1).transpose(0, 1)
        with torch.autocast('cpu', enabled=False):
            joined = (torch.bmm(left.float(), self.form) * right.float()).sum(dim=(0, 2))
        return joined + (self.linear[0](one) + self.linear[1](two)).squeeze(1)


class Masked(nn.Module):
    BLOCK = 64
    REDUCTION = 2  # the inner layer of a mask is this many times as wide

    def __init__(self, settings: Settings, fields: int):
        super().__init__()
        width = fields * settings.dim
        inner = min(width * self.REDUCTION, FULL_RANK_WIDTH)
        self.norm = nn.LayerNorm(settings.dim)
        self.masks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, width)) for _ in range(settings.parts)
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, self.BLOCK, bias=False), nn.LayerNorm(self.BLOCK), nn.ReLU())
            for _ in range(settings.parts)
        )
        self.hidden = mlp(self.BLOCK * settings.parts, settings.hidden, settings.dropout)
        self.out = Head(settings.hidden[-1], 1)

    def forward(self, rows: Tensor) -> Tensor:
        flat, normed = rows.flatten(1), self.norm(rows).flatten(1)
        blocks = [block(mask(flat) * normed) for mask, block in zip(self.masks, self.blocks)]
        return self.out(self.hidden(torch.cat(blocks, dim=1))).squeeze(1)
