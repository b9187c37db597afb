"""Trains the retrieval towers of `npm run evaluate -- retrieval`: a spectral and a trained one behind one dot product.

`tune` chooses everything on the validation split of the work folder; `fit` trains with that choice on all pairs.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

import retrieval_spectral as spectral
from retrieval_data import SCORE_BLOCK, Clock, Quality, Validation, joined, load, top_items
from retrieval_softmax import SoftmaxOptions, SoftmaxTower, encode

NO_ITEM = 0xFFFFFFFF
SPECTRAL_SHARE = 0.8
SOFTMAX_DIMENSIONS = (64, 128, 256)
MAX_EPOCHS = 12
# Weights at which every epoch is judged; the final weight is searched around the better one.
JUDGED_WEIGHTS = (0.15, 0.3)
WEIGHT_STEP = 0.05
# Epochs without a better figure after which a trial ends: one alone may be noise.
PATIENCE = 2

Sides = tuple[np.ndarray, np.ndarray]


def main() -> None:
    arguments = parse_arguments()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    clock = Clock(arguments.seconds)
    work = Path(arguments.work)
    result = tune(work, clock, arguments) if arguments.step == 'tune' else fit(work, clock, arguments)
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == 'darwin' else 1024
    result['peakRssBytes'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    (work / f'{arguments.step}.json').write_text(json.dumps(result))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('step', choices=['tune', 'fit'])
    parser.add_argument('--work', required=True, help='folder written by scripts/evaluate/retrieval.ts')
    parser.add_argument('--seconds', type=float, required=True, help='wall-clock limit of this step')
    parser.add_argument('--fit-seconds', type=float, required=True, help='what the final fit may take')
    parser.add_argument('--pool', type=int, default=500, help='exact best items written for each user')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--threads', type=int, default=2)
    return parser.parse_args()


def tune(work: Path, clock: Clock, arguments: argparse.Namespace) -> dict:
    pairs = load(work, 'fit')
    users = np.fromfile(work / 'validation.users', dtype='<u4').astype(np.int64)
    validation = Validation(pairs, load(work, 'held'), users)
    # [n, items]: of the leading validation users, each row of unit spread; they are the users that the search judges by.
    graph_scores = torch.from_numpy(np.fromfile(work / 'graph.scores', dtype='<f4').reshape(-1, pairs.shape[1]))
    judged = validation.head(len(graph_scores))
    search = spectral.SpectralSearch(judged, graph_scores, clock, arguments.seed)
    spectral_options, spectral_sides = search.run(clock.left * SPECTRAL_SHARE, arguments.fit_seconds)
    clock.say(f'spectral chosen: {spectral_options}')
    clock.seconds -= scoring_seconds(encode(pairs[users], spectral_sides), pairs[users], arguments.pool)
    trained = SoftmaxSearch(judged, spectral_sides, graph_scores, spectral_options.graph, clock, arguments)
    softmax_options, weight, dim = trained.run()
    clock.say(f'softmax chosen: {softmax_options}, weight {weight}')

    history = pairs[users]
    towers = [encode(history, spectral_sides), encode(history, trained.best_sides)]
    write_towers(work, 'tuned', joined(towers, [1 - weight, weight]), pairs, users, arguments.pool)
    chosen = {
        'spectral': asdict(spectral_options),
        'softmax': {**asdict(softmax_options), 'dim': dim, 'weight': weight},
    }
    return {'chosen': chosen, 'table': search.table + trained.table}


def fit(work: Path, clock: Clock, arguments: argparse.Namespace) -> dict:
    chosen = json.loads((work / 'tune.json').read_text())['chosen']
    pairs = load(work, 'full')
    spectral_options = spectral.SpectralOptions(**chosen['spectral'])
    sides, start = spectral.fit_sides(pairs, spectral_options, chosen['softmax']['dim'], arguments.seed)
    clock.say('spectral tower fitted')
    weight = chosen['softmax'].pop('weight')
    chosen['softmax'].pop('dim')
    towers = [encode(pairs, sides)]
    reserve = scoring_seconds(towers[0], pairs, arguments.pool)
    if weight > 0:
        options = SoftmaxOptions(**chosen['softmax'])
        tower = SoftmaxTower(pairs, start, options, arguments.seed)
        until = time.monotonic() + clock.left - reserve
        for epoch in range(options.epochs):
            if not tower.epoch(until):
                clock.say(f'stopped in epoch {epoch + 1}: the time is needed for what follows')
                break
            clock.say(f'softmax epoch {epoch + 1} of {options.epochs}')
        towers.append(encode(pairs, tower.sides()))
    else:
        towers.append(towers[0])
    everyone = np.arange(pairs.shape[0])
    write_towers(work, 'final', joined(towers, [1 - weight, weight]), pairs, everyone, arguments.pool)
    clock.say('vectors and exact pools written')
    return {'chosen': chosen, 'table': []}


class SoftmaxSearch:
    """Coordinate search over rate and sharpness with early stopping, judged together with the spectral tower and the graph."""

    def __init__(
        self,
        validation: Validation,
        start: Sides,
        graph_scores: torch.Tensor,
        graph_weight: float,
        clock: Clock,
        arguments: argparse.Namespace,
    ):
        self.validation, self.start, self.clock, self.arguments = validation, start, clock, arguments
        users, items = encode(self.history, start)
        self.towers_weight = np.float32(1 - graph_weight)
        self.other_scores = torch.from_numpy(users * self.towers_weight) @ torch.from_numpy(items).T
        self.other_scores.add_(graph_scores, alpha=graph_weight)
        self.table: list[dict] = []
        self.best_sides, self.best_weight = start, 0.0
        self.best_objective = self._measure(start, 0.0).objective

    @property
    def history(self) -> sp.csr_matrix:
        return self.validation.fit[self.validation.users]

    def run(self) -> tuple[SoftmaxOptions, float, int]:
        """Options, weight of the trained tower in the joint score, its dimension; weight 0 where it does not help."""
        dim, epoch_seconds = self._affordable()
        if dim == 0:
            return SoftmaxOptions(), 0.0, 0
        self.start = tuple(np.ascontiguousarray(side[:, :dim]) for side in self.start)
        limit = int(min(MAX_EPOCHS, self.arguments.fit_seconds * 0.4 / max(epoch_seconds, 1e-3)))
        best = self._train(SoftmaxOptions(), limit)
        for name in ('rate', 'sharpness'):
            for factor in (2.0, 0.5):
                improved = False
                while self.clock.left > 3 * epoch_seconds:
                    trial = self._train(replace(best, **{name: getattr(best, name) * factor}), limit)
                    if trial.epochs == 0:
                        break
                    best, improved = trial, True
                if improved:
                    break
        return best, self._weight() if best.epochs > 0 else 0.0, dim

    def _affordable(self) -> tuple[int, float]:
        """Largest dimension of which a dozen epochs fit into the time left, and the seconds of one epoch; 0 of none.

        From small to large, so that the estimate of what cannot be had is itself cheap.
        """
        full = self.start[0].shape[1]
        fits = 0, 0.0
        for dim in [d for d in SOFTMAX_DIMENSIONS if d <= full] or [full]:
            # What a step costs is about proportional to the dimension; a step is a good part of a second.
            if self.clock.left < 12 * max(1.0, 2 * fits[1]):
                break
            sides = tuple(np.ascontiguousarray(side[:, :dim]) for side in self.start)
            tower = SoftmaxTower(self.validation.fit, sides, SoftmaxOptions(), self.arguments.seed)
            seconds = tower.estimate_epoch()
            if 12 * seconds > self.clock.left:
                break
            fits = dim, seconds
        return fits

    def _train(self, options: SoftmaxOptions, limit: int) -> SoftmaxOptions:
        """The options with the best number of epochs, or with 0 where none beat what was known before."""
        tower = SoftmaxTower(self.validation.fit, self.start, options, self.arguments.seed)
        found = replace(options, epochs=0)
        best_here, best_epoch = -1.0, 0
        for epoch in range(1, limit + 1):
            if self.clock.left < 1.5 * tower.epoch_seconds or not tower.epoch(time.monotonic() + self.clock.left):
                break
            sides = tower.sides()
            judged = [(weight, self._measure(sides, weight)) for weight in JUDGED_WEIGHTS]
            weight, quality = max(judged, key=lambda pair: pair[1].objective)
            tried = asdict(replace(options, epochs=epoch))
            row = {'options': tried, 'weight': weight, 'recall@20': quality.recall, 'ndcg@20': quality.ndcg}
            self.table.append(row)
            self.clock.say(
                f'softmax rate {options.rate:.3f} sharpness {options.sharpness:.2f} epoch {epoch} '
                f'at {weight} with spectral: {quality}'
            )
            if quality.objective > self.best_objective:
                self.best_objective, self.best_sides, self.best_weight = quality.objective, sides, weight
                found = replace(options, epochs=epoch)
            if quality.objective > best_here:
                best_here, best_epoch = quality.objective, epoch
            elif epoch - best_epoch >= PATIENCE:
                break
        return found

    def _measure(self, sides: Sides, weight: float) -> Quality:
        users, items = encode(self.history, sides)
        share = np.float32(weight / (1 - weight)) * self.towers_weight
        return self.validation.measure(users * share, items, self.other_scores)

    def _weight(self) -> float:
        first = best = self.best_weight
        objective = self.best_objective
        for direction in (WEIGHT_STEP, -WEIGHT_STEP):
            while self.clock.left > 0 and 0 < round(best + direction, 2) < 1:
                quality = self._measure(self.best_sides, round(best + direction, 2))
                if quality.objective <= objective:
                    break
                best, objective = round(best + direction, 2), quality.objective
            if best != first:
                break
        return best


def scoring_seconds(tower: tuple[np.ndarray, np.ndarray], pairs: sp.csr_matrix, pool: int) -> float:
    """What scoring every user will take, from one block, with half as much again for the joint tower's width."""
    users = np.arange(min(SCORE_BLOCK, pairs.shape[0]))
    began = time.monotonic()
    top_items(torch.from_numpy(tower[0][users]) @ torch.from_numpy(tower[1]).T, pairs, users, pool)
    return (time.monotonic() - began) * 1.5 * pairs.shape[0] / len(users)


def write_towers(
    work: Path,
    name: str,
    towers: tuple[np.ndarray, np.ndarray],
    pairs: sp.csr_matrix,
    users: np.ndarray,
    pool: int,
) -> None:
    """`NAME.users`, `NAME.items-vectors` (float32), `NAME.pools` (uint32, [N, pool] best first), `NAME.json` (dim)."""
    user_vectors, item_vectors = towers
    user_vectors.astype('<f4').tofile(work / f'{name}.users')
    item_vectors.astype('<f4').tofile(work / f'{name}.items-vectors')
    item_side = torch.from_numpy(item_vectors).T
    with (work / f'{name}.pools').open('wb') as file:
        for low in range(0, len(users), SCORE_BLOCK):
            scores = torch.from_numpy(user_vectors[low : low + SCORE_BLOCK]) @ item_side
            best = top_items(scores, pairs, users[low : low + SCORE_BLOCK], pool)
            ranked = best.numpy().astype('<u4')
            ranked[torch.gather(scores, 1, best).isneginf().numpy()] = NO_ITEM
            ranked.tofile(file)
    (work / f'{name}.json').write_text(json.dumps({'dim': int(user_vectors.shape[1])}))


if __name__ == '__main__':
    main()
