"""NDCG@50 of retrieved lists ordered by the retrieval alone, by the ranker alone, and by both. Called by evaluate_impressions.

Both: a weighted sum of the retrieval's log-probability and the ranker's log-odds, or a network over them and the features,
fitted to what was clicked in earlier lists (softmax over the list: conditional logit, McFadden, 1974; over a drawn part of
it, which leaves the order unbiased). A ranker of impressions alone cannot order a retrieved list: it only ever saw what
was shown. Chosen by likelihood, which is less a matter of chance than NDCG over some hundred lists.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evaluate_fit import CLIP, Fitter, Net

TOP = 50
EPOCHS = 24
BATCH = 32
HIDDEN = 32
# Fewer lists than this teach nothing that holds: a few weights, and a network.
LEAST_LISTS = {'blend': 50, 'network': 500}


class Lists:
    """L lists of S rows as scripts/evaluate/kuairand-lists.ts writes them."""

    def __init__(self, folder: Path):
        meta = json.loads((folder / 'lists.json').read_text())
        self.count, self.size = meta['lists'], meta['size']
        rows = self.count * self.size
        self.numbers = np.fromfile(folder / 'numbers.f32', np.float32).reshape(rows, -1)
        self.ids = np.fromfile(folder / 'ids.i32', np.int32).reshape(rows, -1)
        self.retrieval = np.fromfile(folder / 'retrieval.f32', np.float32).reshape(-1, self.size)
        self.clicked = np.fromfile(folder / 'clicked.u8', np.uint8).reshape(-1, self.size)
        self.times = np.fromfile(folder / 'times.f64', np.float64)

    @property
    def cube(self) -> np.ndarray:
        """The numbers [lists, S, D]."""
        return self.numbers.reshape(self.count, self.size, -1)

    def odds(self, fitter: Fitter, nets: list[Net], setting: dict, part: slice, end: int) -> np.ndarray:
        """Log-odds of the labels [lists, S, labels], averaged over the networks, which were fitted on rows before `end`."""
        rows = slice(part.start * self.size, part.stop * self.size)
        ids = fitter.known_ids(fitter.chosen(setting['wide']), end, self.ids)
        # The service's own features come last, and are for the second stage alone.
        numbers = np.ascontiguousarray(self.numbers[:, : fitter.table.numbers.shape[1]])
        odds = np.mean([fitter.scores(net, ids, rows, numbers) for net in nets], axis=0)
        return odds.reshape(part.stop - part.start, self.size, -1)


def ndcg(scores: np.ndarray, clicked: np.ndarray) -> float:
    """One clicked row a list: 1 / log2(rank + 2) within the top, 0 outside; ties count half before it."""
    gains = []
    for row, marks in zip(scores, clicked, strict=True):
        at = np.flatnonzero(marks)
        if len(at) == 0:
            gains.append(0.0)
            continue
        own = row[at[0]]
        rank = int((row > own).sum() + ((row == own).sum() - 1) // 2)
        gains.append(1 / np.log2(rank + 2) if rank < TOP else 0.0)
    return float(np.mean(gains)) if gains else 0.0


class SecondStage(nn.Module):
    """retrieval + a network over the features and the ranker's log-odds: [L, S, D], [L, S, H], [L, S] -> [L, S]."""

    def __init__(self, mean: np.ndarray, std: np.ndarray):
        super().__init__()
        self.register_buffer('mean', torch.from_numpy(mean))
        scale = np.where(std > 1e-6, 1 / np.maximum(std, 1e-6), 0).astype(np.float32)
        self.register_buffer('scale', torch.from_numpy(scale))
        self.weight = nn.Parameter(torch.ones(1))
        self.linear = nn.Linear(len(mean), 1, bias=False)
        self.deep = nn.Sequential(nn.Dropout(0.1), nn.Linear(len(mean), HIDDEN), nn.SiLU(), nn.Dropout(0.3), nn.Linear(HIDDEN, 1, bias=False))
        for last in (self.linear, self.deep[-1]):
            nn.init.zeros_(last.weight)

    def forward(self, numbers: Tensor, odds: Tensor, retrieval: Tensor) -> Tensor:
        x = torch.cat([numbers, odds, retrieval.unsqueeze(2)], dim=2)
        x = torch.clamp((x - self.mean) * self.scale, -CLIP, CLIP)
        return self.weight * retrieval + (self.linear(x) + self.deep(x)).squeeze(2)


class TwoStages:
    """Fitted on parts of the lists before the test, chosen on later whole ones, also before it."""

    def __init__(self, folder: Path, test_from_ms: float):
        self.parts, self.whole = Lists(folder / 'parts'), Lists(folder / 'whole')
        self.tested = int(np.searchsorted(self.whole.times, test_from_ms))
        self.blend, self.stage, self.report = None, None, {}

    def tune(self, fitter: Fitter, net: Net, setting: dict, end: int, seed: int) -> None:
        """`net` was fitted on the rows before `end`, which are before these lists."""
        if self.tested == 0 or self.parts.count < LEAST_LISTS['blend']:
            return
        choose = slice(0, self.tested)
        odds = self.whole.odds(fitter, [net], setting, choose, end)
        retrieval, clicked = self.whole.retrieval[choose], self.whole.clicked[choose]
        own = self.parts.odds(fitter, [net], setting, slice(0, self.parts.count), end)
        blend = fit_blend(self.parts.retrieval, own, self.parts.clicked)
        alone = fit_blend(self.parts.retrieval, own[..., :0], self.parts.clicked)
        large = self.parts.count >= LEAST_LISTS['network']
        stage, epochs, reached = self.fit(own, odds, seed) if large else (None, 0, None)
        gains = {
            'retrieval': likelihood(blended(alone, retrieval, odds[..., :0]), clicked),
            'blend': likelihood(blended(blend, retrieval, odds), clicked),
            'network': reached,
        }
        # The retrieval alone is there to compare with: these are two stages.
        chosen = 'network' if large and reached > gains['blend'] else 'blend'
        self.blend = blend
        self.stage = stage if chosen == 'network' else None
        self.report = {
            'chosen': chosen,
            'logLikelihood': gains,
            'weights': [round(float(w / blend[0]), 3) for w in blend[1:]],
            'epochs': epochs,
            'learnLists': self.parts.count,
            'chooseLists': self.tested,
        }

    def fit(self, own: np.ndarray, odds: np.ndarray, seed: int) -> tuple[SecondStage, int, float]:
        """The network of the best epoch by the choosing lists, that epoch, and their likelihood. `own`: odds of the parts."""
        lists, choose = self.parts, slice(0, self.tested)
        torch.manual_seed(seed)
        random = np.random.default_rng(seed)
        rows = np.concatenate([lists.cube, own, lists.retrieval[..., None]], axis=2).reshape(lists.count * lists.size, -1)
        stage = SecondStage(rows.mean(0), rows.std(0))
        tensors = [torch.from_numpy(a) for a in (lists.cube, own.astype(np.float32), lists.retrieval)]
        target = torch.from_numpy(lists.clicked.argmax(1))
        optimiser = torch.optim.AdamW(stage.parameters(), lr=1e-3, weight_decay=0.3)
        best, best_epoch, best_state = -np.inf, 0, None
        for epoch in range(EPOCHS):
            stage.train()
            order = torch.from_numpy(random.permutation(lists.count))
            for start in range(0, lists.count, BATCH):
                some = order[start : start + BATCH]
                loss = F.cross_entropy(stage(*(t[some] for t in tensors)), target[some])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            reached = likelihood(self.order(stage, odds, choose), self.whole.clicked[choose])
            if reached > best:
                best, best_epoch, best_state = reached, epoch + 1, {k: v.clone() for k, v in stage.state_dict().items()}
        stage.load_state_dict(best_state)
        return stage, best_epoch, best

    def order(self, stage: SecondStage, odds: np.ndarray, part: slice) -> np.ndarray:
        """Scores [lists, S] of whole lists; `odds` are those of the part."""
        stage.eval()
        with torch.no_grad():
            return np.concatenate([
                stage(*(torch.from_numpy(a[None]) for a in (self.whole.cube[i], odds[i - part.start], self.whole.retrieval[i]))).numpy()
                for i in range(part.start, part.stop)
            ])  # fmt: skip

    def test(self, fitter: Fitter, nets: list[Net], setting: dict, end: int) -> dict:
        part = slice(self.tested, self.whole.count)
        odds = self.whole.odds(fitter, nets, setting, part, end)
        retrieval, clicked = self.whole.retrieval[part], self.whole.clicked[part]
        blend = ndcg(retrieval if self.blend is None else blended(self.blend, retrieval, odds), clicked)
        network = ndcg(self.order(self.stage, odds, part), clicked) if self.stage else None
        return {
            'retrieval': ndcg(retrieval, clicked),
            'ranking': ndcg(odds[..., 0], clicked),
            'twoStage': blend if network is None else network,
            'blend': blend,
            'network': network,
            'lists': part.stop - part.start,
            **self.report,
        }


def blended(weights: np.ndarray, retrieval: np.ndarray, odds: np.ndarray) -> np.ndarray:
    return weights[0] * retrieval + odds @ weights[1:]


def likelihood(scores: np.ndarray, clicked: np.ndarray) -> float:
    """Mean log-probability of the clicked row within its list, over the lists that have it."""
    found = clicked.any(1)
    scores = scores[found].astype(np.float64)
    top = scores.max(1)
    total = top + np.log(np.exp(scores - top[:, None]).sum(1))
    return float((scores[clicked[found] == 1] - total).mean())


def fit_blend(retrieval: np.ndarray, odds: np.ndarray, clicked: np.ndarray) -> np.ndarray:
    """Weights [1 + labels] of the retrieval and of each label's log-odds with the largest likelihood."""
    x = torch.from_numpy(np.concatenate([retrieval[..., None], odds], axis=2).astype(np.float64))
    target = torch.from_numpy(clicked.argmax(1))
    weights = torch.zeros(x.shape[2], dtype=torch.float64)
    weights[0] = 1
    weights.requires_grad_()
    optimiser = torch.optim.LBFGS([weights], max_iter=100, line_search_fn='strong_wolfe')

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(x @ weights, target) + 1e-3 * weights[1:].square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return weights.detach().numpy()
