"""Recall of towers on the newest engagements, and the comparison of new towers with those that serve."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from common import open_session
from events import Export
from text_hash import HashConfig
from tower_models import HISTORY, NEGATIVE

K = (20, 100)
# New towers are worse when their recall@100 lies this share below: twice what another seed changes on the demo world.
TOLERANCE = 0.05
LEAST_ENGAGEMENTS = 100
POSTS_A_RUN = 4096
USERS_A_RUN = 512

# history [U, 30, 64], types [U, 30], age_hours [U, 30] -> [U, 64]
UserVectors = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Engagements:
    """Positive engagements of an export, and what users had done before any of them."""

    def __init__(self, export: Export):
        self.export = export
        self.start = np.searchsorted(export.event_user, np.arange(export.users + 1))
        self.positive = np.flatnonzero((export.event_type != NEGATIVE) & ~export.repeat)

    def histories(self, user: np.ndarray, before: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Newest 30 events of each user with index < before: posts [U, 30] (-1 absent), types, age in hours at `at`."""
        e = self.export
        index = before[:, None] - 1 - np.arange(HISTORY)
        known = index >= self.start[user][:, None]
        index = np.where(known, index, 0)
        age = np.maximum(0, at[:, None] - e.event_at[index]) / 3_600_000
        return (
            np.where(known, e.event_post[index], -1),
            np.where(known, e.event_type[index], 0).astype(np.int32),
            np.where(known, age, 0).astype(np.float32),
        )


def recall(engagements: Engagements, vectors: np.ndarray, user_vectors: UserVectors, since: int, until: int) -> dict:
    """recall@k of the positives in [since, until), new to the user, from what was known at `since`; mean over users."""
    b, e = engagements, engagements.export
    inside = b.positive[(e.event_at[b.positive] >= since) & (e.event_at[b.positive] < until)]
    users = np.unique(e.event_user[inside])
    past = b.positive[e.event_at[b.positive] < since]
    popular = np.bincount(e.event_post[past], minlength=e.posts).astype(np.float32)
    before = np.array([b.start[u] + np.searchsorted(e.event_at[b.start[u] : b.start[u + 1]], since) for u in users], np.int64)
    hits = {name: dict.fromkeys(K, 0.0) for name in ('tower', 'popularity')}
    longest = min(e.posts, K[-1] + 200)
    top_popular = np.argsort(-popular, kind='stable')[:longest]
    pairs = {u: e.event_post[inside[e.event_user[inside] == u]] for u in users}
    for at in range(0, len(users), USERS_A_RUN):
        chunk, edge = users[at : at + USERS_A_RUN], before[at : at + USERS_A_RUN]
        posts, types, ages = b.histories(chunk, edge, np.full(len(chunk), since))
        history = vectors[np.maximum(posts, 0)] * (posts >= 0)[..., None]
        scores = user_vectors(history.astype(np.float32), types, ages) @ vectors.T
        top = np.argpartition(-scores, longest - 1, axis=1)[:, :longest]
        top = np.take_along_axis(top, np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind='stable'), 1)
        for i, u in enumerate(chunk):
            seen, wanted = e.event_post[b.start[u] : edge[i]], set(pairs[u])
            for name, ranked in (('tower', top[i]), ('popularity', top_popular)):
                fresh = ranked[~np.isin(ranked, seen)]
                for k in K:
                    hits[name][k] += len(wanted.intersection(fresh[:k])) / len(wanted)
    return {n: {f'recall{k}': round(v / max(1, len(users)), 4) for k, v in h.items()} for n, h in hits.items()} | {'users': len(users)}


class Serving:
    """The towers that serve now, as their ONNX files."""

    def __init__(self, post_folder: Path, user_folder: Path):
        manifests = [json.loads((folder / 'manifest.json').read_text()) for folder in (post_folder, user_folder)]
        self.name = ' and '.join(f"{m['name']}@{m['version']}" for m in manifests)
        self.config = HashConfig.from_json(manifests[0]['hash'])
        self.until = max((m.get('data', {}).get('until') or 0) for m in manifests)
        self.post, self.user = (open_session((folder / 'model.onnx').read_bytes()) for folder in (post_folder, user_folder))

    def post_vectors(self, export: Export) -> np.ndarray:
        fields, parts = export.encode(self.config), []
        for at in range(0, export.posts, POSTS_A_RUN):
            rows = np.arange(at, min(at + POSTS_A_RUN, export.posts))
            inputs = {f'{k}_ids' if k == 'text' else 'topic_text_ids': padded(fields[f'{k}_off'], fields[f'{k}_ids'], rows) for k in ('text', 'topic')}
            for name, key in (('author_id', 'author'), ('topic_id', 'topic_row'), ('item_id', 'item')):
                inputs[name] = fields[key][rows].astype(np.int32)
            parts.append(self.post.run(['vector'], inputs)[0])
        return np.concatenate(parts)

    def user_vectors(self, history: np.ndarray, types: np.ndarray, ages: np.ndarray) -> np.ndarray:
        return self.user.run(['vector'], {'history': history, 'types': types, 'age_hours': ages})[0]


def padded(offsets: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """CSR rows as int32 [N, longest], 0 where a row is shorter; one column at least."""
    lengths = offsets[rows + 1] - offsets[rows]
    out = np.zeros((len(rows), max(1, int(lengths.max(initial=0)))), np.int32)
    for i, row in enumerate(rows):
        out[i, : lengths[i]] = ids[offsets[row] : offsets[row + 1]]
    return out


def split_times(times: np.ndarray, learned_until: int) -> tuple[int, int, str | None]:
    """Times (ms) from which the epoch is chosen and from which is reported, and why nothing can be compared.

    The last tenth of the engagements is reported on; where what serves has learned from a part of it, only what came after.
    """
    test = int(len(times) * 0.9)
    if learned_until > times[test]:
        newer = int(np.searchsorted(times, learned_until))
        if len(times) - newer < LEAST_ENGAGEMENTS:
            reason = f'{len(times) - newer} engagements are newer than what it has learned from, {LEAST_ENGAGEMENTS} are needed'
            return int(times[int(len(times) * 0.8)]), int(times[test]), reason
        test = newer
    return int(times[int(test * 8 / 9)]), int(times[test]), None


def compare(serving: Serving | None, engagements: Engagements, new: dict, since: int, until: int, reason: str | None) -> dict:
    """`new`: recall of the new towers in the same time, without having learned from it."""
    own = {'tolerance': {f'recall{K[-1]}': f'{TOLERANCE:.0%}'}}
    if serving is None:
        return {**own, 'against': None, 'worse': False}
    if reason is not None:
        return {**own, 'against': serving.name, 'worse': True, 'reason': reason}
    old = recall(engagements, serving.post_vectors(engagements.export), serving.user_vectors, since, until)
    key = f'recall{K[-1]}'
    worse = new['tower'][key] < old['tower'][key] * (1 - TOLERANCE)
    return {**own, 'against': serving.name, 'candidate': new['tower'], 'incumbent': old['tower'], 'rows': new['users'], 'fromMs': since, 'worse': worse}
