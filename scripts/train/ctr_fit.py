"""One training of one click-through model: early stopping on the validation AUC, within a limit of seconds.

After an evaluation without gain the best weights come back at a tenth of the rate; the second one in a row ends it
(patience and factor of FuxiCTR, the code behind the BARS tables, 2022; restoring is ours).
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F

from ctr_data import CtrData, Split
from ctr_means import Means
from ctr_models import CtrModel, Settings
from ranker_metrics import auc

PATIENCE = 2
RATE_CUT = 0.1
MOST_EPOCHS = 100
LEAST_GAIN = 1e-6
# The rate falls at this share of the limit, so that a run that is cut off has converged as far as it could.
ANNEAL_AT = 0.75
# Evaluations that the limit should have room for where an epoch is long.
LEAST_EVALUATIONS = 8
# bfloat16 has to be this much faster to be used.
HALF_GAIN = 1.3
PREDICT_ROWS = 16_384
# A dense optimiser step over more weights than this takes longer than the rest of a batch: sparse gradients then.
DENSE_WEIGHTS = 8_000_000


@dataclass
class Fit:
    settings: Settings
    seed: int
    auc: float
    validation: np.ndarray  # logits
    test: np.ndarray  # logits
    epochs: float
    seconds: float
    seconds_per_epoch: float
    parameters: int
    cut_off: bool


@dataclass
class Inputs:
    ids: torch.Tensor
    values: torch.Tensor | None
    means: torch.Tensor | None

    def __getitem__(self, rows: torch.Tensor | slice) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        pick = lambda x: None if x is None else x[rows]  # noqa: E731
        return self.ids[rows], pick(self.values), pick(self.means)


class Batches:
    """Tensors of a split under a trial's minimum count; new ids are drawn in training at the rate they will come."""

    def __init__(self, data: CtrData, min_count: int):
        counts, unseen = data.counts[: data.known], data.known + data.field_of[: data.known]
        remap = np.arange(data.size, dtype=np.int32)
        remap[: data.known] = np.where(counts < min_count, unseen, remap[: data.known])
        self.remap = remap
        self.unseen = torch.from_numpy((data.known + data.field_of).astype(np.int32))
        # Ids under the minimum already train the unseen id; otherwise the chance of a new one does.
        self.rates = torch.from_numpy(data.unseen_rates().astype(np.float32)) if min_count == 1 else None
        self.absent = data.known + int(data.field_of.max()) + 1
        self.field_of = torch.from_numpy(data.field_of)
        self.bag = data.is_bag

    def of(self, split: Split, means: np.ndarray | None) -> Inputs:
        values = None if split.values is None else torch.from_numpy(split.values)
        return Inputs(torch.from_numpy(self.remap[split.ids]), values, None if means is None else torch.from_numpy(means))

    def with_unseen(self, ids: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if self.rates is None:
            return ids
        rates = self.rates if not self.bag else self.rates.expand(ids.shape[1])
        drawn = torch.rand(ids.shape, generator=generator) < rates
        # An absent feature stays absent.
        return torch.where(drawn & (ids < self.absent), self.unseen[ids], ids)


def contexts_of(data: CtrData) -> tuple[int, int]:
    """FinalMLP's gates are set by the user and the item (Mao et al., 2023): the two fields with most ids."""
    sizes = np.bincount(data.field_of[: data.known], minlength=data.fields)
    largest = np.argsort(-sizes, kind='stable')
    return int(largest[0]), int(largest[min(1, len(largest) - 1)])


def fit(data: CtrData, means: Means | None, settings: Settings, seed: int, limit_seconds: float) -> Fit:
    began = time.monotonic()
    half = half_is_faster()
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    sparse = data.size * settings.dim > DENSE_WEIGHTS
    model = CtrModel(settings, data.size, data.fields, data.is_bag, contexts_of(data), sparse)
    batches = Batches(data, settings.min_count)
    given = means if settings.means else None
    train = batches.of(data.train, given and given.train)
    checked = batches.of(data.validation, given and given.validation)
    labels = torch.from_numpy(data.train.labels)
    optimisers = make_optimisers(model, settings)
    chance = batch_chance(data, settings.batch) if sparse else None
    steps = -(-len(labels) // settings.batch)
    every = steps

    best, best_state, best_logits, misses = -1.0, None, None, 0
    step, annealed, cut_off, epoch_order = 0, False, False, None
    while step < MOST_EPOCHS * steps:
        if step % steps == 0:
            epoch_order = torch.randperm(len(labels), generator=generator)
        rows = epoch_order[(step % steps) * settings.batch : (step % steps + 1) * settings.batch]
        step += 1
        if len(rows) > 1:  # batch normalisation needs two
            model.train()
            ids, values, more = train[rows]
            ids = batches.with_unseen(ids, generator)
            with torch.autocast('cpu', dtype=torch.bfloat16, enabled=half):
                logits = model(ids, values, more)
            loss = F.binary_cross_entropy_with_logits(logits, labels[rows])
            if sparse and settings.l2 > 0:
                loss = loss + settings.l2 / 2 * sum(lazy_penalty(t, ids, chance) for t in model.tables())
            for optimiser in optimisers:
                optimiser.zero_grad(set_to_none=True)
            loss.backward()
            if not sparse and settings.l2 > 0:
                # The gradient of l2 / 2 * |table|^2 over the whole table, as in FuxiCTR.
                for table in model.tables():
                    table.weight.grad.add_(table.weight.detach(), alpha=settings.l2)
            for optimiser in optimisers:
                optimiser.step()
        spent = time.monotonic() - began
        if step == min(steps, 20):
            within = limit_seconds / LEAST_EVALUATIONS / (spent / step)
            every = max(1, min(steps, int(within)))
        out_of_time = spent + spent / step > limit_seconds
        anneal = not annealed and spent > ANNEAL_AT * limit_seconds
        if step % every and not out_of_time and not anneal:
            continue
        logits = predict(model, checked)
        reached = auc(logits, data.validation.labels) if np.isfinite(logits).all() else None
        if reached is not None and reached > best + LEAST_GAIN:
            best, best_logits, misses = reached, logits, 0
            best_state = copy.deepcopy(model.state_dict())
        else:
            misses += 1
            if best_state is not None:
                model.load_state_dict(best_state)
        if out_of_time or misses >= PATIENCE:
            cut_off = out_of_time
            break
        if misses or anneal:
            annealed = True
            for optimiser in optimisers:
                for group in optimiser.param_groups:
                    group['lr'] *= RATE_CUT
    if best_state is None:
        # Diverged at once: a constant, which every other trial beats.
        best, best_logits = 0.5, np.zeros(len(data.validation.labels), dtype=np.float32)
        test = np.zeros(len(data.test.labels), dtype=np.float32)
    else:
        model.load_state_dict(best_state)
        test = predict(model, batches.of(data.test, given and given.test))
    seconds = time.monotonic() - began
    parameters = sum(p.numel() for p in model.parameters())
    return Fit(settings, seed, best, best_logits, test, step / steps, seconds, seconds * steps / step, parameters, cut_off)


@cache
def half_is_faster() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32; weights, optimiser and scores stay float32."""
    x, layer = torch.randn(2048, 400), torch.nn.Linear(400, 400)

    def seconds(enabled: bool) -> float:
        times = []
        for _ in range(6):
            began = time.perf_counter()
            with torch.autocast('cpu', dtype=torch.bfloat16, enabled=enabled):
                loss = layer(x).float().sum()
            loss.backward()
            times.append(time.perf_counter() - began)
        return min(times[1:])

    return seconds(True) * HALF_GAIN < seconds(False)


def make_optimisers(model: CtrModel, settings: Settings) -> list[torch.optim.Optimizer]:
    tables = [table.weight for table in model.tables() if table.sparse]
    others = [p for p in model.parameters() if not any(p is table for table in tables)]
    optimisers: list[torch.optim.Optimizer] = [torch.optim.Adam(others, lr=settings.lr, fused=True)]
    if tables:
        optimisers.append(torch.optim.SparseAdam(tables, lr=settings.lr))
    return optimisers


def batch_chance(data: CtrData, batch: int) -> torch.Tensor:
    """[size] chance that a batch holds an id: dividing by it makes the lazy penalty equal the whole one on average."""
    share = np.maximum(data.counts, 1) / len(data.train.labels)
    return torch.from_numpy(1 - (1 - np.minimum(share, 1)) ** batch).float()


def lazy_penalty(table: torch.nn.Module, ids: torch.Tensor, chance: torch.Tensor) -> torch.Tensor:
    present = torch.unique(ids)
    rows = F.embedding(present, table.weight, sparse=True)
    return (rows.square().sum(dim=1) / chance[present.long()]).sum()


def predict(model: CtrModel, inputs: Inputs) -> np.ndarray:
    model.eval()
    parts = []
    with torch.inference_mode():
        for at in range(0, len(inputs.ids), PREDICT_ROWS):
            parts.append(model(*inputs[slice(at, at + PREDICT_ROWS)]))
    return torch.cat(parts).numpy()
