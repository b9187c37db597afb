"""The replays' multi-task ranker and its training. Called by evaluate_impressions."""

from __future__ import annotations

import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evaluate_table import MOST_CATEGORIES, Table, group_auc
from ranker_metrics import auc

CLIP = 4.0
EVALUATION_ROWS = 16384
PATIENCE = 2


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
