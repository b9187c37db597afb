"""NDCG@50 of retrieved lists ordered by the retrieval alone, by the ranker alone, and by both. Called by evaluate_impressions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

# Weights of the ranker's log-odds against the retrieval's log-probability; 0 is the retrieval alone.
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 4.0, 16.0)
TOP = 50


class RetrievedLists:
    """L lists of S rows as scripts/evaluate/kuairand-lists.ts writes them; those before the test choose the weight."""

    def __init__(self, folder: Path, table):
        meta = json.loads((folder / 'lists.json').read_text())
        self.size = meta['size']
        rows = meta['lists'] * self.size
        self.numbers = np.fromfile(folder / 'numbers.f32', np.float32).reshape(rows, -1)
        self.ids = np.fromfile(folder / 'ids.i32', np.int32).reshape(rows, -1)
        self.retrieval = np.fromfile(folder / 'retrieval.f32', np.float32).reshape(-1, self.size)
        self.clicked = np.fromfile(folder / 'clicked.u8', np.uint8).reshape(-1, self.size)
        times = np.fromfile(folder / 'times.f64', np.float64)
        self.tested = int(np.searchsorted(times, table.meta['testFromMs']))
        self.ends = {'validation': table.train, 'test': table.test}
        self.weight = 0.0

    def tune(self, fitter, net, setting: dict) -> None:
        """`net` was fitted on the rows before the validation."""
        part = slice(0, self.tested)
        if self.tested == 0:
            return
        odds = self._odds(fitter, [net], setting, part, self.ends['validation'])
        reached = [self._ndcg(self.retrieval[part] + w * odds, part) for w in WEIGHTS]
        self.weight = WEIGHTS[int(np.argmax(reached))]

    def test(self, fitter, nets: list, setting: dict) -> dict:
        part = slice(self.tested, len(self.retrieval))
        odds = self._odds(fitter, nets, setting, part, self.ends['test'])
        return {
            'retrieval': self._ndcg(self.retrieval[part], part),
            'ranking': self._ndcg(odds, part),
            'twoStage': self._ndcg(self.retrieval[part] + self.weight * odds, part),
            'weight': self.weight,
            'lists': part.stop - part.start,
        }

    def _odds(self, fitter, nets: list, setting: dict, part: slice, end: int) -> np.ndarray:
        """Log-odds of the first label [lists, S], averaged over the networks."""
        rows = slice(part.start * self.size, part.stop * self.size)
        ids = fitter.known_ids(fitter.chosen(setting['wide']), end, self.ids)
        odds = np.mean([fitter.scores(net, ids, rows, self.numbers)[:, 0] for net in nets], axis=0)
        return odds.reshape(-1, self.size)

    def _ndcg(self, scores: np.ndarray, part: slice) -> float:
        """One clicked video a list: 1 / log2(rank + 2) within the top, 0 outside; ties count half before it."""
        gains = []
        for row, clicked in zip(scores, self.clicked[part], strict=True):
            at = np.flatnonzero(clicked)
            if len(at) == 0:
                gains.append(0.0)
                continue
            own = row[at[0]]
            rank = int((row > own).sum() + ((row == own).sum() - 1) // 2)
            gains.append(1 / np.log2(rank + 2) if rank < TOP else 0.0)
        return float(np.mean(gains)) if gains else 0.0
