"""The rankers' yardstick: LightGBM (Ke et al., 2017), one booster a head, on the same features, rows and positions."""

from __future__ import annotations

import time

import lightgbm as lgb
import numpy as np

from ranker_calibration import fit_calibration
from ranker_data import TrainingSet
from ranker_report import report, value_ndcg

MOST_ROUNDS = 600
PATIENCE = 20
SETTINGS = {
    'objective': 'binary', 'metric': 'auc', 'learning_rate': 0.12, 'num_leaves': 31, 'min_data_in_leaf': 100, 'lambda_l2': 10.0,
    'feature_fraction': 0.7, 'bagging_fraction': 0.8, 'bagging_freq': 1, 'deterministic': True, 'force_row_wise': True, 'verbosity': -1,
}  # fmt: skip


def lightgbm_report(data: TrainingSet, weights: np.ndarray, seed: int, threads: int) -> dict:
    """Figures of the same shape as a network's; early stopping and calibration on the validation rows."""
    x = np.hstack([data.x, data.position])
    parts = (data.validation, data.test)
    scores = [np.zeros((part.stop - part.start, len(data.heads)), np.float32) for part in parts]
    settings = {**SETTINGS, 'seed': seed, 'num_threads': threads}
    trees, seconds, began = 0, 0.0, time.monotonic()
    train = lgb.Dataset(x[data.train], free_raw_data=False)
    for h in np.flatnonzero(data.trained):
        train.set_label(data.labels[data.train, h])
        held = lgb.Dataset(x[data.validation], data.labels[data.validation, h], reference=train)
        booster = lgb.train(settings, train, MOST_ROUNDS, [held], callbacks=[lgb.early_stopping(PATIENCE, verbose=False)])
        trees += booster.best_iteration
        for part, into in zip(parts, scores, strict=True):
            into[:, h] = booster.predict(x[part], raw_score=True)
        first = time.perf_counter()
        booster.predict(x[:1000], num_threads=1)
        seconds += time.perf_counter() - first
        print(f'LightGBM {data.heads[h]}: {booster.best_iteration} rounds, {time.monotonic() - began:.0f} s', flush=True)
    calibration = fit_calibration(scores[0], data.labels[data.validation], data.trained)
    tested = 1 / (1 + np.exp(-np.clip(calibration.apply(scores[1]), -40, 40))) * data.trained
    test = report(data, data.test, tested)
    return {
        'test': test,
        'meanAuc': float(np.mean([f['auc'] for f in test.values() if f.get('auc') is not None] or [0.5])),
        'valueNdcg10': value_ndcg(data, data.test, tested, weights),
        'msPer1000Rows': seconds * 1000,
        'parameters': trees,
    }
