"""What is told of a trained ranker: figures of every head on the reported rows, floors beside them, and the comparison
with the model that serves now on rows that neither has learned from.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from common import run_onnx
from ctr_calibration import sigmoid
from ranker_calibration import mean_shift
from ranker_data import TrainingSet, feeds
from ranker_metrics import auc, calibration_error, log_loss, user_auc, user_ndcg

# A newly trained model is worse when its mean AUC lies this far below that of the one that serves, or its mean log loss
# this share above: twice what another seed changes on the demo world.
AUC_TOLERANCE, LOSS_TOLERANCE = 0.002, 0.01
# With fewer rows the difference of two models is noise.
LEAST_ROWS = 500
FEATURES = {'features', 'user'}


def report(data: TrainingSet, rows: slice, probability: np.ndarray) -> dict:
    """By head; a head that was not trained says so."""
    figures, users = {}, data.users[rows]
    for h, head in enumerate(data.heads):
        label = data.labels[rows, h].astype(np.float64)
        if not data.trained[h]:
            figures[head] = {'trained': False, 'rate': float(label.mean())}
            continue
        figures[head] = {
            'auc': auc(probability[:, h], label),
            'userAuc': user_auc(probability[:, h], label, users),
            'ndcg10': user_ndcg(probability[:, h], label, users),
            'ece': calibration_error(probability[:, h], label),
            'logLoss': log_loss(probability[:, h], label),
            'rate': float(label.mean()),
            'baselineAuc': {k: auc(v if head != 'negative' else -v, label) for k, v in baselines(data, rows).items()},
        }
    return figures


def value_ndcg(data: TrainingSet, rows: slice, probability: np.ndarray, weights: np.ndarray) -> float | None:
    """NDCG@10 within users of the order by value, against the value of what they did (at least 0)."""
    gain = np.maximum(data.labels[rows].astype(np.float64) @ weights, 0)
    return user_ndcg(probability @ weights, gain, data.users[rows])


def baselines(data: TrainingSet, rows: slice) -> dict[str, np.ndarray]:
    places = {'popularity': ('post_rates@1', 0), 'heat': ('post_heat@1', 1), 'similarity': ('user_similarity@1', 0)}
    return {k: data.column(*place)[rows] for k, place in places.items() if place[0] in data.at}


def compare_with_serving(folder: Path | None, data: TrainingSet, onnx_bytes: bytes, columns: int = 0) -> dict:
    """Both models as they serve, on the reported rows that the serving one has not learned from.

    Both serve with a fixed position, which moves a head's probabilities all together: log losses are those after a shift.
    """
    own = {'tolerance': {'auc': AUC_TOLERANCE, 'logLoss': LOSS_TOLERANCE}}
    if folder is None or not (folder / 'manifest.json').exists():
        return {**own, 'against': None, 'worse': False}
    manifest = json.loads((folder / 'manifest.json').read_text())
    against = {**own, 'against': f"{manifest['name']}@{manifest['version']}"}
    missing = [i for i in manifest['features'] if i not in data.columns]
    if missing or not set(manifest['inputs']) <= FEATURES:
        return {**against, 'worse': False, 'reason': f'cannot be compared: it reads {", ".join(missing or manifest["inputs"])}'}
    learned = manifest.get('data', {}).get('trainedUntilMs', -np.inf)
    first = max(data.test.start, int(np.searchsorted(data.times, learned)))
    rows = slice(first, data.rows)
    if data.rows - first < LEAST_ROWS:
        return {**against, 'worse': True, 'reason': f'{data.rows - first} rows are newer than what it has learned from, {LEAST_ROWS} are needed'}
    results = {}
    served = sum(data.columns[i]['width'] for i in manifest.get('perRequest', []))
    pairs = (('candidate', onnx_bytes, data.ids, columns), ('incumbent', (folder / 'model.onnx').read_bytes(), manifest['features'], served))
    for who, model, ids, split in pairs:
        p = run_onnx(model, feeds(data.select(ids, rows), split))['probabilities'].astype(np.float64)
        heads = [h for h in np.flatnonzero(data.trained) if auc(p[:, h], data.labels[rows, h]) is not None]
        results[who] = {
            'meanAuc': float(np.mean([auc(p[:, h], data.labels[rows, h]) for h in heads] or [0.5])),
            'logLoss': float(np.mean([shifted_loss(p[:, h], data.labels[rows, h]) for h in heads] or [0.0])),
        }
    new, old = results['candidate'], results['incumbent']
    worse = new['meanAuc'] < old['meanAuc'] - AUC_TOLERANCE or new['logLoss'] > old['logLoss'] * (1 + LOSS_TOLERANCE)
    return {**against, **results, 'rows': data.rows - first, 'fromMs': float(data.times[first]), 'worse': bool(worse)}


def shifted_loss(probability: np.ndarray, label: np.ndarray) -> float:
    """Log loss after the shift of the logits that brings their mean probability to the rate."""
    p = np.clip(probability, 1e-7, 1 - 1e-7)
    logits = np.log(p / (1 - p))
    return log_loss(sigmoid(logits + mean_shift(logits, label)), label)


def rounded(value, digits: int = 4):
    if isinstance(value, dict):
        return {k: rounded(v, digits) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v, digits) for v in value]
    return round(value, digits) if isinstance(value, float) else value
