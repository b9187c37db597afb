"""Interactions and metrics of the retrieval trainer; the folder is written and read by scripts/evaluate/retrieval.ts."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

TOP = 20
SCORE_BLOCK = 512


class Clock:
    """Seconds against a deadline; every search asks it before the next trial."""

    def __init__(self, seconds: float):
        self.start = time.monotonic()
        self.seconds = seconds

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.start

    @property
    def left(self) -> float:
        return self.seconds - self.elapsed

    def say(self, text: str) -> None:
        print(f'  [{self.elapsed:5.0f} s of {self.seconds:.0f}] {text}', file=sys.stderr, flush=True)


def load(folder: Path, name: str) -> sp.csr_matrix:
    """[users, items] float32 of ones from `NAME.shape`, `NAME.start`, `NAME.items` (little-endian uint32)."""
    users, items = (int(n) for n in np.fromfile(folder / f'{name}.shape', dtype='<u4'))
    start = np.fromfile(folder / f'{name}.start', dtype='<u4').astype(np.int64)
    columns = np.fromfile(folder / f'{name}.items', dtype='<u4').astype(np.int64)
    return sp.csr_matrix((np.ones(len(columns), np.float32), columns, start), shape=(users, items))


def recent(pairs: sp.csr_matrix, recency: float) -> sp.csr_matrix:
    """Each row's pairs weighted by (place / length)^recency in the order of the file; the last counts 1, all where 0."""
    lengths = np.diff(pairs.indptr)
    place = np.arange(len(pairs.indices)) - np.repeat(pairs.indptr[:-1], lengths) + 1
    weights = (place / np.repeat(lengths, lengths)) ** recency
    return sp.csr_matrix((weights.astype(np.float32), pairs.indices, pairs.indptr), shape=pairs.shape)


def degrees(pairs: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Users' and items' numbers of pairs, at least 1, float64."""
    users = np.diff(pairs.indptr)
    items = np.bincount(pairs.indices, minlength=pairs.shape[1])
    return np.maximum(users, 1).astype(np.float64), np.maximum(items, 1).astype(np.float64)


class Quality:
    """`objectives` [N]: recall + NDCG of every user, for paired comparisons."""

    def __init__(self, recall: np.ndarray, ndcg: np.ndarray):
        self.recall, self.ndcg = float(recall.mean()), float(ndcg.mean())
        self.objectives = recall + ndcg

    @property
    def objective(self) -> float:
        """What every search maximises: both headline figures count alike."""
        return self.recall + self.ndcg

    def __str__(self) -> str:
        return f'recall@{TOP} {self.recall:.4f} ndcg@{TOP} {self.ndcg:.4f}'


def top_items(scores: torch.Tensor, seen: sp.csr_matrix, users: np.ndarray, k: int) -> torch.Tensor:
    """[N, k] best items of each row of scores [N, items], best first, without the users' own; scores are spoiled."""
    rows = seen[users]
    lengths = np.diff(rows.indptr)
    at = torch.from_numpy(np.repeat(np.arange(len(users)), lengths)), torch.from_numpy(rows.indices.astype(np.int64))
    scores[at] = -torch.inf
    return torch.topk(scores, min(k, scores.shape[1]), dim=1).indices


class Validation:
    """Held-out pairs of a sample of users, and the two metrics over them (protocol of LightGCN, SIGIR 2020)."""

    def __init__(self, fit: sp.csr_matrix, held: sp.csr_matrix, users: np.ndarray):
        self.fit, self.held, self.users = fit, held, users

    def head(self, size: int) -> Validation:
        return Validation(self.fit, self.held, self.users[:size])

    def measure(self, user_vectors: np.ndarray, item_vectors: np.ndarray, base: torch.Tensor | None = None) -> Quality:
        """Of towers: [len(users), D] against [items, D], added to `base` [len(users), items] where there is one."""
        item_side = torch.from_numpy(item_vectors).T
        figures = []
        for low in range(0, len(self.users), SCORE_BLOCK):
            users = self.users[low : low + SCORE_BLOCK]
            scores = torch.from_numpy(user_vectors[low : low + SCORE_BLOCK]) @ item_side
            if base is not None:
                scores += base[low : low + SCORE_BLOCK]
            figures.append(self._figures(top_items(scores, self.fit, users, TOP).numpy(), users))
        return Quality(*np.concatenate(figures).T)

    def _figures(self, top: np.ndarray, users: np.ndarray) -> np.ndarray:
        """[N, 2]: recall and NDCG of every user."""
        discount = 1 / np.log2(np.arange(2, TOP + 2))
        ideal = np.cumsum(discount)
        figures = np.empty((len(users), 2))
        for at, (row, user) in enumerate(zip(top, users)):
            wanted = self.held.indices[self.held.indptr[user] : self.held.indptr[user + 1]]
            hit = np.isin(row, wanted)
            gain = (hit * discount[: len(row)]).sum() / ideal[min(TOP, len(wanted)) - 1]
            figures[at] = hit.sum() / len(wanted), gain
        return figures


def paired_gain(better: np.ndarray, base: np.ndarray) -> tuple[float, float]:
    """Mean of the differences and its standard error; 0 and 0 of fewer than two."""
    if len(better) < 2:
        return 0.0, 0.0
    differences = better - base
    return float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences)))


def unit_spread(user_vectors: np.ndarray, item_vectors: np.ndarray) -> np.ndarray:
    """User vectors scaled so that each user's scores over all items have standard deviation 1 (zero rows stay zero).

    Rankings do not change; scores of different towers become comparable, user by user. [N, D] float32.
    """
    centred = item_vectors - item_vectors.mean(axis=0, keepdims=True)
    covariance = centred.T @ centred / len(item_vectors)
    spread = np.sqrt(np.maximum(np.einsum('nd,nd->n', user_vectors @ covariance, user_vectors), 0))
    return (user_vectors / np.where(spread > 0, spread, 1)[:, None]).astype(np.float32)


def joined(towers: list[tuple[tuple[np.ndarray, np.ndarray], float]]) -> tuple[np.ndarray, np.ndarray]:
    """One tower whose dot product is the weighted sum of the scores of towers of unit spread; again of unit spread."""
    users = np.hstack([user * np.float32(weight) for (user, _), weight in towers])
    items = np.ascontiguousarray(np.hstack([item for (_, item), _ in towers]), dtype=np.float32)
    return unit_spread(users, items), items
