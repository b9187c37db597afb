"""Chooses the trained tower's settings and its weight, judged together with the spectral tower and the item graph.

Called by retrieval.py. A tower whose gain is not clear of the noise gets the weight 0 and is not trained again.
"""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import scipy.sparse as sp
import torch

from retrieval_convolution import ConvolutionOptions, ConvolutionTower, Vectors
from retrieval_data import Clock, Quality, Validation, paired_gain, unit_spread
from retrieval_spectral import encode

DIMENSION = 64
MOST_EPOCHS = 12
LEAST_EPOCHS = 2
# Trainings that the search must have time for; more where each is quick.
TRIALS = 4
# What training may take of the final fit; the rest is the spectral tower and the pools.
FIT_SHARE = 0.5
TEMPERATURES = (0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
RATES = (0.0025, 0.005, 0.01, 0.02, 0.04)
# Weights at which every trial is judged; the final weight is searched around the better one.
JUDGED_WEIGHTS = (0.4, 0.6)
WEIGHT_STEP = 0.1
# Standard errors of the gain over no such tower; as for the graph, more would refuse what helps where users are few.
CLEAR_GAIN = 1


class ConvolutionSearch:
    def __init__(
        self,
        validation: Validation,
        spectral_sides: Vectors,
        graph_scores: torch.Tensor,
        graph_weight: float,
        recency: float,
        clock: Clock,
        fit_seconds: float,
        seed: int,
    ):
        self.validation, self.clock, self.fit_seconds, self.seed = validation, clock, fit_seconds, seed
        self.start = start_of(validation.fit, spectral_sides)
        users, items = encode(validation.fit[validation.users], spectral_sides, recency)
        self.towers_weight = np.float32(1 - graph_weight)
        # [n, items]: what the tower is added to.
        self.other_scores = torch.from_numpy(users * self.towers_weight) @ torch.from_numpy(items).T
        self.other_scores.add_(graph_scores, alpha=graph_weight)
        self.table: list[dict] = []
        self.gain = {'mean': 0.0, 'standardError': 0.0}
        empty = np.zeros((len(validation.users), 1), np.float32), np.zeros((validation.fit.shape[1], 1), np.float32)
        self.without = self.best_quality = validation.measure(*empty, self.other_scores)
        self.best_vectors: Vectors | None = None
        self.best_weight = 0.0

    def run(self) -> tuple[ConvolutionOptions, float]:
        """Options and the weight of this tower beside the spectral one; 0 where it does not help or time is short."""
        tower = ConvolutionTower(self.validation.fit, self.start, ConvolutionOptions(), self.seed)
        epoch_seconds = tower.estimate_epoch()
        allowed = min(self.clock.left / TRIALS, self.fit_seconds * FIT_SHARE) / max(epoch_seconds, 1e-3)
        best = ConvolutionOptions(epochs=min(MOST_EPOCHS, int(allowed)))
        if best.epochs < LEAST_EPOCHS:
            self.clock.say(f'convolution: an epoch takes {epoch_seconds:.0f} s, too long for the time left')
            return best, 0.0
        self.epoch_seconds = epoch_seconds
        objective = self._trial(best)
        axes = {'temperature': TEMPERATURES, 'rate': RATES, 'epochs': (best.epochs // 2, best.epochs)}
        for name, axis in axes.items():
            for direction in (-1, 1):
                improved = False
                while 0 <= (at := axis.index(getattr(best, name)) + direction) < len(axis):
                    options = replace(best, **{name: axis[at]})
                    if options.epochs < LEAST_EPOCHS or self.clock.left < 1.5 * options.epochs * self.epoch_seconds:
                        break
                    found = self._trial(options)
                    if found <= objective:
                        break
                    best, objective, improved = options, found, True
                if improved:
                    break
        return best, self._weight()

    def _trial(self, options: ConvolutionOptions) -> float:
        tower = ConvolutionTower(self.validation.fit, self.start, options, self.seed)
        began = self.clock.elapsed
        tower.train(max(1.0, self.clock.left))
        self.epoch_seconds = (self.clock.elapsed - began) / options.epochs
        vectors = tower.vectors()
        judged = [(weight, self._measure(vectors, weight)) for weight in JUDGED_WEIGHTS]
        weight, quality = max(judged, key=lambda pair: pair[1].objective)
        row = {'options': asdict(options), 'weight': weight, 'recall@20': quality.recall, 'ndcg@20': quality.ndcg}
        self.table.append(row)
        self.clock.say(
            f'convolution temperature {options.temperature} rate {options.rate} epochs {options.epochs} '
            f'at {weight} with spectral: {quality}, without {self.without}'
        )
        if quality.objective > self.best_quality.objective:
            self.best_quality, self.best_vectors, self.best_weight = quality, vectors, weight
        return quality.objective

    def _measure(self, vectors: Vectors, weight: float) -> Quality:
        users = unit_spread(vectors[0][self.validation.users], vectors[1])
        share = np.float32(weight / (1 - weight)) * self.towers_weight
        return self.validation.measure(users * share, vectors[1], self.other_scores)

    def _weight(self) -> float:
        if self.best_vectors is None:
            return 0.0
        for direction in (WEIGHT_STEP, -WEIGHT_STEP):
            first = self.best_weight
            while self.clock.left > 0 and 0 < (weight := round(self.best_weight + direction, 2)) < 1:
                quality = self._measure(self.best_vectors, weight)
                if quality.objective <= self.best_quality.objective:
                    break
                self.best_weight, self.best_quality = weight, quality
            if self.best_weight != first:
                break
        mean, error = paired_gain(self.best_quality.objectives, self.without.objectives)
        self.gain = {'mean': mean, 'standardError': error}
        self.clock.say(f'convolution at {self.best_weight}: gain {mean:.4f} ± {error:.4f} over no such tower')
        return self.best_weight if mean > CLEAR_GAIN * error else 0.0


def start_of(pairs: sp.csr_matrix, spectral_sides: Vectors) -> Vectors:
    """The leading columns of the spectral tower: users [N, D], items [items, D]."""
    inward, outward = (side[:, :DIMENSION] for side in spectral_sides)
    return np.asarray(pairs @ inward, dtype=np.float32), outward
