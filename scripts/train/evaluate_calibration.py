"""Calibration of the replays' rankers, and how far from calibrated they are. Called by evaluate_impressions.

Two maps of the logits, both Platt's (1999) scale and shift and neither of which has seen the rows it is applied to: one
fitted once, on the rows before the test; and one that begins there and follows the traffic, refitted each hour of the test
on the test's rows known by then. Rates of click move by several hundredths from day to
day (KuaiRand: .435 to .461), which no map of yesterday can know.
"""

from __future__ import annotations

import numpy as np

from ctr_calibration import platt, sigmoid
from ranker_metrics import calibration_error

HOUR_MS = 3_600_000
# Weight of a row halves with its age: rates move within the day. From 1 to 6 hours makes no difference that is not chance.
HALF_LIFE_MS = 3 * HOUR_MS
# Outcomes are known this long after an impression, at the latest: what is newer is not used.
KNOWN_AFTER_MS = 10 * 60_000
BINS = 15
DRAWS = 200


def fit_once(before: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[2, heads] scale and shift from the logits [N, heads] of rows that the networks were not fitted on."""
    return np.array([platt(before[:, h], labels[:, h]) for h in range(before.shape[1])]).T


def follow(logits: np.ndarray, labels: np.ndarray, times: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Probabilities of the test rows [N, heads], each hour by a map fitted on the rows of the test known before it."""
    out = np.empty(logits.shape)
    hours = np.floor((times - times[0]) / HOUR_MS).astype(int)
    for hour in np.unique(hours):
        rows = hours == hour
        now = times[0] + hour * HOUR_MS
        known = np.flatnonzero(times < now - KNOWN_AFTER_MS)
        weights = 0.5 ** ((now - times[known]) / HALF_LIFE_MS)
        for h in range(logits.shape[1]):
            scale, shift = weighted_platt(logits[known, h], labels[known, h], weights, maps[:, h])
            out[rows, h] = sigmoid(logits[rows, h] * scale + shift)
    return out


def weighted_platt(x: np.ndarray, y: np.ndarray, weights: np.ndarray, start: np.ndarray) -> tuple[float, float]:
    """As `platt`, with weights, held near where it starts by what some hundred rows say."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    design = np.stack([x, np.ones_like(x)], axis=1)
    prior = np.array([50.0, 5.0])
    current = start.astype(np.float64)
    for _ in range(30):
        p = sigmoid(design @ current)
        gradient = design.T @ (weights * (p - y)) + prior * (current - start)
        hessian = (design * (weights * p * (1 - p))[:, None]).T @ design + np.diag(prior)
        step = np.linalg.solve(hessian, gradient)
        current = current - step
        if np.abs(step).max() < 1e-8:
            break
    return (float(current[0]), float(current[1])) if current[0] > 0 else (float(start[0]), float(start[1]))


def figures(probability: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, float]:
    """Expected calibration error over bins of equal size, and what it is on average where nothing is wrong."""
    random = np.random.default_rng(seed)
    chance = np.mean([calibration_error(probability, random.random(len(labels)) < probability, BINS) for _ in range(DRAWS)])
    return {
        'ece': calibration_error(probability, labels, BINS),
        'eceOfChance': float(chance),
        'predicted': float(probability.mean()),
        'rate': float(labels.mean()),
    }
