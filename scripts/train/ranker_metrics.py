"""Figures of a ranker: AUC (over all rows and within each user), NDCG within users, calibration error, log loss."""

from __future__ import annotations

import numpy as np


def auc(score: np.ndarray, label: np.ndarray) -> float | None:
    """Area under the ROC curve by ranks, ties at their mean; None where one class is missing."""
    positives = int(label.sum())
    if positives == 0 or positives == len(label):
        return None
    order = np.argsort(score, kind='stable')
    ordered = score[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    ends = np.append(starts[1:], len(ordered))
    rank = np.empty(len(score))
    rank[order] = np.repeat((starts + 1 + ends) / 2, ends - starts)
    return float((rank[label > 0].sum() - positives * (positives + 1) / 2) / (positives * (len(label) - positives)))


def user_auc(score: np.ndarray, label: np.ndarray, user: np.ndarray) -> float | None:
    """Mean AUC within each user who has both classes, weighted by the user's rows (Zhu et al., 2017)."""
    total = weight = 0.0
    for rows in rows_by_user(user):
        value = auc(score[rows], label[rows])
        if value is not None:
            total += value * len(rows)
            weight += len(rows)
    return total / weight if weight else None


def rows_by_user(user: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(user, kind='stable')
    return np.split(order, np.flatnonzero(np.diff(user[order])) + 1)


def user_ndcg(score: np.ndarray, gain: np.ndarray, user: np.ndarray, k: int = 10) -> float | None:
    """Mean NDCG@k over the rows of each user who has a gain above 0 (Järvelin and Kekäläinen, 2002)."""
    discount = 1 / np.log2(np.arange(k) + 2)
    values = []
    for rows in rows_by_user(user):
        ideal = (np.sort(gain[rows])[::-1][:k] * discount[: len(rows)]).sum()
        if ideal > 0:
            first = rows[np.argsort(-score[rows], kind='stable')[:k]]
            values.append((gain[first] * discount[: len(rows)]).sum() / ideal)
    return float(np.mean(values)) if values else None


def calibration_error(probability: np.ndarray, label: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error over bins of equal size."""
    error = 0.0
    for rows in np.array_split(np.argsort(probability, kind='stable'), bins):
        if len(rows):
            error += abs(probability[rows].mean() - label[rows].mean()) * len(rows)
    return float(error / len(probability))


def log_loss(probability: np.ndarray, label: np.ndarray) -> float:
    p = np.clip(probability, 1e-7, 1 - 1e-7)
    return float(-(label * np.log(p) + (1 - label) * np.log(1 - p)).mean())
