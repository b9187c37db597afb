"""Calibration inside the served graph: a monotone map of each head's logits, fitted on validation rows.

Platt scaling (Platt, 1999), and where there are positives enough a correction by straight pieces between quantiles of the
logits (isotonic in spirit, Zadrozny and Elkan, 2002), kept only where it lowers the log loss of rows it was not fitted on.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ctr_calibration import platt, sigmoid
from ranker_metrics import log_loss

KNOTS = 6
POSITIVES_A_PIECE = 150
NEWTON_STEPS = 40
RIDGE = 2.0


class Calibration(nn.Module):
    """logits [N, heads] -> shift + scale * z + sum over k of bend_k * relu(z - knot_k); monotone in z."""

    def __init__(self, scale: np.ndarray, shift: np.ndarray, knots: np.ndarray, bends: np.ndarray):
        super().__init__()
        self.register_buffer('scale', torch.from_numpy(scale.astype(np.float32)))
        self.register_buffer('shift', torch.from_numpy(shift.astype(np.float32)))
        self.register_buffer('knots', torch.from_numpy(knots.astype(np.float32)))
        self.register_buffer('bends', torch.from_numpy(bends.astype(np.float32)))
        self.is_bent = bool(bends.any())

    def forward(self, logits: Tensor) -> Tensor:
        straight = logits * self.scale + self.shift
        if not self.is_bent:
            return straight
        return straight + (torch.relu(logits.unsqueeze(2) - self.knots) * self.bends).sum(2)

    def apply(self, logits: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self(torch.from_numpy(logits)).numpy()


def fit_calibration(logits: np.ndarray, labels: np.ndarray, trained: np.ndarray) -> Calibration:
    """logits and labels [N, heads] of validation rows, in time order; heads that were not trained pass unchanged."""
    heads = logits.shape[1]
    scale, shift = np.ones(heads), np.zeros(heads)
    knots, bends = np.zeros((heads, KNOTS)), np.zeros((heads, KNOTS))
    for h in np.flatnonzero(trained):
        z, y = logits[:, h].astype(np.float64), labels[:, h].astype(np.float64)
        scale[h], shift[h] = straight(z, y)
        if y.sum() < POSITIVES_A_PIECE * KNOTS:
            continue
        even, odd = np.arange(len(z)) // 64 % 2 == 0, np.arange(len(z)) // 64 % 2 == 1
        gain = 0.0
        for fit, held in ((even, odd), (odd, even)):
            a, b = straight(z[fit], y[fit])
            bent = pieces(z[fit], y[fit])
            gain += log_loss(sigmoid(a * z[held] + b), y[held]) - log_loss(sigmoid(bend(bent, z[held])), y[held])
        if gain > 0:
            scale[h], shift[h], knots[h], bends[h] = pieces(z, y)
    return Calibration(scale, shift, knots, bends)


def straight(z: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Platt's scale and shift; a map that would turn the order round is replaced by a shift to the right mean."""
    a, b = platt(z, y)
    if a > 0.05 and np.isfinite(a + b):
        return float(a), float(b)
    rate = np.clip(y.mean(), 1e-6, 1 - 1e-6)
    return 0.05, float(np.log(rate / (1 - rate)) - 0.05 * z.mean())


def bend(map_: tuple[float, float, np.ndarray, np.ndarray], z: np.ndarray) -> np.ndarray:
    scale, shift, knots, bends = map_
    return scale * z + shift + np.maximum(z[:, None] - knots, 0) @ bends


def pieces(z: np.ndarray, y: np.ndarray) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Logistic regression on [z, relu(z - knots)], bends shrunk towards 0, slopes held above 0."""
    order = np.sort(z[y > 0])
    knots = np.quantile(order, np.arange(1, KNOTS + 1) / (KNOTS + 1))
    a, b = straight(z, y)
    design = np.column_stack([z, np.ones_like(z), np.maximum(z[:, None] - knots, 0)])
    weights = np.concatenate([[a, b], np.zeros(KNOTS)])
    ridge = np.concatenate([[1e-3, 1e-3], np.full(KNOTS, RIDGE)])
    for _ in range(NEWTON_STEPS):
        p = sigmoid(design @ weights)
        gradient = design.T @ (p - y) + ridge * (weights - np.concatenate([[a, b], np.zeros(KNOTS)]))
        hessian = (design * (p * (1 - p))[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-7:
            break
    slopes = np.maximum(np.cumsum(np.concatenate([weights[:1], weights[2:]])), 0.05)
    if not np.isfinite(weights).all():
        return a, b, knots, np.zeros(KNOTS)
    # Holding a slope above 0 moves the mean: the shift puts it back.
    held = (float(slopes[0]), float(weights[1]), knots, np.diff(slopes))
    shift = mean_shift(bend(held, z), y)
    return held[0], held[1] + shift, knots, held[3]


def mean_shift(z: np.ndarray, y: np.ndarray) -> float:
    """Shift alone, so that the mean probability is the rate."""
    shift = 0.0
    for _ in range(NEWTON_STEPS):
        p = sigmoid(z + shift)
        step = (p.sum() - y.sum()) / max((p * (1 - p)).sum(), 1e-9)
        shift -= float(np.clip(step, -1, 1))
        if abs(step) < 1e-8:
            break
    return shift
