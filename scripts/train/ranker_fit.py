"""One training of one ranker network: early stopping, checkpoints, several processes, curves.

Every step draws its random numbers from (seed, epoch, step, process), so that a run that goes on from a checkpoint is the
run that was not interrupted.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from checkpoint import Checkpoint
from common import Progress
from distributed import Team
from ranker_data import MIN_POSITIVES, Dropout, TrainingSet
from ranker_metrics import auc, log_loss
from ranker_models import Ranker

EVALUATION_ROWS = 1 << 14
TEACHER_SHARE = 0.7  # of a distilled model's target; the rest is what happened
CURVE_POINTS = 100  # of the loss of a run
LEAST_GAIN = 1e-4


@dataclass
class Curves:
    """`loss`: [step, mean loss since the point before]; `epochs`: what was measured on the validation rows."""

    loss: list[list[float]] = field(default_factory=list)
    epochs: list[dict] = field(default_factory=list)
    best_epoch: int = 0
    stopped_early: bool = False
    seconds: float = 0.0
    resumed_at: list[int] = field(default_factory=list)


def logits(model: Ranker, data: TrainingSet, rows: slice, device: torch.device = torch.device('cpu')) -> np.ndarray:
    model.eval()
    parts = []
    with torch.no_grad():
        for start in range(rows.start, rows.stop, EVALUATION_ROWS):
            part = np.arange(start, min(rows.stop, start + EVALUATION_ROWS))
            parts.append(model(data.inputs(part, model.reads_history).to(device)).cpu().numpy())
    return np.concatenate(parts)


def probabilities(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(scores, -40, 40)))


def mean_auc(scores: np.ndarray, data: TrainingSet, rows: slice) -> float:
    """Over the trained heads; .5 where the rows hold one class only."""
    values = [auc(scores[:, h], data.labels[rows, h]) for h in np.flatnonzero(data.trained)]
    return float(np.mean([v for v in values if v is not None] or [0.5]))


def head_weights(data: TrainingSet) -> np.ndarray:
    """Rare heads would drown: each head's loss is divided by the square root of its base entropy."""
    rates, positives = data.labels[data.train].mean(0), data.labels[data.train].sum(0)
    entropy = -(rates * np.log(rates + 1e-9) + (1 - rates) * np.log(1 - rates + 1e-9))
    return np.where((positives >= MIN_POSITIVES) & data.trained, 1 / np.sqrt(entropy + 1e-6), 0).astype(np.float32)


class Run:
    def __init__(self, model: Ranker, data: TrainingSet, args: argparse.Namespace, label: str, team: Team, checkpoint: Checkpoint):
        self.model, self.data, self.args, self.label, self.team, self.checkpoint = model.to(team.device), data, args, label, team, checkpoint
        self.steps = math.ceil(data.split[0] / args.batch)
        self.optimiser = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
        total = self.steps * args.epochs
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimiser, args.lr, total_steps=total, pct_start=0.1)
        self.weight = torch.from_numpy(head_weights(data)).to(team.device)
        self.dropout = Dropout(data, args.dropout, team.device)
        self.step, self.waited, self.best, self.best_state = 0, 0, -1.0, None
        self.curves, self.sum, self.count, self.spent = Curves(), 0.0, 0, 0.0
        self.done = False

    def state(self) -> dict:
        own = ('step', 'waited', 'best', 'best_state', 'sum', 'count', 'spent', 'done')
        return {
            **{name: getattr(self, name) for name in own},
            'model': self.model.state_dict(), 'optimiser': self.optimiser.state_dict(), 'schedule': self.schedule.state_dict(),
            'curves': self.curves.__dict__,
        }  # fmt: skip

    def resume(self) -> None:
        state = self.checkpoint.load()
        if state is None:
            return
        for name in ('model', 'optimiser', 'schedule'):
            getattr(self, name).load_state_dict(state.pop(name))
        self.curves = Curves(**state.pop('curves'))
        self.__dict__.update(state)
        self.curves.resumed_at.append(self.step)
        self.team.print(f'{self.label}: goes on from step {self.step} of {self.steps * self.args.epochs}')

    def save(self) -> None:
        if self.team.leads:
            self.checkpoint.save(self.state())

    def run(self, teacher: np.ndarray | None) -> Ranker:
        """Stops when the mean AUC of the validation rows has not risen for `patience` epochs; keeps the best epoch."""
        args, team = self.args, self.team
        self.resume()
        began, saved = time.monotonic() - self.spent, time.monotonic()
        progress = Progress(self.label, self.steps * args.epochs, done=self.step)
        while not self.done and self.step < self.steps * args.epochs:
            epoch, at = divmod(self.step, self.steps)
            if at == 0 or self.step == progress.first:
                order = self.order(np.random.default_rng([args.seed, epoch]))
            self.learn(order[at * args.batch : (at + 1) * args.batch], teacher)
            self.step += 1
            if team.leads:
                progress.update(self.step, f'epoch {epoch + 1}, loss {self.curves.loss[-1][1] if self.curves.loss else float("nan"):.4f}')
            self.spent = time.monotonic() - began
            if self.step % self.steps == 0:
                self.evaluate(epoch)
            elif time.monotonic() - saved < args.checkpoint_seconds:
                continue
            self.save()
            saved = time.monotonic()
        self.curves.seconds = round(self.spent, 1)
        self.model.load_state_dict(self.best_state)
        return self.model

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Training rows in random order; for a network that reads histories, pages in random order: a tenth of the time."""
        rows = self.data.split[0]
        if not self.model.reads_history:
            return rng.permutation(rows)
        return np.argsort(rng.permutation(self.data.meta['pages'])[self.data.pages[:rows]], kind='stable')

    def learn(self, rows: np.ndarray, teacher: np.ndarray | None) -> None:
        args, team = self.args, self.team
        # The share is sorted: whole pages lie together, and the sum of a batch has one order.
        rows = np.sort(team.share(rows))
        torch.manual_seed(hash((args.seed, self.step, team.rank)) & 0x7FFFFFFF)
        self.model.train()
        self.optimiser.zero_grad()
        if len(rows) > 1 or self.team.size == 1:
            target = self.data.labels[rows].astype(np.float32)
            if teacher is not None:
                target = (1 - TEACHER_SHARE) * target + TEACHER_SHARE * teacher[rows]
            inputs = self.dropout(self.data.inputs(rows, self.model.reads_history).to(team.device))
            found = F.binary_cross_entropy_with_logits(self.model(inputs), torch.from_numpy(target).to(team.device), reduction='none')
            loss = (found.mean(0) * self.weight).sum()
            loss.backward()
            self.sum, self.count = self.sum + loss.item(), self.count + 1
        team.average_gradients(self.model.parameters(), len(rows))
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), args.clip)
        if not math.isfinite(self.sum):
            raise SystemExit(f'{self.label}, step {self.step + 1}: the loss is not finite; a lower --lr may help')
        self.optimiser.step()
        self.schedule.step()
        if (self.step + 1) % max(1, self.steps * args.epochs // CURVE_POINTS) == 0 and self.count:
            self.curves.loss.append([self.step + 1, round(self.sum / self.count, 5)])
            self.sum, self.count = 0.0, 0

    def evaluate(self, epoch: int) -> None:
        measured = self.team.agree(self.measure() if self.team.leads else None)
        self.curves.epochs.append({'epoch': epoch + 1, 'step': self.step, **measured})
        self.team.print(f'{self.label} epoch {epoch + 1}: validation AUC {measured["auc"]:.4f}, log loss {measured["logLoss"]:.4f}')
        if measured['auc'] > self.best + LEAST_GAIN or self.best_state is None:
            self.best, self.waited, self.curves.best_epoch = measured['auc'], 0, epoch + 1
            self.best_state = {k: v.clone() for k, v in self.model.state_dict().items()}
            return
        self.waited += 1
        self.done = self.curves.stopped_early = self.waited >= self.args.patience

    def measure(self) -> dict:
        data = self.data
        scores, label = logits(self.model, data, data.validation, self.team.device), data.labels[data.validation]
        p, trained = probabilities(scores), np.flatnonzero(data.trained)
        return {
            'auc': round(mean_auc(scores, data, data.validation), 5),
            'logLoss': round(float(np.mean([log_loss(p[:, h], label[:, h]) for h in trained])), 5),
            'heads': {data.heads[h]: round(auc(scores[:, h], label[:, h]) or 0.5, 5) for h in trained},
        }
