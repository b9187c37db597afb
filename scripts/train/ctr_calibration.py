"""Probabilities out of logits: Platt scaling, and the combination of several models, both fitted on validation."""

from __future__ import annotations

import numpy as np

from ranker_metrics import auc, calibration_error, log_loss

MOST_MEMBERS = 12
LEAST_GAIN = 1e-5
NEWTON_STEPS = 50


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x.astype(np.float64), -40, 40)))


def platt(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Scale and shift of the logits with the least log loss (Platt, 1999), by Newton's method with halved steps."""
    x, y = logits.astype(np.float64), labels.astype(np.float64)
    design = np.stack([x, np.ones_like(x)], axis=1)

    def loss_of(weights: np.ndarray) -> float:
        z = design @ weights
        return float((np.logaddexp(0, z) - y * z).mean()) + 1e-9 * float(weights @ weights)

    weights = np.array([1.0, 0.0])
    loss = loss_of(weights)
    for _ in range(NEWTON_STEPS):
        p = sigmoid(design @ weights)
        gradient = design.T @ (p - y) / len(y) + 2e-9 * weights
        hessian = (design * (p * (1 - p))[:, None]).T @ design / len(y) + 2e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-4 and loss_of(weights - size * step) > loss:
            size /= 2
        weights = weights - size * step if size > 1e-4 else weights
        improved = loss - (loss := loss_of(weights))
        if improved < 1e-10:
            break
    # A model that ranks backwards is not turned round here: that would hide it.
    return (float(weights[0]), float(weights[1])) if weights[0] > 0 else (1.0, 0.0)


class Calibrated:
    """Logits of one model on validation and test, calibrated on validation."""

    def __init__(self, validation: np.ndarray, test: np.ndarray, labels: np.ndarray):
        scale, shift = platt(validation, labels)
        self.validation = validation * scale + shift
        self.test = test * scale + shift
        self.auc = auc(self.validation, labels) or 0.5
        self.scale, self.shift = scale, shift


def quality(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    p = sigmoid(logits)
    return {'auc': auc(logits, labels), 'logloss': log_loss(p, labels), 'ece': calibration_error(p, labels)}


def select_members(models: list[Calibrated], labels: np.ndarray) -> list[int]:
    """Greedy forward selection with replacement on the validation AUC of the mean logit (Caruana et al., 2004)."""
    order = sorted(range(len(models)), key=lambda i: -models[i].auc)
    chosen, total, reached = [order[0]], models[order[0]].validation.copy(), models[order[0]].auc
    while len(chosen) < MOST_MEMBERS:
        scores = {i: auc(total + models[i].validation, labels) for i in order}
        best = max(scores, key=scores.__getitem__)
        if scores[best] < reached + LEAST_GAIN:
            break
        chosen.append(best)
        total += models[best].validation
        reached = scores[best]
    return chosen


def combine(models: list[Calibrated], members: list[int], labels: np.ndarray) -> Calibrated:
    mean = lambda name: np.mean([getattr(models[i], name) for i in members], axis=0)  # noqa: E731
    return Calibrated(mean('validation'), mean('test'), labels)
