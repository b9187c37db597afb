"""A training set as the ranker's trainer reads it: columns written by training-set-writer.ts, checked, split by time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tower_models import DIM

POSITION = 'context_position@1'
# The same for all of a request's candidates; the groups `user` and `context` of feature-schema.ts.
REQUEST_FEATURES = frozenset({
    'user_history_size@1', 'user_mix@1', 'user_recency@1', 'user_account_age@1', 'user_follows@1', 'user_cold@1',
    'context_hour@1', 'context_weekday@1',
})  # fmt: skip
MIN_POSITIVES = 20  # a head with fewer in the training rows is not trained and gives 0
MIN_ROWS = 1000
CHECKED_ROWS = 1 << 16


@dataclass
class Inputs:
    """What a network reads of N rows. History of P pages, newest entry first; `page` [N] says whose it is."""

    x: Tensor  # [N, D] features without position
    position: Tensor  # [N, 2] ln(1 + position), 1 where it is known
    vectors: Tensor | None = None  # [N, 64] of the posts
    history: Tensor | None = None  # [P, H, 64]; zero where there is no entry or its post is not known
    types: Tensor | None = None  # [P, H] engagement codes, 0 = no entry
    hours: Tensor | None = None  # [P, H] age
    page: Tensor | None = None  # [N] or None where all rows are of page 0

    def to(self, device: torch.device) -> Inputs:
        return Inputs(*(None if v is None else v.to(device) for v in self.__dict__.values()))


class TrainingSet:
    """Rows in time order: [0, split[0]) train, [split[0], split[1]) choose and calibrate, the rest is reported on."""

    def __init__(self, folder: Path, features: list[str] | None = None):
        path = folder / 'meta.json'
        if not path.exists():
            raise SystemExit(f'{folder}: no meta.json, the training set is not complete')
        self.meta = json.loads(path.read_text())
        self.folder, self.rows, self.columns = folder, self.meta['rows'], {c['id']: c for c in self.meta['features']}
        self.heads = self.meta['heads']
        if self.rows < MIN_ROWS:
            raise SystemExit(f'{self.rows} rows are too few to train a ranker on; {MIN_ROWS} are needed')
        self.offsets = offsets_of([self.columns[i] for i in self.columns])
        width = sum(c['width'] for c in self.columns.values())
        self.matrix = self.read('features.f32', np.float32, width)
        self.labels = np.array(self.read('labels.u8', np.uint8, len(self.heads)))
        self.users = np.array(self.read('users.u32', np.uint32, 1)).ravel()
        self.times = np.array(self.read('times.f64', np.float64, 1)).ravel()
        known = [i for i in self.columns if i != POSITION]
        self.ids = [i for i in known if i != 'hadamard@1'] if features is None else features
        unknown = [i for i in self.ids if i not in known]
        if unknown:
            raise SystemExit(f'--features: not in the training set: {", ".join(unknown)}')
        self.at = offsets_of([self.columns[i] for i in self.ids])
        self.per_request = list(takewhile(REQUEST_FEATURES.__contains__, self.ids))
        self.request_columns = sum(self.columns[i]['width'] for i in self.per_request)
        self.x = self.select(self.ids)
        self.position = self.select([POSITION]) if POSITION in self.columns else np.zeros((self.rows, 2), np.float32)
        self.check()
        self.split = (int(self.rows * 0.8), int(self.rows * 0.9))
        self.train, self.validation, self.test = slice(0, self.split[0]), slice(*self.split), slice(self.split[1], self.rows)
        held = self.labels[self.validation]
        self.trained = (self.labels[self.train].sum(0) >= MIN_POSITIVES) & (held.sum(0) > 0) & (held.sum(0) < len(held))
        self.trained &= self.labels[self.train].sum(0) < self.split[0]
        if not self.trained.any():
            counts = ', '.join(f'{h} {int(n)}' for h, n in zip(self.heads, self.labels.sum(0), strict=True))
            raise SystemExit(f'no head has both outcomes often enough to be learned ({MIN_POSITIVES} at least); positives: {counts}')

    def read(self, name: str, dtype: type, width: int, rows: int | None = None) -> np.ndarray:
        rows = self.rows if rows is None else rows
        path, expected = self.folder / name, rows * width * np.dtype(dtype).itemsize
        size = path.stat().st_size if path.exists() else 0
        if size != expected:
            raise SystemExit(f'{path}: {size} bytes, {expected} expected; make the training set again')
        return np.memmap(path, dtype=dtype, mode='r', shape=(rows, width))

    def select(self, ids: list[str], rows: slice = slice(None)) -> np.ndarray:
        picked = np.concatenate([np.arange(*self.offsets[i]) for i in ids])
        return np.ascontiguousarray(self.matrix[rows][:, picked])

    def check(self) -> None:
        for start in range(0, self.rows, CHECKED_ROWS):
            bad = ~np.isfinite(self.x[start : start + CHECKED_ROWS])
            if bad.any():
                row, column = np.argwhere(bad)[0]
                name = next(i for i in self.ids if self.at[i][0] <= column < self.at[i][1])
                raise SystemExit(f'feature {name}: not finite in row {start + row}; nothing was trained')

    def load_history(self) -> None:
        """Reads what the history networks need beside the features."""
        pages, length = self.meta['pages'], self.meta['pageHistory']
        self.posts = np.array(self.read('posts.u32', np.uint32, 1)).ravel()
        self.pages = np.array(self.read('pages.u32', np.uint32, 1)).ravel()
        self.history = self.read('history.i32', np.int32, length, pages)
        self.types = self.read('history_types.u8', np.uint8, length, pages)
        self.hours = self.read('history_hours.f32', np.float32, length, pages)
        path = self.folder / 'vectors.f32'
        posts = path.stat().st_size // (4 * DIM) if path.exists() else 0
        self.vectors = np.array(self.read('vectors.f32', np.float32, DIM, posts))

    def inputs(self, rows: np.ndarray, with_history: bool) -> Inputs:
        found = Inputs(torch.from_numpy(self.x[rows]), torch.from_numpy(self.position[rows]))
        if with_history:
            pages, page = np.unique(self.pages[rows], return_inverse=True)
            posts = np.asarray(self.history[pages])
            history = self.vectors[np.maximum(posts, 0)] * (posts >= 0)[..., None]
            found.vectors, found.history = torch.from_numpy(self.vectors[self.posts[rows]]), torch.from_numpy(history)
            found.types = torch.from_numpy(self.types[pages].astype(np.int64))
            found.hours, found.page = torch.from_numpy(self.hours[pages]), torch.from_numpy(page)
        return found

    def column(self, name: str, offset: int = 0) -> np.ndarray:
        return self.x[:, self.at[name][0] + offset]

    def mask(self, chosen) -> Tensor:
        mask = torch.zeros(self.x.shape[1])
        for i in self.ids:
            if chosen(i):
                mask[slice(*self.at[i])] = 1
        return mask


def feeds(x: np.ndarray, columns: int, one_user: bool = False) -> dict[str, np.ndarray]:
    """Inputs of an exported network for rows x [N, D]; `columns`: of the input `user`, 0 = there is none."""
    if columns == 0:
        return {'features': x}
    user = x[:1, :columns] if one_user else x[:, :columns]
    return {'features': np.ascontiguousarray(x[:, columns:]), 'user': np.ascontiguousarray(user)}


def offsets_of(columns: list[dict]) -> dict[str, tuple[int, int]]:
    ends = np.cumsum([c['width'] for c in columns]).tolist()
    return {c['id']: (end - c['width'], end) for c, end in zip(columns, ends, strict=True)}


class Dropout:
    """Takes whole blocks out of some rows, as serving would see them: no history; no vector of the user; no position."""

    def __init__(self, data: TrainingSet, rate: float, device: torch.device):
        self.rate = rate
        self.history = data.mask(lambda i: data.columns[i]['fromHistory']).to(device)
        self.vector = data.mask(lambda i: i in ('user_similarity@1', 'hadamard@1')).to(device)
        self.cold = data.mask(lambda i: i == 'user_cold@1').to(device)

    def __call__(self, inputs: Inputs) -> Inputs:
        n, device = len(inputs.x), inputs.x.device
        no_history = (torch.rand(n, 1, device=device) < self.rate).float()
        no_vector = (torch.rand(n, 1, device=device) < self.rate / 2).float()
        x = inputs.x * (1 - no_history * self.history) * (1 - no_vector * self.vector)
        x = torch.maximum(x, no_vector * self.cold)
        position = inputs.position * (torch.rand(n, 1, device=device) >= self.rate)
        changed = Inputs(x, position, inputs.vectors, inputs.history, inputs.types, inputs.hours, inputs.page)
        if inputs.history is not None:
            # Whole pages without history, and posts whose vector is not known: both are served too.
            kept = (torch.rand(len(inputs.types), 1, device=device) >= self.rate).to(inputs.types.dtype)
            changed.types = inputs.types * kept
            changed.vectors = inputs.vectors * (torch.rand(n, 1, device=device) >= self.rate / 2)
        return changed
