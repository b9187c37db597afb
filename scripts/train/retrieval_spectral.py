"""Spectral tower: the ideal low-pass of the normalised interaction matrix, as a dot product of two vectors.

score(u, j) = sum over u's items i of  d_i^-b  (V S^g V^T)_ij  d_j^b, where V are the leading right singular vectors
of D_u^-user R D_i^-item: the low-pass of GF-CF (Shen et al., CIKM 2021) and BSPM (Choi et al., SIGIR 2023) with the
exponents left free. A user's vector is a sum over the history, so it follows the last event without a new fit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch

from retrieval_data import Clock, Quality, Validation, degrees, recent, unit_spread

OVERSAMPLING = 20
DIMENSIONS = (64, 128, 256, 384, 512, 768, 1024)
STEP = 0.1
RECENCY_STEP = 0.5
MOST_GRAPH = 0.9
# Moves that need a new decomposition, the more promising first: a short budget may end after a few.
MOVES = (('user', -STEP), ('item', -STEP), ('user', STEP), ('item', STEP), ('passes', -1), ('passes', 1))


@dataclass(frozen=True)
class SpectralOptions:
    """Degree exponents of the decomposed matrix and of the read-out, power of the spectrum, rank decomposed and kept.

    `graph`: weight of the item graph in the score that is judged, towers and graph of unit spread; the two are fitted
    to each other, because what a higher rank adds to the tower the graph may hold already. `recency`: how much more
    a late item of a history counts, see `recent`.
    Starts where the papers are: symmetric normalisation, flat spectrum.
    """

    user: float = 0.5
    item: float = 0.5
    readout: float = 0.5
    spectrum: float = 0.0
    passes: int = 3
    graph: float = 0.3
    recency: float = 0.0
    rank: int = 64
    dim: int = 64


class Spectrum:
    """Leading right singular pairs by block subspace iteration (Halko et al., SIAM Review 2011)."""

    def __init__(self, pairs: sp.csr_matrix, seed: int):
        self.pairs, self.seed = pairs, seed
        self.user_degrees, self.item_degrees = degrees(pairs)

    def solve(self, options: SpectralOptions) -> tuple[np.ndarray, np.ndarray]:
        """V [items, rank] float32 and singular values [rank], largest first, scaled to a largest of 1.

        With few passes the span has not converged, and holds a share of what lies below the cut: a filter that
        falls off softly instead of at the rank. That is why the number of passes is searched.
        """
        scaled = sp.diags(self.user_degrees**-options.user) @ self.pairs @ sp.diags(self.item_degrees**-options.item)
        scaled = scaled.tocsr().astype(np.float32)
        turned = scaled.T.tocsr()
        width = min(options.rank + OVERSAMPLING, min(scaled.shape))
        generator = torch.Generator().manual_seed(self.seed)
        basis = torch.randn(scaled.shape[1], width, generator=generator)
        for _ in range(options.passes):
            basis = orthonormal(torch.from_numpy(turned @ (scaled @ basis.numpy())))
        image = torch.from_numpy(scaled @ basis.numpy())
        values, rotation = torch.linalg.eigh((image.T @ image).double())
        vectors = (basis @ rotation.flip(1)[:, : options.rank].float()).numpy()
        singular = values.flip(0).clamp_min(1e-12).sqrt().float().numpy()[: options.rank]
        return vectors, singular / singular[0]


def orthonormal(block: torch.Tensor) -> torch.Tensor:
    """Cholesky QR; Householder where the block is too near to dependent for it."""
    block = block / block.norm(dim=0).clamp_min(1e-20)
    factor, failed = torch.linalg.cholesky_ex((block.T @ block).double())
    if int(failed) != 0:
        return torch.linalg.qr(block).Q
    return torch.linalg.solve_triangular(factor.float(), block.T, upper=False).T.contiguous()


def item_sides(
    spectrum: tuple[np.ndarray, np.ndarray], item_degrees: np.ndarray, options: SpectralOptions
) -> tuple[np.ndarray, np.ndarray]:
    """What a history sums and what a candidate is: two [items, dim] float32."""
    vectors, singular = (part[..., : options.dim] for part in spectrum)
    inward = vectors * (item_degrees[:, None] ** -options.readout) * singular**options.spectrum
    outward = vectors * (item_degrees[:, None] ** options.readout)
    return inward.astype(np.float32), np.ascontiguousarray(outward, dtype=np.float32)


def fit_sides(pairs: sp.csr_matrix, options: SpectralOptions, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Item sides fitted to all pairs."""
    spectrum = Spectrum(pairs, seed)
    return item_sides(spectrum.solve(options), spectrum.item_degrees, options)


def encode(
    pairs: sp.csr_matrix, sides: tuple[np.ndarray, np.ndarray], recency: float
) -> tuple[np.ndarray, np.ndarray]:
    """User [N, D] and item [items, D] vectors, the users' of unit spread."""
    users = np.asarray(recent(pairs, recency) @ sides[0], dtype=np.float32)
    return unit_spread(users, sides[1]), sides[1]


class SpectralSearch:
    """Coordinate search: cheap read-out settings inside, settings that need a new decomposition outside."""

    def __init__(self, validation: Validation, graph_scores: torch.Tensor, recency: float, clock: Clock, seed: int):
        self.recency = recency
        self.validation, self.graph_scores, self.clock = validation, graph_scores, clock
        self.spectrum = Spectrum(validation.fit, seed)
        self.history = validation.fit[self.validation.users]
        self.table: list[dict] = []
        self.solved: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}
        self.until = 0.0

    def run(self, seconds: float, fit_seconds: float) -> tuple[SpectralOptions, tuple[np.ndarray, np.ndarray]]:
        """Chosen options and the item sides fitted with them; nothing that a fit of `fit_seconds` cannot repeat."""
        self.until = self.clock.elapsed + seconds
        rank = self._affordable(seconds, fit_seconds)
        best = SpectralOptions(rank=rank, dim=rank, recency=self.recency)
        began = self.clock.elapsed
        best, quality = self._climb_cheap(best, self._try(best))
        cost = self.clock.elapsed - began
        visited = {_decomposition(best)}
        moved = True
        while moved:
            moved = False
            for name, step in MOVES:
                while self.clock.elapsed + cost < self.until:
                    trial = replace(best, **{name: round(getattr(best, name) + step, 2)})
                    if trial.passes < 1 or _decomposition(trial) in visited:
                        break
                    visited.add(_decomposition(trial))
                    began = self.clock.elapsed
                    found = self._climb_cheap(trial, self._try(trial))
                    cost = self.clock.elapsed - began
                    if found[1].objective <= quality.objective:
                        break
                    (best, quality), moved = found, True
        if self.recency > 0:
            best, quality = self._climb(best, quality, 'recency', RECENCY_STEP)
        best, quality = self._climb(best, quality, 'spectrum', 0.25)
        for dim in reversed([d for d in DIMENSIONS if d < best.dim]):
            trial = replace(best, dim=dim)
            found = self._climb_cheap(trial, self._try(trial))
            if found[1].objective <= quality.objective:
                break
            best, quality = found
        return best, item_sides(self._solve(best), self.spectrum.item_degrees, best)

    def _affordable(self, seconds: float, fit_seconds: float) -> int:
        """Largest rank at which six decompositions fit, and one into a third of the final fit on all pairs.

        Rank gains more than the exponents do. A small one is timed; the cost grows about as rank^1.5.
        """
        limit = max(1, min(self.validation.fit.shape) // 2)
        timed = min(DIMENSIONS[1], limit)
        began = self.clock.elapsed
        self.spectrum.solve(SpectralOptions(rank=timed))
        cost = max(self.clock.elapsed - began, 0.05)
        most = min(seconds / 6, fit_seconds / 3) / cost
        fits = [d for d in DIMENSIONS if d <= limit and (d / timed) ** 1.5 <= most]
        return max(fits, default=min(DIMENSIONS[0], limit))

    def _solve(self, options: SpectralOptions) -> tuple[np.ndarray, np.ndarray]:
        """The last two decompositions are kept: the best one and the one being tried."""
        key = _decomposition(options)
        solved = self.solved.pop(key, None) or self.spectrum.solve(options)
        self.solved[key] = solved
        while len(self.solved) > 2:
            self.solved.pop(next(iter(self.solved)))
        return solved

    def _try(self, options: SpectralOptions) -> Quality:
        inward, outward = item_sides(self._solve(options), self.spectrum.item_degrees, options)
        users, _ = encode(self.history, (inward, outward), options.recency)
        quality = self.validation.measure(*beside_graph(users, outward, self.graph_scores, options.graph))
        self.table.append({'options': asdict(options), 'recall@20': quality.recall, 'ndcg@20': quality.ndcg})
        self.clock.say(
            f'spectral user {options.user:.1f} item {options.item:.1f} passes {options.passes} '
            f'readout {options.readout:.1f} spectrum {options.spectrum:.2f} dim {options.dim} '
            f'graph {options.graph:.1f} recency {options.recency:.1f}: {quality}'
        )
        return quality

    def _climb_cheap(self, best: SpectralOptions, quality: Quality) -> tuple[SpectralOptions, Quality]:
        """The settings that need no new decomposition and depend on each other."""
        best, quality = self._climb(best, quality, 'readout', STEP)
        return self._climb(best, quality, 'graph', STEP)

    def _climb(
        self, best: SpectralOptions, quality: Quality, name: str, step: float
    ) -> tuple[SpectralOptions, Quality]:
        """Walks one cheap setting, first down, then up where down did not help."""
        for direction in (-step, step):
            improved = False
            while self.clock.elapsed < self.until:
                value = round(getattr(best, name) + direction, 2)
                if value < 0 or (name == 'graph' and value > MOST_GRAPH):
                    break
                trial = replace(best, **{name: value})
                found = self._try(trial)
                if found.objective <= quality.objective:
                    break
                best, quality, improved = trial, found, True
            if improved:
                break
        return best, quality


def beside_graph(
    users: np.ndarray, items: np.ndarray, graph_scores: torch.Tensor, weight: float
) -> tuple[np.ndarray, np.ndarray, torch.Tensor | None]:
    """Arguments of `Validation.measure` that rank by (1 - weight) · towers + weight · graph."""
    if weight == 0:
        return users, items, None
    return users * np.float32((1 - weight) / weight), items, graph_scores


def _decomposition(options: SpectralOptions) -> tuple:
    return options.user, options.item, options.passes
