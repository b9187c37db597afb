"""Statistics of the training labels by feature, for models that take them beside the ids: a smoothed positive rate and
a count for each field. A training row's own come from the other folds, so that it does not see its own label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctr_data import CtrData

FOLDS = 5
# Rows at the overall rate that a mean starts with.
PRIOR_ROWS = 20


@dataclass
class Means:
    """Each [N, 2 F]: the logits of the rates, then ln(1 + rows); standardised by training."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def label_means(data: CtrData, seed: int) -> Means:
    labels, ids = data.train.labels, data.train.ids
    fold_of = np.random.default_rng(seed).integers(0, FOLDS, len(labels))

    def sums(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        some = ids[rows].reshape(-1)
        positives = np.bincount(some, np.repeat(labels[rows], data.fields), data.size)
        return positives, np.bincount(some, minlength=data.size).astype(np.float64)

    def encoded(rows: np.ndarray, positives: np.ndarray, counts: np.ndarray, part: float) -> np.ndarray:
        rate = (positives + PRIOR_ROWS * labels.mean()) / (counts + PRIOR_ROWS)
        logits = np.log(rate / (1 - rate))
        # As many rows as the whole would have.
        return np.hstack([logits[rows], np.log1p(counts / part)[rows]]).astype(np.float32)

    whole = sums(np.arange(len(labels)))
    train = np.empty((len(labels), 2 * data.fields), dtype=np.float32)
    for fold in range(FOLDS):
        inside = np.flatnonzero(fold_of == fold)
        own = sums(inside)
        part = 1 - len(inside) / len(labels)
        train[inside] = encoded(ids[inside], whole[0] - own[0], whole[1] - own[1], part)
    mean, std = train.mean(axis=0), train.std(axis=0)
    scale = np.where(std > 1e-6, 1 / np.maximum(std, 1e-6), 0).astype(np.float32)
    others = [(encoded(split.ids, *whole, 1.0) - mean) * scale for split in (data.validation, data.test)]
    return Means((train - mean) * scale, *others)
