"""Rows of the click-through evaluation as field matrices: ids [N, F] into one table, and values where not all are 1.

Fields are columns when every row of every file has equally many features; otherwise ranges of ids of which no row has
two (an absent one has its own id); otherwise the row is a bag. Unseen ids of a field share one id.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

SPLITS = ('train', 'validation', 'test')
# Ranges are fields while they are not many more than the features of a full row: beyond it some field is a list.
MOST_FIELDS_PER_FEATURE = 2
MOST_FIELDS = 1000
LARGEST_MATRIX = 1_500_000_000
ID_LIMIT = 10**15  # ids have at most 15 digits


@dataclass
class Raw:
    labels: np.ndarray
    offsets: np.ndarray
    ids: np.ndarray
    values: np.ndarray | None

    @property
    def widths(self) -> np.ndarray:
        return np.diff(self.offsets)

    @property
    def row_of(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.labels)), self.widths)


@dataclass
class Split:
    ids: np.ndarray  # [N, F] int32
    values: np.ndarray | None  # [N, F] float32
    labels: np.ndarray  # [N] float32
    unseen: float  # share of the features that training does not have


@dataclass
class CtrData:
    structure: str  # columns, ranges or bag
    fields: int  # columns of the matrices; a bag's are padded places
    known: int  # ids of training: 0 to known - 1
    size: int  # rows of the table: known, then one unseen id a field, then one absent id a field
    counts: np.ndarray  # [size] rows of training that hold an id
    field_of: np.ndarray  # [size]
    train: Split
    validation: Split
    test: Split

    @property
    def is_bag(self) -> bool:
        return self.structure == 'bag'

    def unseen_rates(self) -> np.ndarray:
        """Chance a field that the next row holds a new id: the share of ids seen once (Good, 1953). [fields]"""
        counts, fields = self.counts[: self.known], self.field_of[: self.known]
        width = int(self.field_of.max()) + 1
        once = np.bincount(fields[counts == 1], minlength=width)
        return once / np.maximum(np.bincount(fields, weights=counts, minlength=width), 1)


def read_raw(work: Path, name: str) -> Raw:
    values = work / f'{name}.values'
    return Raw(
        labels=np.fromfile(work / f'{name}.labels', dtype=np.uint8).astype(np.float32),
        offsets=np.fromfile(work / f'{name}.offsets', dtype='<u4').astype(np.int64),
        ids=np.fromfile(work / f'{name}.ids', dtype='<f8').astype(np.int64),
        values=np.fromfile(values, dtype='<f4') if values.exists() else None,
    )


def load(work: Path) -> CtrData:
    raws = {name: read_raw(work, name) for name in SPLITS}
    widest = max(int(raw.widths.max()) for raw in raws.values())
    if max(len(raw.labels) for raw in raws.values()) * widest > LARGEST_MATRIX:
        raise SystemExit(f'a file with a row of {widest} features is too large for this evaluation')
    if widest <= MOST_FIELDS and all((raw.widths == widest).all() for raw in raws.values()):
        places = {name: np.arange(len(raw.ids)) % widest for name, raw in raws.items()}
        return encode(raws, places, 'columns', widest)
    every = np.unique(np.concatenate([raw.ids for raw in raws.values()]))
    starts = range_starts([(raw.row_of, raw.ids) for raw in raws.values()], every)
    if starts is not None and len(starts) <= min(MOST_FIELDS, MOST_FIELDS_PER_FEATURE * widest):
        bounds = every[starts]
        places = {name: np.searchsorted(bounds, raw.ids, side='right') - 1 for name, raw in raws.items()}
        return encode(raws, places, 'ranges', len(starts))
    places = {name: np.arange(len(raw.ids)) - np.repeat(raw.offsets[:-1], raw.widths) for name, raw in raws.items()}
    return encode(raws, places, 'bag', widest)


def range_starts(rows: list[tuple[np.ndarray, np.ndarray]], every: np.ndarray) -> np.ndarray | None:
    """Fewest ranges of the sorted ids such that no row has two ids in one; positions in `every`, or None.

    Each pair of neighbours in a sorted row asks for a bound between them: greedy stabbing of those intervals.
    """
    nearest = np.full(len(every), len(every), dtype=np.int64)
    for row_of, ids in rows:
        dense = np.searchsorted(every, ids)
        order = np.lexsort((dense, row_of))
        dense, row = dense[order], row_of[order]
        neighbours = row[1:] == row[:-1]
        left, right = dense[:-1][neighbours], dense[1:][neighbours]
        if (left == right).any():
            return None
        np.minimum.at(nearest, left, right)
    starts, start = [0], 0
    for left in np.argsort(nearest, kind='stable'):
        if nearest[left] == len(every):
            break
        if left >= start:
            start = int(nearest[left])
            starts.append(start)
    return np.array(starts)


def encode(raws: dict[str, Raw], places: dict[str, np.ndarray], structure: str, fields: int) -> CtrData:
    bag = structure == 'bag'
    groups = 1 if bag else fields
    group_of = {name: np.zeros_like(place) if bag else place for name, place in places.items()}
    # A field's ids are its own: two columns may number their values alike.
    keys = {name: group_of[name] * ID_LIMIT + raw.ids for name, raw in raws.items()}
    known, inverse, counts = np.unique(keys['train'], return_inverse=True, return_counts=True)
    unseen_id, absent_id = len(known), len(known) + groups
    size = len(known) + 2 * groups
    scale = value_scale(raws['train'], inverse, size)
    all_ones = all(raw.values is None for raw in raws.values())

    splits = {}
    for name, raw in raws.items():
        at = np.minimum(np.searchsorted(known, keys[name]), len(known) - 1)
        seen = known[at] == keys[name]
        ids = np.where(seen, at, unseen_id + group_of[name])
        where = (raw.row_of, places[name])
        matrix = np.empty((len(raw.labels), fields), dtype=np.int32)
        matrix[:] = absent_id + (0 if bag else np.arange(groups))
        matrix[where] = ids
        values = None
        if bag or not all_ones:
            # An absent place of a bag counts nothing; an absent field is a category of its own.
            values = np.full(matrix.shape, 0 if bag else 1, dtype=np.float32)
            values[where] = scale[ids] if raw.values is None else scale[ids] * raw.values
        matrix.setflags(write=False)  # every trial reads the same
        splits[name] = Split(matrix, values, raw.labels, float(1 - seen.mean()) if len(seen) else 0.0)
    field_of = np.concatenate([known // ID_LIMIT, np.arange(groups), np.arange(groups)])
    all_counts = np.concatenate([counts, np.zeros(2 * groups, dtype=np.int64)])
    return CtrData(structure, fields, len(known), size, all_counts, field_of, **splits)


def value_scale(train: Raw, ids: np.ndarray, size: int) -> np.ndarray:
    """1 / root mean square of each id's values in training, so that no unit of measurement dominates."""
    if train.values is None:
        return np.ones(size, dtype=np.float32)
    squares = np.bincount(ids, weights=train.values.astype(np.float64) ** 2, minlength=size)
    counts = np.bincount(ids, minlength=size)
    rms = np.sqrt(squares / np.maximum(counts, 1))
    return np.where(rms > 0, 1 / np.maximum(rms, 1e-12), 1).astype(np.float32)
