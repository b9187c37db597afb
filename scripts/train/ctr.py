"""Trains and tests the click-through models of `npm run evaluate -- ctr` on the arrays that it left in --work.

Everything is chosen on the validation rows; the labels of the test rows are used in `report` alone, at the end.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from ctr_calibration import Calibrated, combine, quality, select_members
from ctr_data import SPLITS, CtrData, load
from ctr_fit import Fit, fit
from ctr_lightgbm import Yardstick, train_yardstick
from ctr_means import label_means
from ctr_models import FLOORS, Settings
from ctr_search import Search

# Shares of the seconds after which a part must have ended.
YARDSTICK_UNTIL = 0.1
FLOORS_UNTIL = 0.16
SEARCH_UNTIL = 0.72
REPEAT_UNTIL = 0.95
# Of the published ranges: the floors are light, so their rate is higher (Adam).
FLOOR_PENALTIES = (1e-5, 1e-3, 1e-7, 1e-2)
FLOOR_RATE = 5e-3
# Models that the combination is chosen from.
POOL = 20
UNUSED = {
    'LR': ('dim', 'dropout', 'hidden', 'parts', 'means'),
    'FM': ('dropout', 'hidden', 'parts', 'means'),
    'MLP': ('parts',),
}
JSON_NAMES = {
    'dim': 'embeddingDim',
    'l2': 'embeddingL2',
    'lr': 'learningRate',
    'min_count': 'minCount',
    'means': 'labelMeans',
}


def main() -> None:
    arguments = parse_arguments()
    # The caller's clock: loading Python's libraries is part of the budget.
    began = time.monotonic() - max(0.0, time.time() - arguments.began)
    torch.set_num_threads(arguments.threads)

    def say(text: str) -> None:
        print(f'[{time.monotonic() - began:.0f} s of {arguments.seconds:.0f}] {text}', file=sys.stderr, flush=True)

    def until(share: float) -> float:
        return max(0.5, began + share * arguments.seconds - time.monotonic())

    work = Path(arguments.work)
    data = load(work)
    say(f'{data.fields} fields ({data.structure}), {data.known} ids, {data.test.unseen:.2%} of the test unseen')
    # A bag has no field whose mean could be taken.
    means = None if data.is_bag else label_means(data, arguments.seed)
    yardstick = train_yardstick(data, means, arguments.seed, arguments.threads, until(YARDSTICK_UNTIL))
    say(f'lightgbm: {yardstick.hyperparameters}')
    floors = train_floors(data, arguments.seed, until(FLOORS_UNTIL), say)
    search = Search(data, means, arguments.seed, until(SEARCH_UNTIL), say)
    search.run()
    search.repeat(until(REPEAT_UNTIL))

    result = report(data, search, yardstick, floors)
    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == 'darwin' else 2**10
    result['peakRssMb'] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)
    (work / 'result.json').write_text(json.dumps(result))
    say('done')


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work', required=True, help='folder written by scripts/evaluate/ctr.ts')
    parser.add_argument('--began', type=float, required=True, help='unix seconds at which the budget began')
    parser.add_argument('--seconds', type=float, required=True, help='wall-clock limit from then on')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--threads', type=int, default=2)
    return parser.parse_args()


def train_floors(data: CtrData, seed: int, seconds: float, say) -> list[Fit]:
    best = []
    until = time.monotonic() + seconds
    for i, floor in enumerate(FLOORS):
        settings = Settings(floor, lr=FLOOR_RATE, dropout=0, hidden=(), parts=0)
        share = (until - time.monotonic()) / (len(FLOORS) - i)
        end = time.monotonic() + share
        fits = []
        for penalty in FLOOR_PENALTIES:
            left = end - time.monotonic()
            if fits and left < share / 10:
                break
            fits.append(fit(data, None, replace(settings, l2=penalty), seed, max(0.5, min(left, share / 3))))
        best.append(max(fits, key=lambda f: f.auc))
        say(f'{floor}: validation AUC {best[-1].auc:.5f} at penalty {best[-1].settings.l2:g}')
    return best


def report(data: CtrData, search: Search, yardstick: Yardstick, floors: list[Fit]) -> dict:
    """Choices on the validation labels first, then the figures, each computed once on the test labels."""
    known = data.validation.labels
    pool = sorted(search.fits, key=lambda f: -f.auc)[:POOL]
    calibrated = [Calibrated(f.validation, f.test, known) for f in pool]
    members = select_members(calibrated, known)
    together = combine(calibrated, members, known)
    is_ensemble = len(members) > 1 and together.auc > calibrated[0].auc

    def row(name: str, model: Calibrated, **more) -> dict:
        validation = quality(model.validation, known)
        del validation['ece']  # calibrated there
        test = quality(model.test, data.test.labels)
        return {'name': name, 'validation': validation, 'test': test, **more}

    def fit_row(f: Fit) -> dict:
        model = Calibrated(f.validation, f.test, known)
        more = {'hyperparameters': settings_of(f), 'parameters': f.parameters, 'seed': f.seed}
        raw = quality(f.test, data.test.labels)
        return row(f.settings.architecture, model, **more, uncalibrated={k: raw[k] for k in ('logloss', 'ece')})

    rate = float(data.train.labels.mean())
    constant = [np.full(len(s.labels), np.log(rate / (1 - rate))) for s in (data.validation, data.test)]
    single = {**fit_row(pool[0]), 'trials': len(search.fits)}
    ensemble = row('ensemble', together, members=[member_row(pool[i]) for i in members]) if is_ensemble else None
    headline = ensemble or single
    best = sorted(search.best.values(), key=lambda f: -f.auc)
    return {
        **headline['test'],
        'architecture': headline['name'],
        'hyperparameters': headline['members'] if is_ensemble else headline['hyperparameters'],
        'single': single,
        'ensemble': ensemble,
        'architectures': [architecture_row(fit_row(f), f, search) for f in best],
        'lightgbm': row(
            'lightgbm',
            Calibrated(yardstick.validation, yardstick.test, known),
            hyperparameters=yardstick.hyperparameters,
            trials=yardstick.trials,
        ),
        'floors': [row('constant', Calibrated(*constant, known)), *(fit_row(f) for f in floors)],
        'trials': [
            {**member_row(f), 'epochs': round(f.epochs, 2), 'seconds': round(f.seconds, 1), 'cutOff': f.cut_off}
            for f in search.fits
        ],
        'data': data_row(data),
    }


def architecture_row(row: dict, best: Fit, search: Search) -> dict:
    same = [f for f in search.fits if f.settings.architecture == row['name']]
    return {**row, 'trials': len(same), 'secondsPerEpoch': round(best.seconds_per_epoch, 2)}


def settings_of(f: Fit) -> dict:
    unused = UNUSED.get(f.settings.architecture, ())
    return {JSON_NAMES.get(k, k): v for k, v in asdict(f.settings).items() if k not in unused}


def member_row(f: Fit) -> dict:
    return {**settings_of(f), 'seed': f.seed, 'validationAuc': f.auc}


def data_row(data: CtrData) -> dict:
    splits = {name: getattr(data, name) for name in SPLITS}
    return {
        'structure': data.structure,
        'fields': data.fields,
        'ids': data.known,
        'rows': {name: len(split.labels) for name, split in splits.items()},
        'positiveShare': {name: float(split.labels.mean()) for name, split in splits.items()},
        'unseenShare': {name: split.unseen for name, split in splits.items()},
    }


if __name__ == '__main__':
    main()
