"""Trained tower: a linear history encoder against item vectors, sampled softmax with the logQ correction.

Every step hides half of each user's history and predicts it from the rest (denoising, as in Mult-VAE, Liang et al.,
WWW 2018), against shared negatives drawn by popularity, whose logits are corrected by log(expected count) (Yi et al.,
RecSys 2019). The spectral tower is the start, so that a few epochs on a CPU are enough.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F

from retrieval_data import degrees, unit_spread

USER_BATCH = 512
NEGATIVES = 4096
HIDDEN_SHARE = 0.5


@dataclass(frozen=True)
class SoftmaxOptions:
    """`rate`: Adam's step in units of the mean size of an initial coordinate; `sharpness`: logits per spread unit."""

    rate: float = 0.05
    sharpness: float = 0.3
    epochs: int = 0


class SoftmaxTower:
    """`inward` [items, D], summed over a history, and `outward` [items, D], the candidates."""

    def __init__(self, pairs: sp.csr_matrix, start: tuple[np.ndarray, np.ndarray], options: SoftmaxOptions, seed: int):
        self.pairs, self.options = pairs, options
        self.random = np.random.default_rng(seed)
        inward, outward = (torch.from_numpy(side.copy()) for side in start)
        # Both sides to one scale: a single learning rate then moves both alike.
        inward *= outward.abs().mean() / inward.abs().mean()
        self.inward, self.outward = inward.requires_grad_(), outward.requires_grad_()
        step = options.rate * outward.detach().abs().mean().item()
        self.optimizer = torch.optim.Adam([self.inward, self.outward], lr=step, betas=(0.9, 0.98), foreach=True)
        _, item_degrees = degrees(pairs)
        share = item_degrees / item_degrees.sum()
        self.cumulative = np.cumsum(share)
        self.log_expected = torch.from_numpy(np.log(share * NEGATIVES)).float()
        self.epoch_seconds = 0.0

    def epoch(self, until: float) -> bool:
        """One pass over all users in random order; False where it would not have ended by `until` (monotonic)."""
        began = time.monotonic()
        order = self.random.permutation(np.flatnonzero(np.diff(self.pairs.indptr) > 1))
        for low in range(0, len(order), USER_BATCH):
            if time.monotonic() > until:
                return False
            self._step(order[low : low + USER_BATCH])
        self.epoch_seconds = time.monotonic() - began
        return True

    def estimate_epoch(self) -> float:
        """Seconds of an epoch, from its second step: the first also allocates. Spoils the tower."""
        order = self.random.permutation(np.flatnonzero(np.diff(self.pairs.indptr) > 1))
        self._step(order[:USER_BATCH])
        began = time.monotonic()
        self._step(order[:USER_BATCH])
        return (time.monotonic() - began) * np.ceil(len(order) / USER_BATCH)

    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        return self.inward.detach().numpy().copy(), self.outward.detach().numpy().copy()

    def _step(self, users: np.ndarray) -> None:
        rows = self.pairs[users]
        owner = np.repeat(np.arange(len(users)), np.diff(rows.indptr))
        hidden = self.random.random(len(owner)) < HIDDEN_SHARE
        shown_count = np.bincount(owner[~hidden], minlength=len(users))
        offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(shown_count)[:-1]]).astype(np.int64))
        shown = torch.from_numpy(rows.indices[~hidden].astype(np.int64))
        wanted = torch.from_numpy(rows.indices[hidden].astype(np.int64))
        wanted_by = torch.from_numpy(owner[hidden].astype(np.int64))
        drawn = np.searchsorted(self.cumulative, self.random.random(NEGATIVES) * self.cumulative[-1], side='right')
        negatives = torch.from_numpy(np.minimum(drawn, len(self.cumulative) - 1))

        vectors = F.embedding_bag(shown, self.inward, offsets, mode='sum')
        negative_vectors = self.outward[negatives]
        with torch.no_grad():
            spread = (vectors @ (self.outward - self.outward.mean(0))[negatives].T).std(dim=1, keepdim=True)
        vectors = vectors * (self.options.sharpness / spread.clamp_min(1e-9))
        positive = (vectors[wanted_by] * F.embedding(wanted, self.outward)).sum(dim=1)
        negative = torch.logsumexp(vectors @ negative_vectors.T - self.log_expected[negatives], dim=1)
        # A user counts by the root of what is hidden: long histories neither rule nor vanish.
        weight = torch.from_numpy(np.maximum(np.bincount(owner[hidden], minlength=len(users)), 1.0) ** -0.5).float()
        weight = weight[wanted_by]
        loss = ((torch.logaddexp(negative[wanted_by], positive) - positive) * weight).sum() / weight.sum().clamp_min(1)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def encode(pairs: sp.csr_matrix, sides: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """User [N, D] and item [items, D] vectors, the users' of unit spread."""
    users = np.asarray(pairs @ sides[0], dtype=np.float32)
    return unit_spread(users, sides[1]), sides[1]
