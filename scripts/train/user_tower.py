"""Pre-trains the committed user tower on pseudo-users, so that it makes sense before an adopter has events.

Titles carry no users, so users are made: each has one to four labels (subreddits) with Dirichlet shares that drift
over weeks, clicks that are noisier than likes, and some hides. The next engagement is predicted by a softmax over
in-batch and random posts. Labels that the text tower never saw are left to the report.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import torch
import torch.nn.functional as F

from common import Progress, export_onnx, seed_everything, write_model
from corpus import embed_all, load_corpus, narrow, part_of
from text_hash import HashConfig
from tower_models import DIM, HISTORY, NEGATIVE, UserTower

# How often an engagement of each type is noise (a post of no label of the user); types 1..5 of the towers.
NOISE = np.array([0, 0.35, 0.10, 0.12, 0.10, 0.18])
SHARE = np.array([0, 0.55, 0.2, 0.07, 0.05, 0.13])


class PseudoUsers:
    """Draws users over posts [N, 64] with labels [N]; only labels in `allowed`."""

    def __init__(self, vectors: np.ndarray, labels: np.ndarray, allowed: np.ndarray, rng: np.random.Generator):
        self.rng, self.vectors = rng, vectors
        rows = np.flatnonzero(np.isin(labels, allowed))
        order = rows[np.argsort(labels[rows], kind='stable')]
        self.rows, sorted_labels = order, labels[order]
        self.starts = np.searchsorted(sorted_labels, allowed)
        self.counts = np.searchsorted(sorted_labels, allowed, side='right') - self.starts

    def posts_of(self, label: np.ndarray) -> np.ndarray:
        return self.rows[self.starts[label] + (self.rng.random(label.shape) * self.counts[label]).astype(np.int64)]

    def draw(self, users: int) -> dict[str, np.ndarray]:
        rng = self.rng
        interests = rng.integers(0, len(self.starts), (users, 4))
        share = rng.dirichlet([0.7] * 4, users) * (np.arange(4) < rng.integers(1, 5, users)[:, None])
        share /= share.sum(1, keepdims=True)
        # Ages grow geometrically from minutes to months; interests move towards `later` shares with age.
        ages = np.cumsum(rng.exponential(1, (users, HISTORY)) * rng.lognormal(1.5, 1.3, (users, 1)), 1)
        later = rng.dirichlet([0.7] * 4, users)
        drift = 1 - np.exp(-ages / (24 * 30))
        mix = share[:, None] * (1 - drift[..., None]) + later[:, None] * drift[..., None]
        chosen = (mix.cumsum(-1) > rng.random((users, HISTORY, 1))).argmax(-1)
        label = np.take_along_axis(interests, chosen, 1)
        types = rng.choice(6, (users, HISTORY), p=SHARE)
        noise = rng.random((users, HISTORY)) < NOISE[types]
        negative = rng.random((users, HISTORY)) < 0.04
        label = np.where(noise | negative, rng.integers(0, len(self.starts), label.shape), label)
        types = np.where(negative, NEGATIVE, types)
        length = np.minimum(HISTORY, rng.geometric(0.08, users))
        types = types * (np.arange(HISTORY) < length[:, None])
        target = np.take_along_axis(interests, (share.cumsum(-1) > rng.random((users, 1))).argmax(-1)[:, None], 1)[:, 0]
        return {
            'history': self.vectors[self.posts_of(label)] * (types > 0)[..., None],
            'types': types.astype(np.int32),
            'age_hours': (ages * (types > 0)).astype(np.float32),
            'target': self.posts_of(target),
            'label': target,
        }


def tensors(batch: dict[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return tuple(torch.from_numpy(batch[k]) for k in ('history', 'types', 'age_hours'))


def text_table(folder: Path) -> tuple[np.ndarray, HashConfig, dict]:
    """Dequantised text table of a committed post tower, its hash configuration and manifest."""
    manifest = json.loads((folder / 'manifest.json').read_text())
    tensors_ = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(folder / 'model.onnx').graph.initializer}
    weight = tensors_['text_rows'].astype(np.float32) * tensors_['text_scale']
    return weight, HashConfig.from_json(manifest['hash']), manifest


def accuracy(tower: UserTower, batch: dict[str, np.ndarray], vectors: np.ndarray, negatives: np.ndarray) -> dict[str, float]:
    """recall@10 of the true next post among it and the same 1,000 random posts; beside a plain mean of the history."""
    with torch.no_grad():
        user = tower(*tensors(batch)).numpy()
    plain = (batch['history'] * (batch['types'] != NEGATIVE)[..., None]).sum(1)
    plain /= np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1e-6)
    out = {}
    for name, u in (('tower', user), ('mean', plain), ('last', batch['history'][:, 0])):
        own = (u * vectors[batch['target']]).sum(1, keepdims=True)
        out[name] = round(float(((u @ vectors[negatives].T > own).sum(1) < 10).mean()), 4)
    return out


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    cli.add_argument('--titles', type=Path, required=True, help='Parquet file with a text and a label column')
    cli.add_argument('--text-column', default='title')
    cli.add_argument('--label-column', default='subreddit')
    cli.add_argument('--score-column', default='score', help='popularity of a post: makes the cold-start vector')
    cli.add_argument('--cache', type=Path)
    cli.add_argument('--post-tower', type=Path, default=Path('models/post-tower/1'))
    cli.add_argument('--out', type=Path, default=Path('models'))
    cli.add_argument('--version', default='1')
    cli.add_argument('--steps', type=int, default=1200)
    cli.add_argument('--batch', type=int, default=512)
    cli.add_argument('--seed', type=int, default=1)
    cli.add_argument('--threads', type=int, default=1)
    args = cli.parse_args()
    rng = seed_everything(args.seed, args.threads)
    began = time.monotonic()
    corpus = load_corpus(args.titles, args.cache, args.text_column, args.label_column)
    weight, config, post_manifest = text_table(args.post_tower)
    sample = rng.permutation(len(corpus['sub']))[:600_000]
    sample.sort()
    off, ids = narrow(corpus['off'], corpus['ids'], config)
    vectors, labels = embed_all(weight, off, ids)[sample], corpus['sub'][sample]
    part = np.array([part_of(str(n)) for n in corpus['names']])
    import pyarrow.parquet as pq

    score = pq.read_table(args.titles, columns=[args.score_column])[args.score_column].to_numpy()[sample]
    popular = (vectors * np.log1p(np.maximum(score, 0)).astype(np.float32)[:, None]).sum(0)
    tower = UserTower(torch.from_numpy(popular))
    made = {p: PseudoUsers(vectors, labels, np.flatnonzero(part == p), rng) for p in (0, 1, 2)}
    valid = made[1].draw(4000)
    negatives = rng.integers(0, len(vectors), 1000)
    before = accuracy(tower, valid, vectors, negatives)
    print('before', before, flush=True)
    log_scale = torch.nn.Parameter(torch.tensor(math.log(12.0)))
    learned = [p for p in tower.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW([{'params': [*learned, log_scale], 'weight_decay': 0.0}], lr=0.01)
    progress, best, bad = Progress('user', args.steps, 10), (before['tower'], {k: v.clone() for k, v in tower.state_dict().items()}), 0
    for step in range(args.steps):
        for group in optimiser.param_groups:
            group['lr'] = 0.01 * 0.5 * (1 + math.cos(math.pi * step / args.steps))
        batch = made[0].draw(args.batch)
        others = torch.from_numpy(vectors[np.concatenate([batch['target'], rng.integers(0, len(vectors), 1024)])])
        user = tower(*tensors(batch))
        logits = torch.exp(log_scale) * user @ others.T
        same = torch.from_numpy(batch['label'][:, None] == batch['label'][None, :])
        logits[:, : args.batch] = logits[:, : args.batch].masked_fill(same & ~torch.eye(args.batch, dtype=torch.bool), -1e4)
        loss = F.cross_entropy(logits, torch.arange(args.batch))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        progress.update(step + 1, f'loss {loss.item():.3f}')
        if (step + 1) % 150 == 0:
            found = accuracy(tower, valid, vectors, negatives)
            print(json.dumps({'step': step + 1, **found}), flush=True)
            bad = 0 if found['tower'] > best[0] else bad + 1
            if found['tower'] > best[0]:
                best = (found['tower'], {k: v.clone() for k, v in tower.state_dict().items()})
            if bad >= 3:
                break
    tower.load_state_dict(best[1])
    test = accuracy(tower, made[2].draw(8000), vectors, negatives)
    small = {k: round(v.item(), 4) if v.dim() == 0 else [round(x, 4) for x in v.tolist()] for k, v in tower.state_dict().items() if v.dim() == 0 or len(v) < 10}
    print('test labels', test, small, flush=True)
    golden = made[1].draw(3)
    inputs = {k: golden[k].astype(np.float32 if k != 'types' else np.int32) for k in ('history', 'types', 'age_hours')}
    for value in inputs.values():
        value[2] = 0
    inputs = {k: np.round(v, 6) if v.dtype == np.float32 else v for k, v in inputs.items()}
    save_user_tower(args.out, args.version, tower, inputs, {
        'tower': f"{post_manifest['name']}@{post_manifest['version']}",
        'metrics': {'nextRecall10Of1000': test, 'beforeTraining': before, 'parameters': small},
        'data': {'posts': len(vectors), 'users': 'pseudo', 'seed': args.seed, 'trainSeconds': round(time.monotonic() - began)},
    })  # fmt: skip


def save_user_tower(out: Path, version: str, tower: UserTower, golden: dict[str, np.ndarray], extra: dict) -> None:
    onnx_bytes = export_onnx(tower, {k: torch.from_numpy(v) for k, v in golden.items()}, ['vector'])
    manifest = {'name': 'user-tower', 'version': version, 'kind': 'user-tower', 'dim': DIM, 'history': HISTORY, **extra}
    print(write_model(out / 'user-tower' / version, onnx_bytes, manifest, golden))


if __name__ == '__main__':
    main()
