"""Trains and tests a multi-task ranker on a table of impressions with as-of features, beside LightGBM on the same ones.

Fit on rows before `validationFromMs`, choose on those up to `testFromMs`, refit on both, test on the rest. Written by
scripts/evaluate/replay-as-of.ts; called by `npm run evaluate -- kuairand` and `-- ebnerd`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

import evaluate_calibration as calibration
from ctr_calibration import sigmoid
from evaluate_export import export
from evaluate_fit import Fitter
from evaluate_lightgbm import lightgbm_scores
from evaluate_lists import TwoStages
from evaluate_table import Table

# Tried on the validation rows. `wide`: also embed ids of many values (user, item, author).
SETTINGS = (
    {'hidden': 128, 'dropout': 0.2, 'rate': 0.002, 'wide': False},
    {'hidden': 128, 'dropout': 0.3, 'rate': 0.002, 'wide': True},
    {'hidden': 256, 'dropout': 0.4, 'rate': 0.001, 'wide': False},
)
EPOCHS = 12
MEMBERS = 3  # networks averaged, which differ by seed


def main() -> None:
    args = parse_arguments()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f'[{time.monotonic() - began:.0f} s] {text}', flush=True)

    table = Table(args.data)
    fitter = Fitter(table, args.listwise, args.threads)
    validation, test = slice(table.train, table.test), slice(table.test, table.meta['rows'])
    trials, nets = [], []
    for k, setting in enumerate(SETTINGS[:1] if args.export else SETTINGS):
        # The first is always tried; a later one where half of the time is left for the final fits.
        until = began + args.minutes * 60 * 0.5
        if trials and time.monotonic() > until:
            break
        say(f'setting {k + 1} of {len(SETTINGS)}: {setting}')
        net, _, ids, epochs, reached = fitter.fit(setting, table.train, EPOCHS, args.seed, validation, until, say)
        nets.append((net, fitter.scores(net, ids, validation)))
        trials.append({'setting': setting, 'epochs': epochs, 'validationAuc': reached})
    chosen = max(trials, key=lambda t: t['validationAuc'])
    setting = chosen['setting']
    held_net, held = nets[trials.index(chosen)]
    maps = calibration.fit_once(held, table.labels[validation])
    lists = TwoStages(args.lists, table.meta['testFromMs']) if args.lists else None
    if lists:
        lists.tune(fitter, held_net, setting, table.train, args.seed)
        say(f'two stages, on the lists before the test: {lists.report}')
    logits, finals = 0, []
    for member in range(1 if args.export else MEMBERS):
        if member > 0 and time.monotonic() > began + args.minutes * 60 * 0.85:
            break
        say(f'final fit {member + 1}: {setting}, {chosen["epochs"]} epochs')
        net, _, ids, _, _ = fitter.fit(setting, table.test, chosen['epochs'], args.seed + member, None, 0, say)
        finals.append(net)
        logits = logits + fitter.scores(net, ids, test)
    logits = logits / len(finals)
    figures = {
        'auc': fitter.metric(logits, test),
        'calibration': calibration_figures(table, maps, logits, args.seed),
        'testRows': test.stop - test.start,
        'trainRows': table.test,
        'positives': {name: int(table.labels[test, h].sum()) for h, name in enumerate(table.meta['labels'])},
        'chosen': chosen,
        'trials': trials,
        'members': len(finals),
        'numbers': table.numbers.shape[1],
        'ids': len(table.sizes),
    }
    if args.export:
        export(args.export, finals, maps, table, args.features.split(','), args.heads.split(','))
    else:
        say('LightGBM')
        yardstick = np.stack(
            [lightgbm_scores(table, h, args.listwise, args.seed, args.threads) for h in range(table.labels.shape[1])], axis=1
        )
        figures['lightgbm'] = fitter.metric(yardstick, test)
    if lists:
        figures['twoStage'] = lists.test(fitter, finals, setting, table.test)
        say(f'two stages: {figures["twoStage"]}')
    figures['trainSeconds'] = round(time.monotonic() - began)
    args.json.write_text(json.dumps(figures, indent=2))
    say(f'AUC {figures["auc"]}, LightGBM {figures.get("lightgbm")}, calibration {figures["calibration"]}')


def parse_arguments() -> argparse.Namespace:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument('--data', type=Path, required=True)
    cli.add_argument('--json', type=Path, required=True)
    cli.add_argument('--listwise', action='store_true', help='metric: mean AUC within a group; loss: softmax over it too')
    cli.add_argument('--lists', type=Path, help='folder with retrieved lists: their NDCG@50 by each stage and by both')
    cli.add_argument('--export', type=Path, help='write one network as a model folder of the service, without LightGBM')
    cli.add_argument('--features', help='with --export: feature@version of the columns, comma-separated')
    cli.add_argument('--heads', help='with --export: outputs of the model, comma-separated; labels are named alike')
    cli.add_argument('--seed', type=int, default=1)
    cli.add_argument('--threads', type=int, default=1)
    cli.add_argument('--minutes', type=float, default=15)
    return cli.parse_args()


def calibration_figures(table: Table, maps: np.ndarray, logits: np.ndarray, seed: int) -> dict:
    """By label: as the networks say it, by the map of before the test, and by the map that follows the traffic."""
    test = slice(table.test, table.meta['rows'])
    labels = table.labels[test]
    followed = calibration.follow(logits, labels, table.times[test], maps)
    found = {}
    for h, name in enumerate(table.meta['labels']):
        kinds = {'raw': sigmoid(logits[:, h]), 'fixed': sigmoid(logits[:, h] * maps[0, h] + maps[1, h]), 'followed': followed[:, h]}
        found[name] = {kind: calibration.figures(p, labels[:, h], seed) for kind, p in kinds.items()}
    return found


if __name__ == '__main__':
    main()
