"""The table of impressions that scripts/evaluate/replay-as-of.ts writes, and AUC within its lists. Called by evaluate_impressions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ranker_metrics import auc

# Categories of more values than this are left to their as-of counters in LightGBM, which overfits them.
MOST_CATEGORIES = 400


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
