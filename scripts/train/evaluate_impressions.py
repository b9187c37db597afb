"""Trains and tests a multi-task ranker on a table of impressions with as-of features, beside LightGBM on the same ones.

Fit on rows before `validationFromMs`, choose on those up to `testFromMs`, refit on both, test on the rest. Written by
scripts/evaluate/replay-as-of.ts; called by `npm run evaluate -- kuairand` and `-- ebnerd`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import lightgbm as lgb
import numpy as np
import torch
import torch.nn.functional as F
from evaluate_lists import RetrievedLists
from ranker_metrics import auc
from torch import Tensor, nn

CLIP = 4.0
# Categories of more values than this are left to their as-of counters in LightGBM, which overfits them.
MOST_CATEGORIES = 400
EVALUATION_ROWS = 16384
# Tried on the validation rows. `wide`: also embed ids of many values (user, item, author).
SETTINGS = (
    {'hidden': 128, 'dropout': 0.2, 'rate': 0.002, 'wide': False},
    {'hidden': 128, 'dropout': 0.3, 'rate': 0.002, 'wide': True},
    {'hidden': 256, 'dropout': 0.4, 'rate': 0.001, 'wide': False},
)
EPOCHS = 12
PATIENCE = 2
MEMBERS = 3  # networks averaged, which differ by seed


class Table:
    def __init__(self, folder: Path):
        meta = json.loads((folder / 'meta.json').read_text())
        self.meta, n = meta, meta['rows']
        self.labels = np.fromfile(folder / 'labels.u8', np.uint8).reshape(n, -1)
        self.ids = np.fromfile(folder / 'ids.i32', np.int32).reshape(n, -1)
        self.numbers = np.fromfile(folder / 'numbers.f32', np.float32).reshape(n, -1)
        self.times = np.fromfile(folder / 'times.f64', np.float64)
        self.groups = np.fromfile(folder / 'groups.i32', np.int32)
        self.sizes = [c['size'] for c in meta['ids']]
        self.train = int(np.searchsorted(self.times, meta['validationFromMs']))
        self.test = int(np.searchsorted(self.times, meta['testFromMs']))
        if not (0 < self.train < self.test < n):
            raise SystemExit('the period is too short: training, validation and test rows are all needed')
        if not np.isfinite(self.numbers).all():
            raise SystemExit('a feature holds a number that is not finite')
        for h, name in enumerate(meta['labels']):
            for part in (slice(0, self.train), slice(self.train, self.test), slice(self.test, n)):
                if len(np.unique(self.labels[part, h])) < 2:
                    raise SystemExit(f'label {name} has one class only in training, validation or test')


def group_auc(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float | None:
    """Mean of the AUC of every group that has both classes. `groups` [N]: equal numbers lie side by side."""
    bounds = np.flatnonzero(np.diff(groups)) + 1
    values = [auc(s, l) for s, l in zip(np.split(scores, bounds), np.split(labels, bounds), strict=True)]
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


class Net(nn.Module):
    """Cross layer and two hidden layers over normalised numbers and id embeddings, one output for each label."""

    def __init__(self, mean: np.ndarray, std: np.ndarray, sizes: list[int], rates: np.ndarray, hidden: int, dropout: float):
        super().__init__()
        self.register_buffer('mean', torch.from_numpy(mean))
        self.register_buffer('scale', torch.from_numpy(np.where(std > 1e-6, 1 / np.maximum(std, 1e-6), 0).astype(np.float32)))
        dims = [min(8, 2 + int(np.log2(size + 1))) for size in sizes]
        self.embeddings = nn.ModuleList(nn.Embedding(size + 1, dim) for size, dim in zip(sizes, dims, strict=True))
        for embedding in self.embeddings:
            nn.init.normal_(embedding.weight, std=0.02)
        width = len(mean) + sum(dims)
        self.cross = nn.Linear(width, width)
        nn.init.normal_(self.cross.weight, std=0.01)
        self.deep = nn.Sequential(
            nn.Dropout(dropout / 2), nn.Linear(width, hidden), nn.SiLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden // 2), nn.SiLU(), nn.Dropout(dropout),
        )  # fmt: skip
        self.heads = nn.Linear(width + hidden // 2, len(rates))
        nn.init.zeros_(self.heads.weight)
        with torch.no_grad():
            self.heads.bias.copy_(torch.from_numpy(np.log(rates / (1 - rates)).astype(np.float32)))

    def forward(self, numbers: Tensor, ids: Tensor) -> Tensor:
        x = torch.clamp((numbers - self.mean) * self.scale, -CLIP, CLIP)
        x = torch.cat([x, *(e(ids[:, k] + 1) for k, e in enumerate(self.embeddings))], dim=1)
        return self.heads(torch.cat([x * self.cross(x) + x, self.deep(x)], dim=1))


class Fitter:
    def __init__(self, table: Table, listwise: bool, threads: int):
        self.table, self.listwise = table, listwise
        torch.set_num_threads(threads)

    def chosen(self, wide: bool) -> list[int]:
        return [k for k, size in enumerate(self.table.sizes) if wide or size <= MOST_CATEGORIES]

    def known_ids(self, columns: list[int], end: int, ids: np.ndarray | None = None) -> np.ndarray:
        """The chosen columns of `ids` [N, K] (default: the table's), rare ones as unknown by the rows before `end`."""
        trained = self.table.ids[:end, columns]
        ids = (self.table.ids if ids is None else ids)[:, columns].copy()
        for c in range(ids.shape[1]):
            counts = np.bincount(trained[:, c] + 1, minlength=self.table.sizes[columns[c]] + 1)
            ids[counts[ids[:, c] + 1] < 3, c] = -1
        return ids

    def fit(self, setting: dict, end: int, epochs: int, seed: int, validate: slice | None, until: float, say):
        """Returns the network, the epochs it was trained for and its validation metric."""
        t = self.table
        torch.manual_seed(seed)
        random = np.random.default_rng(seed)
        columns = self.chosen(setting['wide'])
        ids = self.known_ids(columns, end)
        numbers = t.numbers
        rates = np.clip(t.labels[:end].mean(0), 1e-4, 1 - 1e-4)
        entropy = -(rates * np.log(rates) + (1 - rates) * np.log(1 - rates))
        weight = torch.from_numpy((1 / entropy).astype(np.float32))
        net = Net(numbers[:end].mean(0), numbers[:end].std(0), [t.sizes[k] for k in columns], rates, setting['hidden'], setting['dropout'])
        embeddings = list(net.embeddings.parameters())
        others = [p for p in net.parameters() if not any(p is e for e in embeddings)]
        optimiser = torch.optim.AdamW([{'params': others, 'weight_decay': 0.05}, {'params': embeddings, 'weight_decay': 0.5}], lr=setting['rate'])
        bounds = np.flatnonzero(np.diff(t.groups[:end])) + 1
        starts = np.concatenate([[0], bounds, [end]])
        batch = 256 if self.listwise else 1024
        count = len(starts) - 1 if self.listwise else end
        steps = -(-count // batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, setting['rate'], total_steps=steps * epochs, pct_start=0.1)
        best, best_state, best_epoch, waited = -1.0, None, epochs, 0
        for epoch in range(epochs):
            net.train()
            order = random.permutation(count)
            for step in range(steps):
                chosen = order[step * batch : (step + 1) * batch]
                if self.listwise:
                    lengths = starts[chosen + 1] - starts[chosen]
                    rows = np.concatenate([np.arange(starts[g], starts[g + 1]) for g in chosen])
                else:
                    rows = chosen
                own = ids[rows]
                own[random.random(own.shape) < 0.1] = -1
                out = net(torch.from_numpy(numbers[rows]), torch.from_numpy(own))
                target = torch.from_numpy(t.labels[rows].astype(np.float32))
                loss = (F.binary_cross_entropy_with_logits(out, target, reduction='none').mean(0) * weight).sum()
                if self.listwise:
                    loss = loss + list_loss(out[:, 0], target[:, 0], lengths)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
            if validate is not None:
                reached = self.metric(self.scores(net, ids, validate), validate)
                mean = float(np.mean(list(reached.values())))
                say(f'epoch {epoch + 1}: validation AUC {mean:.4f}')
                if mean > best:
                    best, best_epoch, waited = mean, epoch + 1, 0
                    best_state = {k: v.clone() for k, v in net.state_dict().items()}
                else:
                    waited += 1
                if waited > PATIENCE or time.monotonic() > until:
                    break
        if best_state is not None:
            net.load_state_dict(best_state)
        return net, columns, ids, best_epoch, best

    def scores(self, net: Net, ids: np.ndarray, rows: slice, numbers: np.ndarray | None = None) -> np.ndarray:
        """Logits [rows, labels]; `ids` hold the columns that the net embeds, `numbers` default to the table's."""
        numbers = self.table.numbers if numbers is None else numbers
        net.eval()
        parts = []
        with torch.no_grad():
            for start in range(rows.start, rows.stop, EVALUATION_ROWS):
                part = slice(start, min(rows.stop, start + EVALUATION_ROWS))
                parts.append(net(torch.from_numpy(numbers[part]), torch.from_numpy(ids[part])).numpy())
        return np.concatenate(parts)

    def metric(self, scores: np.ndarray, rows: slice) -> dict[str, float]:
        t = self.table
        found = {}
        for h, name in enumerate(t.meta['labels']):
            labels = t.labels[rows, h]
            found[name] = group_auc(scores[:, h], labels, t.groups[rows]) if self.listwise else auc(scores[:, h], labels)
        return found


def list_loss(scores: Tensor, clicked: Tensor, lengths: np.ndarray) -> Tensor:
    """Softmax over each list against its clicks (ListNet, Cao et al., 2007); scores lie list after list."""
    widest = int(lengths.max())
    at = np.repeat(np.arange(len(lengths)) * widest, lengths) + np.concatenate([np.arange(n) for n in lengths])
    at = torch.from_numpy(at)
    padded = torch.full((len(lengths) * widest,), -1e4).index_copy(0, at, scores).view(-1, widest)
    target = torch.zeros(len(lengths) * widest).index_copy(0, at, clicked).view(-1, widest)
    total = target.sum(1)
    loss = -(F.log_softmax(padded, 1) * target).sum(1)[total > 0] / total[total > 0]
    return loss.mean() if len(loss) else scores.sum() * 0


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


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument('--data', type=Path, required=True)
    cli.add_argument('--json', type=Path, required=True)
    cli.add_argument('--listwise', action='store_true', help='metric: mean AUC within a group; loss: softmax over it too')
    cli.add_argument('--lists', type=Path, help='folder with retrieved lists: their NDCG@50 by each stage and by both')
    cli.add_argument('--seed', type=int, default=1)
    cli.add_argument('--threads', type=int, default=1)
    cli.add_argument('--minutes', type=float, default=15)
    args = cli.parse_args()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f'[{time.monotonic() - began:.0f} s] {text}', flush=True)

    table = Table(args.data)
    fitter = Fitter(table, args.listwise, args.threads)
    validation, test = slice(table.train, table.test), slice(table.test, table.meta['rows'])
    trials, nets = [], []
    for k, setting in enumerate(SETTINGS):
        # The first is always tried; a later one where a third of the time is left for the final fit.
        until = began + args.minutes * 60 * 0.5
        if trials and time.monotonic() > until:
            break
        say(f'setting {k + 1} of {len(SETTINGS)}: {setting}')
        net, _, _, epochs, reached = fitter.fit(setting, table.train, EPOCHS, args.seed, validation, until, say)
        nets.append(net)
        trials.append({'setting': setting, 'epochs': epochs, 'validationAuc': reached})
    chosen = max(trials, key=lambda t: t['validationAuc'])
    lists = RetrievedLists(args.lists, table) if args.lists else None
    if lists:
        lists.tune(fitter, nets[trials.index(chosen)], chosen['setting'])
    scores, finals = 0, []
    for member in range(MEMBERS):
        if member > 0 and time.monotonic() > began + args.minutes * 60 * 0.85:
            break
        say(f'final fit {member + 1} of {MEMBERS}: {chosen["setting"]}, {chosen["epochs"]} epochs')
        net, columns, ids, _, _ = fitter.fit(chosen['setting'], table.test, chosen['epochs'], args.seed + member, None, 0, say)
        finals.append(net)
        scores = scores + 1 / (1 + np.exp(-fitter.scores(net, ids, test)))
    scores = scores / (member + 1)
    say('LightGBM')
    yardstick = np.stack(
        [lightgbm_scores(table, h, args.listwise, args.seed, args.threads) for h in range(table.labels.shape[1])], axis=1
    )
    figures = {
        'auc': fitter.metric(scores, test),
        'lightgbm': fitter.metric(yardstick, test),
        'testRows': test.stop - test.start,
        'trainRows': table.test,
        'positives': {name: int(table.labels[test, h].sum()) for h, name in enumerate(table.meta['labels'])},
        'chosen': chosen,
        'trials': trials,
        'members': member + 1,
        'numbers': table.numbers.shape[1],
        'ids': len(table.sizes),
        'trainSeconds': round(time.monotonic() - began),
    }
    if lists:
        figures['twoStage'] = lists.test(fitter, finals, chosen['setting'])
        say(f'two stages: {figures["twoStage"]}')
    args.json.write_text(json.dumps(figures, indent=2))
    say(f'AUC {figures["auc"]}, LightGBM {figures["lightgbm"]}')


if __name__ == '__main__':
    main()
