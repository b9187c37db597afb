"""Budgeted search over click-through settings: pattern search on the validation AUC, one setting changed at a time.

The ladders span what the BARS benchmark (Zhu et al., 2022) tuned over its data sets: batch 4096 to 10000, embeddings 10
to 64, hidden layers 400 to 1000, dropout 0 to .5, and an embedding penalty from 0 (Avazu) over 1e-5 (Criteo) and 5e-4
(KuaiVideo) to .1 (Frappe).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from ctr_data import CtrData
from ctr_fit import Fit, fit
from ctr_means import Means
from ctr_models import ARCHITECTURES, Settings

# In the order in which they are moved along: what those tables differ by most comes first.
LADDERS: dict[str, tuple] = {
    'l2': (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 5e-2, 1e-1, 2e-1),
    'dropout': (0.0, 0.2, 0.4, 0.6),
    'means': (False, True),
    'dim': (4, 10, 20, 40, 64),
    'min_count': (1, 2, 5, 10),
    'lr': (3e-4, 1e-3, 3e-3),
    'batch': (64, 256, 1024, 4096, 16_384),
}
# The published structures of each architecture, smallest first.
STRUCTURES: dict[str, dict[str, tuple]] = {
    'MLP': {'hidden': ((100, 100), (400, 400), (400, 400, 400), (1000, 1000, 1000))},
    'DCN-v2': {'hidden': ((100, 100), (400, 400), (400, 400, 400)), 'parts': (2, 3, 4)},
    'FinalMLP': {'hidden': ((400, 100), (400, 400), (400, 800), (400, 400, 400)), 'parts': (5, 10, 20)},
    'MaskNet': {'hidden': ((100, 100), (400, 400), (400, 400, 400)), 'parts': (1, 3, 5)},
}
STARTS = {
    'MLP': Settings('MLP'),
    'DCN-v2': Settings('DCN-v2'),
    'FinalMLP': Settings('FinalMLP', hidden=(400, 100), parts=5),
    'MaskNet': Settings('MaskNet'),
}
# The largest batch that leaves an epoch this many steps is where the search starts: 4096 at Frappe's size, as in BARS.
STEPS_PER_EPOCH = 40
# Embedded numbers of one batch: under a gigabyte in float32.
BATCH_NUMBERS = 200_000_000
PROBES = (1e-5, 1e-3, 5e-2)
# Shared by all architectures: found with the first of them, then carried over.
SHARED = ('l2', 'means', 'dropout', 'min_count', 'dim', 'lr', 'batch')
# A tenth of the search: enough for every architecture and the settings that matter most even where each trial needs it.
TRIAL_SHARE = 0.1
SCOUT_SHARE = 0.3
# Seeds of an architecture beside the first; the gain of a mean is mostly in the first few.
MOST_REPEATS = 5
# A trial that would get less than this part of what one of its kind took is not begun.
WORTHWHILE = 0.4


class Search:
    """`say` gets one line a trial."""

    def __init__(
        self, data: CtrData, means: Means | None, seed: int, seconds: float, say: Callable[[str], None]
    ):
        self.data, self.means, self.seed, self.say = data, means, seed, say
        self.limit = seconds * TRIAL_SHARE
        self.until = time.monotonic() + seconds
        self.scout_until = time.monotonic() + seconds * SCOUT_SHARE
        self.fits: list[Fit] = []
        self.best: dict[str, Fit] = {}
        self.tried: set[Settings] = set()
        self.direction: dict[str, tuple[str, int]] = {}

    def run(self) -> None:
        scout = ARCHITECTURES[0]
        batch = first_batch(self.data, STARTS[scout].dim)
        for l2 in PROBES:
            self.trial(replace(STARTS[scout], l2=l2, batch=batch), self.scout_until)
        while time.monotonic() < self.scout_until and self.step(scout, self.scout_until):
            pass
        found = self.best[scout].settings
        for architecture in ARCHITECTURES[1:]:
            self.trial(shared_of(found, STARTS[architecture]), self.until)
        open_ones = set(ARCHITECTURES)
        while open_ones and time.monotonic() < self.until:
            architecture = self.least_served(open_ones)
            if not self.step(architecture, self.until):
                open_ones.discard(architecture)

    def repeat(self, seconds: float) -> None:
        """The best settings with further seeds, for the mean of several."""
        until = time.monotonic() + seconds
        seed = self.seed
        left = dict.fromkeys(self.best, MOST_REPEATS)
        while left and time.monotonic() < until:
            seed += 1
            architecture = self.least_served(set(left))
            left[architecture] -= 1
            if not self.trial(self.best[architecture].settings, until, seed) or left[architecture] == 0:
                del left[architecture]

    def step(self, architecture: str, until: float) -> bool:
        """Tries the next neighbour of an architecture's best; False when none is left or there is no time for it."""
        known = self.best.get(architecture)
        start = known.settings if known else STARTS[architecture]
        for settings, move in [*self.leading(start), *self.neighbours(start)]:
            if settings in self.tried:
                continue
            before = known.auc if known else -1.0
            if not self.trial(settings, until):
                return False
            if self.best[architecture].auc > before and move is not None:
                self.direction[architecture] = move
            return True
        return False

    def leading(self, settings: Settings) -> list[tuple[Settings, None]]:
        """What the best architecture so far has found, carried over."""
        if not self.best:
            return []
        best = max(self.best.values(), key=lambda f: f.auc).settings
        return [(shared_of(best, settings), None)]

    def neighbours(self, settings: Settings):
        ladders = {**LADDERS, **STRUCTURES[settings.architecture]}
        last = self.direction.get(settings.architecture)
        moves = [(name, way) for name in ladders for way in (1, -1)]
        if last is not None:
            moves.sort(key=lambda move: move != last)
        for name, way in moves:
            ladder = ladders[name]
            at = ladder.index(getattr(settings, name)) + way
            if not 0 <= at < len(ladder) or (name == 'means' and self.means is None):
                continue
            neighbour = replace(settings, **{name: ladder[at]})
            if neighbour.batch * self.data.fields * neighbour.dim <= BATCH_NUMBERS:
                yield neighbour, (name, way)

    def trial(self, settings: Settings, until: float, seed: int | None = None) -> bool:
        left = until - time.monotonic()
        same = [f.seconds for f in self.fits if f.settings.architecture == settings.architecture]
        # The first of an architecture is always begun: each is to be in the report.
        if same and left < WORTHWHILE * sum(same) / len(same):
            return False
        limit = max(min(self.limit, left), 0.5)
        result = fit(self.data, self.means, settings, self.seed if seed is None else seed, limit)
        self.fits.append(result)
        self.tried.add(settings)
        best = self.best.get(settings.architecture)
        if best is None or result.auc > best.auc:
            self.best[settings.architecture] = result
        top = max(f.auc for f in self.fits)
        self.say(f'trial {len(self.fits)}: {describe(result)}, best {top:.5f}')
        return True

    def least_served(self, architectures: set[str]) -> str:
        """Time in inverse proportion to rank: the better an architecture, the more of it."""
        ranked = sorted(architectures, key=lambda a: -self.best[a].auc)
        spent = {a: sum(f.seconds for f in self.fits if f.settings.architecture == a) for a in ranked}
        return min(ranked, key=lambda a: spent[a] * (ranked.index(a) + 1))


def shared_of(found: Settings, own: Settings) -> Settings:
    return replace(own, **{name: getattr(found, name) for name in SHARED})


def first_batch(data: CtrData, dim: int) -> int:
    rows = len(data.train.labels)
    fitting = [b for b in LADDERS['batch'] if b * STEPS_PER_EPOCH <= rows and b * data.fields * dim <= BATCH_NUMBERS]
    return fitting[-1] if fitting else LADDERS['batch'][0]


def describe(result: Fit) -> str:
    s = result.settings
    structure = 'x'.join(map(str, s.hidden))
    means = ' with means' if s.means else ''
    cut = ', cut off' if result.cut_off else ''
    return (
        f'{s.architecture} {structure}/{s.parts}{means} l2 {s.l2:g} dropout {s.dropout:g} from {s.min_count} '
        f'dim {s.dim} lr {s.lr:g} batch {s.batch} seed {result.seed}: AUC {result.auc:.5f} '
        f'({result.epochs:.1f} epochs, {result.seconds:.1f} s{cut})'
    )
