"""Tensors of the click-through rows as one trial takes them: rare ids as unseen, label means beside the ids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctr_data import CtrData, Split


@dataclass
class Inputs:
    ids: Tensor  # [N, F] int32
    values: Tensor | None  # [N, F]
    means: Tensor | None  # [N, 2 F]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: Tensor | slice) -> Inputs:
        return Inputs(
            self.ids[rows],
            None if self.values is None else self.values[rows],
            None if self.means is None else self.means[rows],
        )


class Encoder:
    """Ids that fewer than `min_count` rows of training hold become their field's unseen one.

    Where that leaves the unseen id untrained, training draws it at the rate at which new ids are to be expected.
    """

    def __init__(self, data: CtrData, min_count: int):
        self.unseen = (data.known + data.field_of).astype(np.int32)
        self.remap = np.arange(data.size, dtype=np.int32)
        rare = np.flatnonzero(data.counts[: data.known] < min_count)
        self.remap[rare] = self.unseen[rare]
        self.rates = torch.from_numpy(data.unseen_rates().astype(np.float32)) if min_count == 1 else None
        self.first_absent = data.known + (data.size - data.known) // 2
        self.unseen_of = torch.from_numpy(self.unseen)

    def __call__(self, split: Split, means: np.ndarray | None) -> Inputs:
        values = None if split.values is None else torch.from_numpy(split.values)
        ids = torch.from_numpy(self.remap[split.ids])
        return Inputs(ids, values, None if means is None else torch.from_numpy(means))

    def with_unseen(self, ids: Tensor, generator: torch.Generator) -> Tensor:
        if self.rates is None:
            return ids
        drawn = torch.rand(ids.shape, generator=generator) < self.rates  # a bag has one rate for all its places
        return torch.where(drawn & (ids < self.first_absent), self.unseen_of[ids], ids)


def contexts_of(data: CtrData) -> tuple[int, int]:
    """FinalMLP's gates are set by the user and the item (Mao et al., 2023): the two fields with most ids."""
    sizes = np.bincount(data.field_of[: data.known], minlength=data.fields)
    largest = np.argsort(-sizes, kind='stable')
    return int(largest[0]), int(largest[min(1, len(largest) - 1)])
