"""Trains the multi-task ranker and the light ranker on a training set written by training-set.ts.

Rows are in time order: the first 80 % train, the next 10 % choose the epoch and calibrate, the last 10 % are reported
on, beside popularity and similarity alone. Missing history and position are trained for by dropping them.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from common import Progress, export_onnx, run_onnx, seed_everything, write_model
from ranker_metrics import auc, calibration_error, log_loss, user_auc
from ranker_models import LightNet, MainNet, Normalise, Ranker, RankerExport

POSITION = 'context_position@1'
MIN_POSITIVES = 20  # a head with fewer in the training rows is not trained and gives 0
EVALUATION_ROWS = 1 << 16


class TrainingSet:
    """features [N, D] without position, position [N, 2], labels [N, H], users [N]; rows in time order."""

    def __init__(self, folder: Path, features: list[str] | None):
        self.meta = json.loads((folder / 'meta.json').read_text())
        rows, columns = self.meta['rows'], self.meta['features']
        width = sum(c['width'] for c in columns)
        self.matrix = matrix = np.memmap(folder / 'features.f32', dtype=np.float32, mode='r', shape=(rows, width))
        self.labels = np.fromfile(folder / 'labels.u8', dtype=np.uint8).reshape(rows, -1)
        self.users = np.fromfile(folder / 'users.u32', dtype=np.uint32)
        offsets, at = {}, 0
        for column in columns:
            offsets[column['id']] = (at, at + column['width'])
            at += column['width']
        self.offsets = offsets
        known = [c['id'] for c in columns if c['id'] != POSITION]
        self.ids = known if features is None else features
        unknown = [i for i in self.ids if i not in known]
        if unknown:
            raise SystemExit(f'--features: not in the training set: {", ".join(unknown)}')
        self.columns = {c['id']: c for c in columns}
        picked = np.concatenate([np.arange(*offsets[i]) for i in self.ids])
        self.x = np.ascontiguousarray(matrix[:, picked])
        self.position = np.array(matrix[:, slice(*offsets[POSITION])]) if POSITION in offsets else np.zeros((rows, 2), np.float32)
        self.at: dict[str, tuple[int, int]] = {}
        at = 0
        for i in self.ids:
            self.at[i] = (at, at + self.columns[i]['width'])
            at += self.columns[i]['width']

    def column(self, name: str, offset: int = 0) -> np.ndarray:
        return self.x[:, self.at[name][0] + offset]

    def mask(self, chosen) -> torch.Tensor:
        mask = torch.zeros(self.x.shape[1])
        for i in self.ids:
            if chosen(i):
                mask[slice(*self.at[i])] = 1
        return mask


class Dropout:
    """Takes whole blocks out of some rows, as serving would see them: no history; no vector of the user."""

    def __init__(self, data: TrainingSet, rate: float):
        self.rate = rate
        self.history = data.mask(lambda i: data.columns[i]['fromHistory'])
        self.vector = data.mask(lambda i: i in ('user_similarity@1', 'hadamard@1'))
        self.cold = data.mask(lambda i: i == 'user_cold@1')

    def __call__(self, x: torch.Tensor, position: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        n = len(x)
        no_history = (torch.rand(n, 1) < self.rate).float()
        no_vector = (torch.rand(n, 1) < self.rate / 2).float()
        x = x * (1 - no_history * self.history) * (1 - no_vector * self.vector)
        x = torch.maximum(x, no_vector * self.cold)
        return x, position * (torch.rand(n, 1) >= self.rate)


def logits(model: Ranker, data: TrainingSet, rows: slice) -> np.ndarray:
    model.eval()
    parts = []
    with torch.no_grad():
        for start in range(rows.start, rows.stop, EVALUATION_ROWS):
            part = slice(start, min(rows.stop, start + EVALUATION_ROWS))
            parts.append(model(torch.from_numpy(data.x[part]), torch.from_numpy(data.position[part])).numpy())
    return np.concatenate(parts)


def train(model: Ranker, data: TrainingSet, split: tuple[int, int], args: argparse.Namespace, label: str, teacher: np.ndarray | None) -> Ranker:
    """Stops when the mean AUC of the validation rows has not risen for `patience` epochs; keeps the best epoch."""
    train_rows, validation = split[0], slice(*split)
    rates = data.labels[:train_rows].mean(0)
    positives = data.labels[:train_rows].sum(0)
    entropy = -(rates * np.log(rates + 1e-9) + (1 - rates) * np.log(1 - rates + 1e-9))
    # Rare heads would drown: each head's loss is divided by the square root of its base entropy.
    weight = torch.from_numpy(np.where(positives >= MIN_POSITIVES, 1 / np.sqrt(entropy + 1e-6), 0).astype(np.float32))
    dropout = Dropout(data, args.dropout)
    steps = math.ceil(train_rows / args.batch)
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.lr, total_steps=steps * args.epochs, pct_start=0.1)
    progress = Progress(label, steps * args.epochs)
    best, best_state, waited = -1.0, None, 0
    for epoch in range(args.epochs):
        model.train()
        order = torch.randperm(train_rows)
        for step in range(steps):
            rows = order[step * args.batch : (step + 1) * args.batch].numpy()
            target = data.labels[rows].astype(np.float32)
            if teacher is not None:
                target = 0.3 * target + 0.7 * teacher[rows]
            x, position = dropout(torch.from_numpy(data.x[rows]), torch.from_numpy(data.position[rows]))
            loss = F.binary_cross_entropy_with_logits(model(x, position), torch.from_numpy(target), reduction='none')
            loss = (loss.mean(0) * weight).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            progress.update(epoch * steps + step + 1, f'epoch {epoch + 1}, loss {loss.item():.4f}')
        scores = logits(model, data, validation)
        values = [auc(scores[:, h], data.labels[validation, h]) for h in range(scores.shape[1]) if weight[h] > 0]
        mean = float(np.mean([v for v in values if v is not None] or [0.5]))
        print(f'{label} epoch {epoch + 1}: validation AUC {mean:.4f}', flush=True)
        if mean > best + 1e-4:
            best, waited = mean, 0
            best_state = {k: v.clone() for k, v in model.state_dict().items()}
        else:
            waited += 1
            if waited >= args.patience:
                break
    model.load_state_dict(best_state)
    return model


def platt(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Scale and shift of the logits that minimise the log loss (Newton); scale stays positive."""
    a, b = 1.0, 0.0
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(a * scores + b, -30, 30)))
        w = np.maximum(p * (1 - p), 1e-9)
        g = np.array([((p - labels) * scores).sum() + 1e-3 * (a - 1), (p - labels).sum() + 1e-3 * b])
        h = np.array([[(w * scores * scores).sum() + 1e-3, (w * scores).sum()], [(w * scores).sum(), w.sum() + 1e-3]])
        step = np.linalg.solve(h, g)
        a, b = a - step[0], b - step[1]
        if np.abs(step).max() < 1e-7:
            break
    return (a, b) if a > 0.05 and np.isfinite(a + b) else (1.0, float(np.log(labels.mean() + 1e-6) - np.log(1e-6 + 1 - labels.mean()) - scores.mean()))


def baselines(data: TrainingSet, rows: slice) -> dict[str, np.ndarray]:
    found = {}
    if 'post_rates@1' in data.at:
        found['popularity'] = data.column('post_rates@1')[rows]
    if 'post_heat@1' in data.at:
        found['heat'] = data.column('post_heat@1', 1)[rows]
    if 'user_similarity@1' in data.at:
        found['similarity'] = data.column('user_similarity@1')[rows]
    return found


def report(data: TrainingSet, rows: slice, probability: np.ndarray, trained: np.ndarray) -> dict:
    figures = {}
    users = data.users[rows]
    for h, head in enumerate(data.meta['heads']):
        if not trained[h]:
            figures[head] = {'trained': False}
            continue
        label = data.labels[rows, h].astype(np.float64)
        figures[head] = {
            'auc': auc(probability[:, h], label),
            'userAuc': user_auc(probability[:, h], label, users),
            'ece': calibration_error(probability[:, h], label),
            'logLoss': log_loss(probability[:, h], label),
            'rate': float(label.mean()),
            'baselineAuc': {k: auc(v if head != 'negative' else -v, label) for k, v in baselines(data, rows).items()},
        }
    return figures


def mean_auc(probability: np.ndarray, data: TrainingSet, rows: slice, trained: np.ndarray) -> float:
    values = [auc(probability[:, h], data.labels[rows, h]) for h in np.flatnonzero(trained)]
    return float(np.mean([v for v in values if v is not None] or [0.5]))


def incumbent_auc(folder: Path | None, data: TrainingSet, rows: slice, trained: np.ndarray) -> float | None:
    """Mean AUC on these rows of the model that serves now; None without one or where the set lacks its features."""
    if folder is None or not (folder / 'manifest.json').exists():
        return None
    ids = json.loads((folder / 'manifest.json').read_text())['features']
    if any(i not in data.offsets for i in ids):
        return None
    picked = np.concatenate([np.arange(*data.offsets[i]) for i in ids])
    features = np.ascontiguousarray(data.matrix[rows][:, picked])
    return mean_auc(run_onnx((folder / 'model.onnx').read_bytes(), {'features': features})['probabilities'], data, rows, trained)


def rounded(value):
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument('--data', type=Path, required=True, help='folder with features.f32, labels.u8, meta.json')
    cli.add_argument('--out', type=Path, default=Path('models'))
    cli.add_argument('--version', required=True)
    cli.add_argument('--light-version', help='version of ranker-light, default: the same')
    cli.add_argument('--incumbent', type=Path, help='ranker that serves now, to compare with on the last rows')
    cli.add_argument('--incumbent-light', type=Path)
    cli.add_argument('--features', help='comma-separated subset of the set (default: all but hadamard@1)')
    cli.add_argument('--epochs', type=int, default=4, help='the learning rate falls to 0 over these; more overfit popularity')
    cli.add_argument('--batch', type=int, default=2048)
    cli.add_argument('--lr', type=float, default=0.002)
    cli.add_argument('--weight-decay', type=float, default=0.02)
    cli.add_argument('--dropout', type=float, default=0.1, help='share of rows without history, without position')
    cli.add_argument('--patience', type=int, default=2)
    cli.add_argument('--seed', type=int, default=1)
    cli.add_argument('--threads', type=int, default=1)
    cli.add_argument('--json', type=Path, help='write the figures')
    args = cli.parse_args()

    seed_everything(args.seed, args.threads)
    chosen = args.features.split(',') if args.features else None
    if chosen is None:
        meta = json.loads((args.data / 'meta.json').read_text())
        chosen = [c['id'] for c in meta['features'] if c['id'] not in (POSITION, 'hadamard@1')]
    data = TrainingSet(args.data, chosen)
    rows = data.meta['rows']
    if rows < 1000:
        raise SystemExit(f'{rows} rows are too few to train a ranker on; 1000 are needed')
    split = (int(rows * 0.8), int(rows * 0.9))
    validation, test = slice(*split), slice(split[1], rows)
    heads = data.meta['heads']
    trained = (data.labels[: split[0]].sum(0) >= MIN_POSITIVES) & (data.labels[validation].sum(0) > 0)
    if not trained.any():
        raise SystemExit(f'no head has {MIN_POSITIVES} positives')
    normalise = Normalise(data.x[: split[0]].mean(0), data.x[: split[0]].std(0))
    rates = data.labels[: split[0]].mean(0)
    known = float(data.position[: split[0], 1].mean())
    fixed = (0.0, 1.0) if known >= 0.5 else (0.0, 0.0)
    golden = {'features': data.x[np.linspace(split[0], rows - 1, 16).astype(int)].copy()}
    figures, comparison, teacher = {}, {}, None
    incumbents = {'ranker': args.incumbent, 'ranker-light': args.incumbent_light}
    nets = (('ranker', MainNet, args.version), ('ranker-light', LightNet, args.light_version or args.version))
    for name, net, version in nets:
        model = Ranker(normalise, net(data.x.shape[1], len(heads)), rates)
        model = train(model, data, split, args, name, teacher)
        scores = logits(model, data, validation)
        fits = [platt(scores[:, h].astype(np.float64), data.labels[validation, h]) if trained[h] else (0.0, 0.0) for h in range(len(heads))]
        scale, shift = np.array([f[0] for f in fits]), np.array([f[1] for f in fits])
        tested = 1 / (1 + np.exp(-(logits(model, data, test) * scale + shift)))
        figures[name] = rounded(report(data, test, tested, trained))
        comparison[name] = rounded({
            'meanAuc': mean_auc(tested, data, test, trained),
            'incumbentMeanAuc': incumbent_auc(incumbents[name], data, test, trained),
        })  # fmt: skip
        if teacher is None:
            teacher = (1 / (1 + np.exp(-logits(model, data, slice(0, split[0]))))).astype(np.float32)
        export = RankerExport(model, scale, shift, trained.astype(np.float64), fixed)
        example = {'features': torch.from_numpy(golden['features'])}
        onnx_bytes = export_onnx(export, example, ['probabilities'])
        with torch.no_grad():
            expected = export(example['features']).numpy()
        if np.abs(run_onnx(onnx_bytes, golden)['probabilities'] - expected).max() > 1e-5:
            raise SystemExit(f'{name}: the exported model differs from the trained one')
        meta = data.meta
        manifest = {
            'name': name,
            'version': version,
            'kind': 'ranker',
            'tower': meta['tower'],
            'userTower': meta['userTower'],
            'features': data.ids,
            'heads': heads,
            'fixedPosition': 0 if fixed[1] else None,
            'metrics': {'test': figures[name], 'parameters': sum(p.numel() for p in model.net.parameters())},
            'data': {k: meta[k] for k in ('rows', 'positives', 'fromMs', 'toMs', 'seed', 'posts')} | {'trainingSeed': args.seed},
        }
        folder = write_model(args.out / name / version, onnx_bytes, manifest, golden)
        print(f'{name}: {folder}, {len(onnx_bytes)} bytes, {comparison[name]}', flush=True)
        for head, f in figures[name].items():
            if f.get('trained', True):
                base = ', '.join(f'{k} {v:.3f}' for k, v in f['baselineAuc'].items() if v is not None)
                print(f'  {head:9} AUC {f["auc"]}  within users {f["userAuc"]}  ECE {f["ece"]}  (alone: {base})', flush=True)
    if args.json:
        args.json.write_text(json.dumps({'figures': figures, 'comparison': comparison}, indent=2) + '\n')


if __name__ == '__main__':
    main()
