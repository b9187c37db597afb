"""Trained tower: user and item vectors smoothed over the interaction graph, by a sampled softmax of their cosine.

LightGCN's convolution (He et al., SIGIR 2020) under the softmax loss with uniform negatives (Wu et al., TOIS 2024: it
weighs hard negatives by itself, the more the lower the temperature). The spectral tower is the start, so that a few
epochs on a CPU are enough; it errs elsewhere than the closed-form filters, which is what it is added for.
"""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F

from retrieval_data import degrees

# PyTorch's notice that compressed rows are new to it.
warnings.filterwarnings('ignore', message='Sparse CSR tensor support')

LAYERS = 2
NEGATIVES = 2048
# A step costs two convolutions there and back whatever its batch: few, large steps.
STEPS = 100
LEAST_BATCH, MOST_BATCH = 256, 8192
START_SIZE = 0.1
WARM_UP_EPOCHS = 0.5
LEAST_RATE = 0.05

Vectors = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class ConvolutionOptions:
    """`temperature` of the softmax over cosines, `rate` of Adam (falls by a cosine to a twentieth over the epochs)."""

    temperature: float = 0.1
    rate: float = 0.01
    epochs: int = 0


class ConvolutionTower:
    """`table` [users + items, D] is learned; what is served is its mean over 0 … LAYERS hops, of unit length."""

    def __init__(self, pairs: sp.csr_matrix, start: Vectors, options: ConvolutionOptions, seed: int):
        self.pairs, self.options = pairs, options
        self.random = np.random.default_rng(seed)
        self.users, self.items = pairs.shape
        self.adjacency = adjacency(pairs)
        self.table = torch.nn.Parameter(torch.from_numpy(np.vstack(balanced(start))))
        self.optimizer = torch.optim.Adam([self.table], lr=options.rate, fused=True)
        self.owner = np.repeat(np.arange(self.users), np.diff(pairs.indptr))
        self.batch = min(MOST_BATCH, max(LEAST_BATCH, pairs.nnz // STEPS))
        self.negatives = min(NEGATIVES, self.items)

    def train(self, seconds: float) -> bool:
        """All epochs; False where `seconds` were too few and the rate fell with the clock instead of with the steps."""
        began = time.monotonic()
        steps = max(1, len(self.owner) // self.batch)
        total = steps * self.options.epochs
        for step in range(total):
            if step % steps == 0:
                order = self.random.permutation(len(self.owner))
            progress = max(step / total, (time.monotonic() - began) / seconds)
            if progress >= 1:
                return False
            warm = min(1.0, (step + 1) / (WARM_UP_EPOCHS * steps))
            fall = LEAST_RATE + (1 - LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * progress))
            for group in self.optimizer.param_groups:
                group['lr'] = self.options.rate * warm * fall
            at = step % steps * self.batch
            self._step(order[at : at + self.batch])
        return (time.monotonic() - began) <= seconds

    def estimate_epoch(self) -> float:
        """Seconds of an epoch, from its second step: the first also allocates. Spoils the tower."""
        order = self.random.permutation(len(self.owner))[: self.batch]
        self._step(order)
        began = time.monotonic()
        self._step(order)
        return (time.monotonic() - began) * max(1, len(self.owner) // self.batch)

    def vectors(self) -> Vectors:
        """Users [N, D] and items [items, D], unit rows."""
        with torch.no_grad():
            smoothed = F.normalize(smooth(self.adjacency, self.table), dim=1).numpy()
        return smoothed[: self.users], np.ascontiguousarray(smoothed[self.users :])

    def _step(self, chosen: np.ndarray) -> None:
        table = Smooth.apply(self.adjacency, self.table)
        pick = lambda rows: F.normalize(F.embedding(torch.from_numpy(rows.astype(np.int64)), table), dim=1)  # noqa: E731
        users, wanted = pick(self.owner[chosen]), pick(self.pairs.indices[chosen] + self.users)
        others = pick(self.random.integers(0, self.items, self.negatives) + self.users)
        right = (users * wanted).sum(1) / self.options.temperature
        # As if every item were in the sum: each negative stands for items / negatives of them.
        wrong = torch.logsumexp(users @ others.T / self.options.temperature, 1) + math.log(self.items / self.negatives)
        loss = (torch.logaddexp(right, wrong) - right).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def adjacency(pairs: sp.csr_matrix) -> torch.Tensor:
    """[users + items]² with entries deg(u)^-1/2 deg(i)^-1/2, as LightGCN has it."""
    user_degrees, item_degrees = degrees(pairs)
    half = (sp.diags(user_degrees**-0.5) @ pairs @ sp.diags(item_degrees**-0.5)).tocsr()
    both = sp.bmat([[None, half], [half.T, None]]).tocsr().astype(np.float32)
    both.sort_indices()
    parts = (torch.from_numpy(part) for part in (both.indptr.astype(np.int64), both.indices.astype(np.int64), both.data))
    return torch.sparse_csr_tensor(*parts, size=both.shape, check_invariants=True)


def smooth(matrix: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    total = hop = table
    for _ in range(LAYERS):
        hop = matrix @ hop
        total = total + hop
    return total / (LAYERS + 1)


class Smooth(torch.autograd.Function):
    """`smooth` with its own gradient: the matrix is symmetric, so that it is the same sum."""

    @staticmethod
    def forward(context, matrix: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        context.matrix = matrix
        return smooth(matrix, table)

    @staticmethod
    def backward(context, gradient: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, smooth(context.matrix, gradient)


def balanced(start: Vectors) -> Vectors:
    """Users and items of one scale, column by column: the product of the two sides is theirs up to a factor."""
    users, items = start
    user_sizes, item_sizes = (np.maximum(np.linalg.norm(side, axis=0), 1e-12) for side in (users, items))
    root = np.sqrt(item_sizes / user_sizes)
    scaled = [users * root, items / root]
    return tuple((side * (START_SIZE / max(np.sqrt((side**2).mean()), 1e-12))).astype(np.float32) for side in scaled)
