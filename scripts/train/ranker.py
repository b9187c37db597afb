"""Trains the multi-task ranker and the light ranker on a training set written by training-set.ts.

Rows are in time order: the first 80 % train, the next 10 % choose the epoch and calibrate, the last 10 % are reported
on, beside popularity and similarity alone. `--compare` trains every architecture and LightGBM on the same rows and ships
the best one within the CPU budget; the light ranker learns from what is shipped. Run by torchrun it is data-parallel.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from checkpoint import Checkpoint, fingerprint_of
from common import export_onnx, loosen, measure_ms, open_session, run_onnx, seed_everything, write_model
from distributed import DEVICES, Team, join
from quantise import LARGE, export_int8, half_stored
from ranker_calibration import fit_calibration
from ranker_data import TrainingSet, feeds
from ranker_fit import Curves, Run, logits, mean_auc, probabilities
from ranker_models import ARCHITECTURES, CrossNet, HistoryExport, Normalise, Ranker, RankerExport, SplitExport, make_net
from ranker_report import compare_with_serving, report, rounded, value_ndcg
from ranker_yardstick import lightgbm_report

CPU_BUDGET_MS = {'main': 5.0, 'light': 0.5}  # per 1000 rows on one core
# Architectures this close in mean AUC on the validation rows are equally good: the fastest of them is shipped.
EQUAL_AUC = 0.0005
GOLDEN_ROWS = 16
HELD_ROWS = 2000  # of the int8 checks
NAMES = {'large': 'ranker-dcn'}  # models that stand beside `ranker` and never serve by themselves
HALF = ('large',)  # sizes whose large matrices are rounded to float16 before calibration: the file is half as long
DISTILLED = ('main',)  # sizes that a light ranker is made from
PRE_RANKED = {'large': 250}  # candidates that the light ranker leaves to this size
EXPORT_TOLERANCE = 1e-5


@dataclass
class Candidate:
    """A trained network and what is known of it; `onnx_bytes` and `figures` on the leading process only."""

    model: Ranker
    validation_auc: float
    curves: Curves
    onnx_bytes: bytes = b''
    figures: dict | None = None
    golden: dict[str, np.ndarray] | None = None


class Trainer:
    def __init__(self, args: argparse.Namespace, data: TrainingSet, team: Team):
        self.args, self.data, self.team = args, data, team
        train = data.x[data.train]
        self.moments, self.rates = (train.mean(0), train.std(0)), data.labels[data.train].mean(0)
        known = float(data.position[data.train][:, 1].mean())
        self.fixed = (0.0, 1.0) if known >= 0.5 else (0.0, 0.0)
        weights = json.loads(args.weights) if args.weights else {h: -1.0 if h == 'negative' else 1.0 for h in data.heads}
        self.weights = np.array([weights.get(h, 0.0) for h in data.heads])

    def fit(self, label: str, architecture: str, size: str, teacher: np.ndarray | None = None) -> Candidate:
        args, data = self.args, self.data
        torch.manual_seed(args.seed)
        net = make_net(architecture, size, data)
        model = Ranker(Normalise(*self.moments), net, self.rates)
        if model.reads_history:
            data.load_history()
        own = ('epochs', 'batch', 'lr', 'weight_decay', 'dropout', 'patience', 'clip', 'seed')
        meta = {k: v for k, v in data.meta.items() if k != 'createdAt'}
        mark = fingerprint_of(label, str(net), data.ids, json.dumps(meta), [getattr(args, k) for k in own], self.team.size, teacher is not None)
        path = args.checkpoints / f'{label}.pt' if args.checkpoints else None
        run = Run(model, data, args, label, self.team, Checkpoint(path, mark))
        model = run.run(teacher).cpu()
        return Candidate(model, run.best, run.curves)

    def finish(self, label: str, found: Candidate) -> None:
        """Calibrates, exports, checks the export, measures."""
        data, model = self.data, found.model
        if self.args.size in HALF:
            round_to_half(model)
        calibration = fit_calibration(logits(model, data, data.validation), data.labels[data.validation], data.trained)
        tested = probabilities(calibration.apply(logits(model, data, data.test))) * data.trained
        parts = (model, calibration, data.trained, self.fixed)
        columns = self.split_columns(model)
        whole = (HistoryExport if model.reads_history else RankerExport)(*parts).eval()
        export = SplitExport(*parts, columns).eval() if columns else whole
        inputs = self.served_inputs(model, np.linspace(data.split[0], data.rows - 1, GOLDEN_ROWS).astype(int))
        if columns:  # one user's candidates, as served
            inputs['features'][:, :columns] = inputs['features'][:1, :columns]
        with torch.no_grad():
            expected = whole(**{k: torch.from_numpy(v) for k, v in inputs.items()}).numpy()
        found.golden = {**inputs, **feeds(inputs['features'], columns, True)} if columns else inputs
        example = {k: torch.from_numpy(v) for k, v in found.golden.items()}
        per_request = {'history', 'types', 'age_hours'} if model.reads_history else {'user'}
        found.onnx_bytes = export_onnx(export, example, ['probabilities'], fixed=per_request & set(example))
        if columns:
            found.onnx_bytes = loosen(found.onnx_bytes, 'user')
        if np.abs(run_onnx(found.onnx_bytes, found.golden)['probabilities'] - expected).max() > EXPORT_TOLERANCE:
            raise SystemExit(f'{label}: the exported model differs from the trained one')
        bent = [data.heads[h] for h in range(len(data.heads)) if calibration.bends[h].any()]
        found.figures = rounded({
            'validationAuc': found.validation_auc,
            'test': report(data, data.test, tested),
            'meanAuc': mean_auc(tested, data, data.test),
            'valueNdcg10': value_ndcg(data, data.test, tested, self.weights),
            'msPer1000Rows': measure_ms(open_session(found.onnx_bytes), found.golden),
            'parameters': sum(p.numel() for p in model.net.parameters()),
            'bytes': len(found.onnx_bytes),
            'calibration': {'map': 'Platt', 'bent': bent},
        })  # fmt: skip

    def split_columns(self, model: Ranker) -> int:
        """Leading columns that are the same for all candidates of a request and an input of their own; 0 = none."""
        return self.data.request_columns if self.args.size == 'large' and isinstance(model.net, CrossNet) else 0

    def served_inputs(self, model: Ranker, rows: np.ndarray) -> dict[str, np.ndarray]:
        """What the exported network reads; with history: that of the first row's page for all of them."""
        found = {'features': self.data.x[rows].copy()}
        if model.reads_history:
            inputs = self.data.inputs(rows, True)
            first = int(inputs.page[0])
            found['post_vectors'] = inputs.vectors.numpy()
            found['history'] = inputs.history[first : first + 1].numpy()
            found['types'] = inputs.types[first : first + 1].numpy().astype(np.int32)
            found['age_hours'] = inputs.hours[first : first + 1].numpy()
        return found

    def write(self, name: str, architecture: str, found: Candidate, incumbent: Path | None, more: dict) -> dict:
        args, data, meta = self.args, self.data, self.data.meta
        calibration_rows = np.linspace(0, data.split[0] - 1, 4096).astype(int)
        held = np.linspace(data.split[1], data.rows - 1, min(HELD_ROWS, data.rows - data.split[1])).astype(int)
        columns = self.split_columns(found.model)
        int8, about_int8 = (None, {'exported': False, 'reason': 'reads the history'}) if found.model.reads_history else export_int8(
            found.onnx_bytes, feeds(data.x[calibration_rows], columns), feeds(data.x[held], columns), self.weights
        )  # fmt: skip
        if int8:
            golden = run_onnx(int8, found.golden)
            more = {**more, 'int8': {**about_int8, 'golden': {k: v.round(5).tolist() for k, v in golden.items()}}}
        if columns:
            more = {**more, 'perRequest': data.per_request, 'preRank': PRE_RANKED[args.size]}
        comparison = rounded(compare_with_serving(incumbent, data, found.onnx_bytes, columns), 5)
        figures = found.figures
        manifest = {
            'name': name,
            'version': args.version,
            'kind': 'ranker',
            'architecture': architecture,
            'tower': meta['tower'],
            'userTower': meta['userTower'],
            'features': data.ids,
            'heads': data.heads,
            'fixedPosition': 0 if self.fixed[1] else None,
            'metrics': {k: figures[k] for k in ('test', 'meanAuc', 'valueNdcg10', 'parameters', 'msPer1000Rows', 'calibration')},
            'comparison': comparison,
            'int8': about_int8,
            'data': {k: meta[k] for k in ('rows', 'positives', 'fromMs', 'toMs', 'seed', 'posts')}
            | {'trainedUntilMs': float(data.times[data.split[1] - 1]), 'testFromMs': float(data.times[data.split[1]]), 'trainingSeed': args.seed},
            **more,
        }
        files = {'model.int8.onnx': int8} if int8 else None
        stored = half_stored(found.onnx_bytes) if args.size in HALF else found.onnx_bytes
        folder = write_model(args.out / name / args.version, stored, manifest, found.golden, more_files=files)
        print(f'{name}: {folder}, {architecture}, {len(stored)} bytes, {figures["msPer1000Rows"]} ms per 1000 rows', flush=True)
        for head, f in figures['test'].items():
            if f.get('trained', True):
                base = ', '.join(f'{k} {v:.3f}' for k, v in f['baselineAuc'].items() if v is not None)
                print(f'  {head:9} AUC {f["auc"]}  within users {f["userAuc"]}  ECE {f["ece"]}  (alone: {base})', flush=True)
        return {**figures, 'architecture': architecture, 'comparison': comparison, 'int8': about_int8}


def round_to_half(model: Ranker) -> None:
    with torch.no_grad():
        for parameter in model.net.parameters():
            if parameter.numel() >= LARGE:
                parameter.copy_(parameter.half().float())


def choose(candidates: dict[str, Candidate], budget: float | None) -> str:
    """The best on the validation rows within the budget; of equals the fastest; the fastest of all where none fits."""
    fits = {k: c for k, c in candidates.items() if not c.model.reads_history and (budget is None or c.figures['msPer1000Rows'] <= budget)}
    if not fits:
        return min((k for k, c in candidates.items() if not c.model.reads_history), key=lambda k: candidates[k].figures['msPer1000Rows'])
    best = max(c.validation_auc for c in fits.values())
    return min((k for k, c in fits.items() if c.validation_auc >= best - EQUAL_AUC), key=lambda k: fits[k].figures['msPer1000Rows'])


def run(args: argparse.Namespace, team: Team) -> None:
    seed_everything(args.seed, args.threads)
    data = TrainingSet(args.data, args.features.split(',') if args.features else None)
    trainer = Trainer(args, data, team)
    names = list(ARCHITECTURES) if args.compare else [args.architecture]
    served_as = NAMES.get(args.size, 'ranker')
    candidates: dict[str, Candidate] = {}
    for name in names:
        candidates[name] = trainer.fit(name if args.compare else served_as, name, args.size)
        if team.leads:
            trainer.finish(name, candidates[name])
    budget = CPU_BUDGET_MS['main'] if args.size == 'main' else None
    chosen = team.agree(choose(candidates, budget) if team.leads and args.compare else names[0])
    main = candidates[chosen]
    figures: dict = {}
    if team.leads:
        figures[served_as] = trainer.write(served_as, chosen, main, args.incumbent, {})
    light = None
    if args.size in DISTILLED:
        teacher = probabilities(logits(main.model, data, data.train)).astype(np.float32)
        light = trainer.fit('ranker-light', 'MLP', 'light', teacher)
        if team.leads:
            trainer.finish('ranker-light', light)
            more = {'distilledFrom': f'ranker@{args.version}'}
            figures['ranker-light'] = trainer.write('ranker-light', 'MLP', light, args.incumbent_light, more)
    if not team.leads:
        return
    everything = {**(candidates if args.compare else {served_as: main}), **({'ranker-light': light} if light else {})}
    table = {k: {**c.figures, 'withinBudget': c.figures['msPer1000Rows'] <= CPU_BUDGET_MS['light' if c is light else 'main']} for k, c in everything.items()}
    if args.compare:
        table['LightGBM'] = rounded(lightgbm_report(data, trainer.weights, args.seed, args.threads))
    result = {
        'figures': figures, 'architectures': table, 'chosen': chosen, 'seed': args.seed, 'workers': team.size,
        'rows': {'train': data.split[0], 'validation': data.split[1] - data.split[0], 'test': data.rows - data.split[1]},
        'curves': {k: c.curves.__dict__ for k, c in everything.items()},
    }  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + '\n')


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument('--data', type=Path, required=True, help='folder with features.f32, labels.u8, meta.json')
    cli.add_argument('--out', type=Path, default=Path('models'))
    cli.add_argument('--version', required=True)
    cli.add_argument('--incumbent', type=Path, help='ranker that serves now, to compare with on the last rows')
    cli.add_argument('--incumbent-light', type=Path)
    cli.add_argument('--features', help='comma-separated subset of the set (default: all but hadamard@1)')
    cli.add_argument('--architecture', choices=ARCHITECTURES, help='default: the best within the CPU budget on the demo world, DCN-v2 for large')
    cli.add_argument('--compare', action='store_true', help='all architectures and LightGBM; ships the best')
    cli.add_argument('--size', choices=('main', 'large', 'heavy'), default='main', help='large: .66 M parameters, the user part once a request; heavy: 10 M and more, for a GPU; neither with a light ranker')
    cli.add_argument('--weights', help='JSON, of each head in the value that ranks; default 1, negative -1')
    cli.add_argument('--epochs', type=int, default=4, help='the learning rate falls to 0 over these; more overfit popularity')
    cli.add_argument('--batch', type=int, default=2048, help='rows of a step, over all workers')
    cli.add_argument('--lr', type=float, default=0.002)
    cli.add_argument('--weight-decay', type=float, default=0.02)
    cli.add_argument('--dropout', type=float, default=0.1, help='share of rows without history, without position')
    cli.add_argument('--clip', type=float, default=5.0, help='largest norm of a gradient')
    cli.add_argument('--patience', type=int, default=2)
    cli.add_argument('--seed', type=int, default=1)
    cli.add_argument('--threads', type=int, default=1)
    cli.add_argument('--device', choices=DEVICES, default='auto')
    cli.add_argument('--checkpoints', type=Path, help='folder; a run with the same data and settings goes on from there')
    cli.add_argument('--checkpoint-seconds', type=float, default=30)
    cli.add_argument('--json', type=Path, help='write the figures')
    args = cli.parse_args()
    args.architecture = args.architecture or ('DCN-v2' if args.size == 'large' else 'MLP')
    team = join(args.device)
    try:
        run(args, team)
    finally:
        team.leave()


if __name__ == '__main__':
    main()
