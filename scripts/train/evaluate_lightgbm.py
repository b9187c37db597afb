"""The yardstick of the replays: LightGBM on the ranker's own features. Called by evaluate_impressions."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np

from evaluate_table import MOST_CATEGORIES, Table, group_auc
from ranker_metrics import auc


def lightgbm_scores(table: Table, head: int, listwise: bool, seed: int, threads: int) -> np.ndarray:
    """Scores of the test rows: rounds chosen on the validation rows, then refitted on those too."""
    columns = [k for k, size in enumerate(table.sizes) if size <= MOST_CATEGORIES]
    x = np.concatenate([table.numbers, table.ids[:, columns].astype(np.float32)], axis=1)
    categories = list(range(table.numbers.shape[1], x.shape[1]))
    y = table.labels[:, head]
    validation = slice(table.train, table.test)
    best, best_value = None, -1.0
    for leaves in (15, 31):
        settings = {
            'objective': 'binary', 'metric': 'auc', 'learning_rate': 0.05, 'num_leaves': leaves, 'min_data_in_leaf': 100,
            'feature_fraction': 0.5, 'bagging_fraction': 0.8, 'bagging_freq': 1, 'lambda_l2': 10.0, 'cat_smooth': 50.0,
            'num_threads': threads, 'seed': seed, 'deterministic': True, 'verbosity': -1,
        }  # fmt: skip
        train = lgb.Dataset(x[: table.train], y[: table.train], categorical_feature=categories, free_raw_data=False)
        held = lgb.Dataset(x[validation], y[validation], reference=train, categorical_feature=categories)
        booster = lgb.train(settings, train, 1500, [held], callbacks=[lgb.early_stopping(40, verbose=False)])
        scores = booster.predict(x[validation])
        value = group_auc(scores, y[validation], table.groups[validation]) if listwise else auc(scores, y[validation])
        if value > best_value:
            best, best_value = (settings, booster.best_iteration), value
    settings, rounds = best
    both = lgb.Dataset(x[: table.test], y[: table.test], categorical_feature=categories)
    return lgb.train(settings, both, rounds).predict(x[table.test :])
