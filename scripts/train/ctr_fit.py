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
from torch import Tensor

from ctr_data import CtrData
from ctr_inputs import Encoder, Inputs, contexts_of
from ctr_means import Means
from ctr_models import CtrModel, Settings, Table
from ranker_metrics import auc

PATIENCE = 2
RATE_CUT = 0.1
MOST_EPOCHS = 100
LEAST_GAIN = 1e-6
# The rate falls at this share of the limit, so that a run that is cut off has converged as far as it could.
ANNEAL_AT = 0.75
# Evaluations that the limit should have room for where an epoch is long.
LEAST_EVALUATIONS = 8
# Fewer steps than this between evaluations say more of the noise than of the progress.
LEAST_STEPS = 50
# Steps at the start, at most an epoch, in which an evaluation without gain does not count.
WARM_UP_STEPS = 500
# Steps after which their speed is known.
TIMED_STEPS = 20
# bfloat16 has to be this much faster to be used.
HALF_GAIN = 1.3
PREDICT_ROWS = 16_384
PREDICT_NUMBERS = 20_000_000
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


def fit(data: CtrData, means: Means | None, settings: Settings, seed: int, limit_seconds: float) -> Fit:
    began = time.monotonic()
    training = Training(data, means, settings, seed)
    steps = -(-len(training.labels) // settings.batch)
    every, step, first, annealed, cut_off = steps, 0, 0.0, False, False
    while step < MOST_EPOCHS * steps:
        if step % steps == 0:
            order = torch.randperm(len(training.labels), generator=training.generator)
        training.step(order[(step % steps) * settings.batch :][: settings.batch])
        step += 1
        spent = time.monotonic() - began
        if step == 1:
            first = spent  # with what is set up once
        pace = (spent - first) / max(step - 1, 1)
        if step == min(steps, TIMED_STEPS) and pace > 0:
            every = min(steps, max(LEAST_STEPS, int(limit_seconds / LEAST_EVALUATIONS / pace)))
        cut_off = spent + pace > limit_seconds
        anneal = not annealed and spent > ANNEAL_AT * limit_seconds
        if step % every and not cut_off and not anneal:
            continue
        training.evaluate(counts=step > min(steps, WARM_UP_STEPS))
        if cut_off or training.misses >= PATIENCE:
            break
        if training.misses or anneal:
            annealed = True
            training.cut_rate()
    test = training.finish()
    seconds = time.monotonic() - began
    return Fit(
        settings,
        seed,
        training.best_auc,
        training.best_logits,
        test,
        epochs=step / steps,
        seconds=seconds,
        seconds_per_epoch=seconds * steps / step,
        parameters=sum(p.numel() for p in training.model.parameters()),
        cut_off=cut_off,
    )


class Training:
    """A model, its optimisers, and the best weights so far."""

    def __init__(self, data: CtrData, means: Means | None, settings: Settings, seed: int):
        self.half = half_is_faster()
        torch.manual_seed(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.data, self.l2 = data, settings.l2
        self.means = means if settings.means else None
        self.encoder = Encoder(data, settings.min_count)
        self.train = self.encoder(data.train, self.means and self.means.train)
        self.checked = self.encoder(data.validation, self.means and self.means.validation)
        self.labels = torch.from_numpy(data.train.labels)
        self.sparse = data.size * settings.dim > DENSE_WEIGHTS
        self.chance = batch_chance(data, settings.batch) if self.sparse else None
        self.model = CtrModel(settings, data.size, data.fields, data.is_bag, contexts_of(data), self.sparse)
        self.optimisers = make_optimisers(self.model, settings.lr)
        # A model that is no better than a constant at every evaluation stays one.
        self.best_auc, self.best_logits = 0.5, np.zeros(len(data.validation.labels), dtype=np.float32)
        self.best_state: dict | None = None
        self.misses = 0

    def step(self, rows: Tensor) -> None:
        if len(rows) < 2:  # batch normalisation needs two
            return
        self.model.train()
        batch = self.train[rows]
        batch.ids = self.encoder.with_unseen(batch.ids, self.generator)
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=self.half):
            logits = self.model(batch.ids, batch.values, batch.means)
        loss = F.binary_cross_entropy_with_logits(logits, self.labels[rows])
        if self.sparse and self.l2 > 0:
            loss = loss + self.l2 / 2 * sum(lazy_penalty(t, batch.ids, self.chance) for t in self.model.tables())
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if not self.sparse and self.l2 > 0:
            # The gradient of l2 / 2 * |table|^2 over the whole table, as in FuxiCTR.
            for table in self.model.tables():
                table.weight.grad.add_(table.weight.detach(), alpha=self.l2)
        for optimiser in self.optimisers:
            optimiser.step()

    def evaluate(self, counts: bool) -> None:
        logits = predict(self.model, self.checked)
        reached = auc(logits, self.data.validation.labels) if np.isfinite(logits).all() else None
        if reached is not None and reached > self.best_auc + LEAST_GAIN:
            self.best_auc, self.best_logits, self.misses = reached, logits, 0
            self.best_state = copy.deepcopy(self.model.state_dict())
            return
        if not counts:
            return
        self.misses += 1
        if self.best_state is not None:
            self.model.load_state_dict(self.best_state)

    def cut_rate(self) -> None:
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group['lr'] *= RATE_CUT

    def finish(self) -> np.ndarray:
        """Test logits of the best weights."""
        if self.best_state is None:
            return np.zeros(len(self.data.test.labels), dtype=np.float32)
        self.model.load_state_dict(self.best_state)
        logits = predict(self.model, self.encoder(self.data.test, self.means and self.means.test))
        # Values far outside of training's may overflow: the rate of the whole for such a row.
        return np.nan_to_num(logits, nan=0.0, posinf=40.0, neginf=-40.0)


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


def make_optimisers(model: CtrModel, rate: float) -> list[torch.optim.Optimizer]:
    sparse = [table.weight for table in model.tables() if table.sparse]
    others = [p for p in model.parameters() if not any(p is table for table in sparse)]
    optimisers: list[torch.optim.Optimizer] = [torch.optim.Adam(others, lr=rate, fused=True)]
    if sparse:
        optimisers.append(torch.optim.SparseAdam(sparse, lr=rate))
    return optimisers


def batch_chance(data: CtrData, batch: int) -> Tensor:
    """[size] chance that a batch holds an id: dividing by it makes the lazy penalty equal the whole one on average."""
    share = np.maximum(data.counts, 1) / len(data.train.labels)
    return torch.from_numpy(1 - (1 - np.minimum(share, 1)) ** batch).float()


def lazy_penalty(table: Table, ids: Tensor, chance: Tensor) -> Tensor:
    present = torch.unique(ids)
    rows = F.embedding(present, table.weight, sparse=True)
    return (rows.square().sum(dim=1) / chance[present.long()]).sum()


def predict(model: CtrModel, inputs: Inputs) -> np.ndarray:
    model.eval()
    parts = []
    with torch.inference_mode():
        size = max(16, min(PREDICT_ROWS, PREDICT_NUMBERS // (inputs.ids.shape[1] * model.dim)))
        for at in range(0, len(inputs), size):
            part = inputs[slice(at, at + size)]
            parts.append(model(part.ids, part.values, part.means))
    return torch.cat(parts).numpy()
