"""Trains the retrieval towers of `npm run evaluate -- retrieval`: a spectral and a trained one behind one dot product.

`tune` chooses everything on the validation split of the work folder; `fit` trains with that choice on all pairs.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

import retrieval_spectral as spectral
from retrieval_convolution import ConvolutionOptions, ConvolutionTower
from retrieval_convolution_search import ConvolutionSearch, start_of
from retrieval_data import SCORE_BLOCK, Clock, Validation, joined, load, top_items, unit_spread

NO_ITEM = 0xFFFFFFFF
# Of the tuning time; the other half trains the second tower a few times.
SPECTRAL_SHARE = 0.5


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
    parser.add_argument('--recency', type=float, default=0, help='of the graph: where the search begins; 0 = lines have no order')
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
    search = spectral.SpectralSearch(judged, graph_scores, arguments.recency, clock, arguments.seed)
    spectral_options, spectral_sides = search.run(clock.left * SPECTRAL_SHARE, arguments.fit_seconds)
    clock.say(f'spectral chosen: {spectral_options}')
    spectral_tower = spectral.encode(pairs[users], spectral_sides, spectral_options.recency)
    clock.seconds -= scoring_seconds(spectral_tower, pairs[users], arguments.pool)
    graph = graph_scores, spectral_options.graph, spectral_options.recency
    trained = ConvolutionSearch(judged, spectral_sides, *graph, clock, arguments.fit_seconds, arguments.seed)
    options, weight = trained.run()
    clock.say(f'convolution chosen: {options}, weight {weight}')
    towers = [(spectral_tower, 1 - weight)]
    if weight > 0:
        user_vectors, item_vectors = trained.best_vectors
        towers.append(((unit_spread(user_vectors[users], item_vectors), item_vectors), weight))
    write_towers(work, 'tuned', joined(towers), pairs, users, arguments.pool)
    chosen = {
        'spectral': asdict(spectral_options),
        'convolution': {**asdict(options), 'weight': weight, 'gain': trained.gain},
    }
    return {'chosen': chosen, 'table': search.table + trained.table}


def fit(work: Path, clock: Clock, arguments: argparse.Namespace) -> dict:
    chosen = json.loads((work / 'tune.json').read_text())['chosen']
    pairs = load(work, 'full')
    spectral_options = spectral.SpectralOptions(**chosen['spectral'])
    sides = spectral.fit_sides(pairs, spectral_options, arguments.seed)
    clock.say('spectral tower fitted')
    weight = chosen['convolution']['weight']
    towers = [(spectral.encode(pairs, sides, spectral_options.recency), 1 - weight)]
    if weight > 0:
        options = ConvolutionOptions(**{field.name: chosen['convolution'][field.name] for field in fields(ConvolutionOptions)})
        tower = ConvolutionTower(pairs, start_of(pairs, sides), options, arguments.seed)
        seconds = clock.left - scoring_seconds(towers[0][0], pairs, arguments.pool)
        whole = tower.train(max(1.0, seconds))
        clock.say(f'convolution trained{"" if whole else ", cut short: the time is needed for what follows"}')
        user_vectors, item_vectors = tower.vectors()
        towers.append(((unit_spread(user_vectors, item_vectors), item_vectors), weight))
    everyone = np.arange(pairs.shape[0])
    write_towers(work, 'final', joined(towers), pairs, everyone, arguments.pool)
    clock.say('vectors and exact pools written')
    return {'chosen': chosen, 'table': []}


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
