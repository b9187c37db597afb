"""The yardstick of the click-through evaluation: LightGBM (Ke et al., 2017) on the same features, tuned on validation.

Three forms of the features are tried: one-hot, categories, and categories with out-of-fold label means and counts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import scipy.sparse as sp

from ctr_data import CtrData, Split
from ctr_means import Means
from ranker_metrics import auc

MOST_ROUNDS = 3000
PATIENCE = 40
# Settings of the usual range (LightGBM's own default first), each with every form while time lasts.
TRIALS = (
    {'num_leaves': 31, 'learning_rate': 0.1, 'min_data_in_leaf': 20},
    {'num_leaves': 127, 'learning_rate': 0.1, 'min_data_in_leaf': 50},
    {'num_leaves': 31, 'learning_rate': 0.05, 'min_data_in_leaf': 100, 'lambda_l2': 10.0},
)
# A label mean and a category of this few values carry the same: only smaller fields also stay categories.
MOST_CATEGORIES = 256


@dataclass
class Form:
    name: str
    train: object
    validation: object
    test: object
    categories: list[int]


@dataclass
class Yardstick:
    hyperparameters: dict
    trials: int
    validation: np.ndarray  # raw scores
    test: np.ndarray


def train_yardstick(
    data: CtrData, means: Means | None, seed: int, threads: int, limit_seconds: float
) -> Yardstick:
    until = time.monotonic() + limit_seconds
    makers = [one_hot] if means is None else [with_means, categories, one_hot]
    forms: list[Form] = []
    best, best_auc, trials = None, -1.0, 0
    for setting in TRIALS:
        for i, make in enumerate(makers):
            if trials > 0 and time.monotonic() > until - limit_seconds / 20:
                return best
            if len(forms) <= i:
                forms.append(make(data, means))
            left = until - time.monotonic()
            share = left / max(1, len(TRIALS) * len(makers) - trials) * 2
            rounds, validation, test = boost(data, forms[i], setting, seed, threads, max(1.0, min(left, share)))
            trials += 1
            reached = auc(validation, data.validation.labels)
            if reached is not None and reached > best_auc:
                best_auc = reached
                chosen = {'features': forms[i].name, **setting, 'rounds': rounds}
                best = Yardstick(chosen, trials, validation, test)
    best.trials = trials
    return best


def boost(data: CtrData, form: Form, setting: dict, seed: int, threads: int, seconds: float):
    until = time.monotonic() + seconds

    def stop_in_time(env) -> None:
        if time.monotonic() > until:
            raise lgb.callback.EarlyStopException(env.iteration, env.evaluation_result_list)

    parameters = {
        'objective': 'binary',
        'metric': 'auc',
        'seed': seed,
        'deterministic': True,
        'force_row_wise': True,
        'num_threads': threads,
        'verbosity': -1,
        **setting,
    }
    options = {'categorical_feature': form.categories, 'free_raw_data': False}
    train = lgb.Dataset(form.train, data.train.labels, params=parameters, **options)
    validation = lgb.Dataset(form.validation, data.validation.labels, reference=train, params=parameters, **options)
    stopping = lgb.early_stopping(PATIENCE, verbose=False)
    booster = lgb.train(parameters, train, MOST_ROUNDS, valid_sets=[validation], callbacks=[stopping, stop_in_time])
    # Cut off by the clock: no best round was noted, all rounds count.
    rounds = booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration()
    raw = [booster.predict(rows, num_iteration=rounds, raw_score=True) for rows in (form.validation, form.test)]
    return rounds, raw[0].astype(np.float32), raw[1].astype(np.float32)


def one_hot(data: CtrData, _means: Means | None) -> Form:
    def matrix(split: Split) -> sp.csr_matrix:
        rows, width = split.ids.shape
        values = np.ones(split.ids.size, np.float32) if split.values is None else split.values.reshape(-1)
        indptr = np.arange(0, rows * width + 1, width)
        # Copies: the duplicates are summed in place.
        ids = split.ids.reshape(-1)
        result = sp.csr_matrix((values, ids, indptr), shape=(rows, data.size), copy=True)
        result.sum_duplicates()
        return result

    return Form('one-hot', matrix(data.train), matrix(data.validation), matrix(data.test), [])


def codes(data: CtrData, split: Split) -> np.ndarray:
    """Categories numbered within their field; unseen and absent ones as -1, which LightGBM takes as missing."""
    first = np.searchsorted(data.field_of[: data.known], np.arange(data.fields))
    return np.where(split.ids < data.known, split.ids - first, -1)


def numbers(split: Split) -> list[np.ndarray]:
    """The values, where they are not all 1."""
    return [] if split.values is None else [split.values]


def categories(data: CtrData, _means: Means | None) -> Form:
    tables = [np.hstack([codes(data, s), *numbers(s)]) for s in (data.train, data.validation, data.test)]
    return Form('categories', *tables, list(range(data.fields)))


def with_means(data: CtrData, means: Means | None) -> Form:
    sizes = np.bincount(data.field_of[: data.known], minlength=data.fields)
    small = np.flatnonzero(sizes <= MOST_CATEGORIES)
    pairs = ((data.train, means.train), (data.validation, means.validation), (data.test, means.test))
    tables = [np.hstack([codes(data, split)[:, small], more, *numbers(split)]) for split, more in pairs]
    return Form('categories, out-of-fold label means, counts', *tables, list(range(len(small))))
