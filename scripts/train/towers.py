"""Trains the post tower and the user tower together on an export: posts.jsonl, users.jsonl, events.jsonl.

Two-tower sampled softmax with logQ correction (Yi et al. 2019) over in-batch and uniform negatives (Yang et al. 2020).
Every field of a post is optional; field dropout keeps each of them useful alone. Time-ordered split: the last tenth of
the engagements is reported on, the tenth before it chooses the epoch; popularity is printed beside it.
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

from common import Progress, bags, export_onnx, seed_everything, write_model
from events import Export, load_export
from text_hash import HashConfig
from text_tower import golden_inputs
from tower_models import DIM, HISTORY, NEGATIVE, PostTower, PostTowerExport, UserTower
from user_tower import save_user_tower

MAX_ROWS = 1 << 17
K = (20, 100)


def power_of_two(count: int) -> int:
    return 0 if count == 0 else min(MAX_ROWS, 1 << math.ceil(math.log2(2 * count)))


class Batches:
    """Positive engagements as (history, target) pairs; history = up to 30 engagements before it, newest first."""

    def __init__(self, export: Export):
        self.export = export
        user, post, kind = export.event_user, export.event_post, export.event_type
        self.start = np.searchsorted(user, np.arange(export.users + 1))
        self.positive = np.flatnonzero((kind != NEGATIVE) & ~export.repeat)
        self.post = post

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


class Trainer:
    def __init__(self, args: argparse.Namespace, export: Export, config: HashConfig, rng: np.random.Generator):
        self.args, self.export, self.config, self.rng = args, export, config, rng
        self.batches = Batches(export)
        self.fields = export.encode(config)

    def vectors(self, tower: PostTower, posts: np.ndarray, field_dropout: float = 0.0) -> torch.Tensor:
        f = self.fields
        text, topic = (tower.bag(*bags(f[f'{k}_off'], f[f'{k}_ids'], posts)) for k in ('text', 'topic'))
        rows = {k: torch.from_numpy(f[k][posts]) for k in ('author', 'topic_row', 'item')}
        if field_dropout > 0:
            n = len(posts)
            for k in rows:
                rows[k] = rows[k] * (torch.rand(n) >= field_dropout)
            text, topic = text * (torch.rand(n, 1) >= field_dropout), topic * (torch.rand(n, 1) >= field_dropout)
        return tower.fuse(text, topic, rows['author'], rows['topic_row'], rows['item'])

    def all_vectors(self, tower: PostTower) -> torch.Tensor:
        n = self.export.posts
        with torch.no_grad():
            return torch.cat([self.vectors(tower, np.arange(i, min(i + 8192, n))) for i in range(0, n, 8192)])

    def fit(self, until: int, epochs: int, valid_until: int | None, init: dict | None) -> tuple[PostTower, UserTower, dict]:
        """Trains on positives earlier than `until` (ms); early stopping on [until, valid_until) where that is given."""
        args, rng, e = self.args, self.rng, self.export
        tower = PostTower(self.config)
        for table in (tower.author, tower.topic, tower.item):
            torch.nn.init.normal_(table.weight, std=0.05)
        if init:
            with torch.no_grad():
                for name, value in init.items():
                    tower.get_parameter(name).copy_(torch.from_numpy(value))
        user_tower = UserTower(tower.cold.detach())
        user_tower.cold.requires_grad_(True)
        rows = self.batches.positive[e.event_at[self.batches.positive] < until]
        count = np.bincount(e.event_post[rows], minlength=e.posts)
        if self.config.itemRows > 0:
            # Unit vectors have no bias term: start with popularity along the cold-start direction.
            level = np.log1p(count)
            lean = torch.zeros(self.config.itemRows + 1)
            lean[torch.from_numpy(self.fields['item'])] = torch.from_numpy((level - level.mean()) / (level.std() + 1e-6)).float()
            with torch.no_grad():
                tower.item.weight += args.popularity_lean * lean[:, None] * F.normalize(tower.cold, dim=0)
        log_scale = torch.nn.Parameter(torch.tensor(math.log(14.0)))
        slow = [tower.text.weight, tower.topic_map.weight, tower.gates]
        rest = [p for p in [*tower.parameters(), *user_tower.parameters()] if not any(p is s for s in slow)]
        optimiser = torch.optim.AdamW(
            [{'params': [*rest, log_scale], 'lr': args.lr}, {'params': slow, 'lr': args.lr * (0.2 if init else 1)}],
            weight_decay=args.weight_decay,
        )
        q = count / max(1, count.sum())
        uniform = np.flatnonzero(e.post_at < until)
        uniform = uniform if len(uniform) else np.arange(e.posts)
        steps = max(1, len(rows) // args.batch)
        progress, best, history, bad = Progress('towers', steps * epochs, 10), (-1.0, None, 0), [], 0
        for epoch in range(epochs):
            order, losses = rng.permutation(rows), []
            for step in range(steps):
                loss = self.loss(tower, user_tower, log_scale, order[step * args.batch : (step + 1) * args.batch], uniform, q)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(loss.item())
                if not math.isfinite(losses[-1]):
                    raise SystemExit(f'epoch {epoch + 1}, step {step + 1}: the loss is not finite')
                progress.update(epoch * steps + step + 1, f'loss {np.mean(losses):.4f}')
            if valid_until is None:
                continue
            found = self.recall(tower, user_tower, until, valid_until)
            history.append({'epoch': epoch + 1, 'loss': round(float(np.mean(losses)), 4), **found['tower'], 'popularity100': found['popularity'][f'recall{K[-1]}']})
            print(json.dumps(history[-1]), flush=True)
            score = found['tower'][f'recall{K[-1]}']
            bad = 0 if score > best[0] else bad + 1
            if score > best[0]:
                best = (score, [{k: v.clone() for k, v in m.state_dict().items()} for m in (tower, user_tower)], epoch + 1)
            if bad >= args.patience:
                break
        if best[1]:
            tower.load_state_dict(best[1][0])
            user_tower.load_state_dict(best[1][1])
        self.forget_untrained(tower, rows)
        return tower, user_tower, {'epochs': best[2] or epochs, 'history': history, 'scale': round(log_scale.exp().item(), 2)}

    def loss(self, tower, user_tower, log_scale, rows: np.ndarray, uniform: np.ndarray, q: np.ndarray) -> torch.Tensor:
        e, args = self.export, self.args
        posts, types, ages = self.batches.histories(e.event_user[rows], rows, e.event_at[rows])
        target = e.event_post[rows]
        extra = self.rng.choice(uniform, args.negatives)
        unique, inverse = np.unique(np.concatenate([posts.ravel(), target, extra]), return_inverse=True)
        table = self.vectors(tower, np.maximum(unique, 0), args.field_dropout)
        picked = table[torch.from_numpy(inverse)]
        n, h = len(rows), posts.size
        absent = torch.from_numpy((posts < 0)[..., None])
        history = picked[:h].view(n, HISTORY, DIM).masked_fill(absent, 0)
        user = user_tower(history, torch.from_numpy(types), torch.from_numpy(ages))
        logits = log_scale.exp().clamp(max=60) * user @ picked[h:].T
        # A candidate is drawn from the batch (by popularity) or uniformly: expected count of each in this batch.
        candidates = np.concatenate([target, extra])
        expected = n * q[candidates] + args.negatives / len(uniform)
        logits = logits - torch.from_numpy(np.log(expected).astype(np.float32))
        same = torch.from_numpy(candidates[None, :] == target[:, None])
        same[torch.arange(n), torch.arange(n)] = False
        return F.cross_entropy(logits.masked_fill(same, -1e4), torch.arange(n))

    def forget_untrained(self, tower: PostTower, rows: np.ndarray) -> None:
        """Rows that no engaged post reaches are zeroed: an unknown author or id says nothing, not something random."""
        posts = np.unique(self.export.event_post[rows])
        with torch.no_grad():
            for name, table in (('author', tower.author), ('topic_row', tower.topic), ('item', tower.item)):
                seen = torch.zeros(table.num_embeddings, 1)
                seen[torch.from_numpy(np.unique(self.fields[name][posts]))] = 1
                table.weight.mul_(seen)

    def recall(self, tower: PostTower, user_tower: UserTower, since: int, until: int) -> dict:
        """recall@k of the positives in [since, until), new to the user, from what was known at `since`; mean over users."""
        e, b = self.export, self.batches
        inside = b.positive[(e.event_at[b.positive] >= since) & (e.event_at[b.positive] < until)]
        users = np.unique(e.event_user[inside])
        vectors = self.all_vectors(tower)
        past = b.positive[e.event_at[b.positive] < since]
        popular = np.bincount(e.event_post[past], minlength=e.posts).astype(np.float32)
        before = np.array([b.start[u] + np.searchsorted(e.event_at[b.start[u] : b.start[u + 1]], since) for u in users], np.int64)
        hits = {name: dict.fromkeys(K, 0.0) for name in ('tower', 'popularity')}
        top_popular = np.argsort(-popular, kind='stable')[: K[-1] + 200]
        pairs = {u: e.event_post[inside[e.event_user[inside] == u]] for u in users}
        for at in range(0, len(users), 512):
            chunk, edge = users[at : at + 512], before[at : at + 512]
            posts, types, ages = b.histories(chunk, edge, np.full(len(chunk), since))
            history = vectors[torch.from_numpy(np.maximum(posts, 0))] * torch.from_numpy((posts >= 0)[..., None])
            with torch.no_grad():
                user = user_tower(history, torch.from_numpy(types), torch.from_numpy(ages))
            top = (user @ vectors.T).topk(min(e.posts, K[-1] + 200), dim=1).indices.numpy()
            for i, u in enumerate(chunk):
                seen, wanted = e.event_post[b.start[u] : edge[i]], set(pairs[u])
                for name, ranked in (('tower', top[i]), ('popularity', top_popular)):
                    fresh = ranked[~np.isin(ranked, seen)]
                    for k in K:
                        hits[name][k] += len(wanted.intersection(fresh[:k])) / len(wanted)
        return {n: {f'recall{k}': round(v / max(1, len(users)), 4) for k, v in h.items()} for n, h in hits.items()} | {'users': len(users)}


def read_init(folder: Path) -> tuple[HashConfig, dict[str, np.ndarray]]:
    """Text table, topic map, gates and cold vector of a committed post tower."""
    manifest = json.loads((folder / 'manifest.json').read_text())
    t = {x.name: onnx.numpy_helper.to_array(x) for x in onnx.load(folder / 'model.onnx').graph.initializer}
    weight = t['text_rows'].astype(np.float32) * t['text_scale']
    init = {'text.weight': weight, 'topic_map.weight': t['topic_map'].T.copy(), 'gates': np.array(manifest['gates'], np.float32), 'cold': t['cold']}
    return HashConfig.from_json(manifest['hash']), init


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    cli.add_argument('--data', type=Path, required=True, help='folder with posts.jsonl and events.jsonl')
    cli.add_argument('--out', type=Path, default=Path('models'))
    cli.add_argument('--version', required=True)
    cli.add_argument('--init', type=Path, help='post tower whose text table to start from')
    cli.add_argument('--epochs', type=int, default=20)
    cli.add_argument('--batch', type=int, default=512)
    cli.add_argument('--negatives', type=int, default=2048)
    cli.add_argument('--lr', type=float, default=0.003)
    cli.add_argument('--weight-decay', type=float, default=1e-3)
    cli.add_argument('--field-dropout', type=float, default=0.15)
    cli.add_argument('--popularity-lean', type=float, default=0.3)
    cli.add_argument('--patience', type=int, default=3)
    cli.add_argument('--refit', action=argparse.BooleanOptionalAction, default=True, help='train again on everything')
    cli.add_argument('--seed', type=int, default=1)
    cli.add_argument('--threads', type=int, default=1)
    args = cli.parse_args()
    rng = seed_everything(args.seed, args.threads)
    began = time.monotonic()
    export = load_export(args.data)
    base, init = read_init(args.init) if args.init else (HashConfig(), None)
    sizes = {f'{k}Rows': power_of_two(n) for k, n in export.distinct().items()}
    config = HashConfig(**{**base.__dict__, **sizes})
    trainer = Trainer(args, export, config, rng)
    times = np.sort(export.event_at[trainer.batches.positive])
    if len(times) < 100:
        raise SystemExit(f'{args.data}: {len(times)} engagements are too few to train on (100 at least)')
    valid_at, test_at, end = int(times[int(len(times) * 0.8)]), int(times[int(len(times) * 0.9)]), int(times[-1]) + 1
    tower, user_tower, found = trainer.fit(valid_at, args.epochs, test_at, init)
    test = trainer.recall(tower, user_tower, test_at, end)
    print('test', json.dumps(test), flush=True)
    if args.refit:
        tower, user_tower, _ = trainer.fit(end, found['epochs'], None, init)
    with torch.no_grad():
        tower.cold.copy_(user_tower.cold)
    data = {**export.summary(), 'validFrom': valid_at, 'testFrom': test_at, 'until': end, 'seed': args.seed, 'refit': args.refit,
            'init': str(args.init.name) if args.init else None, 'trainSeconds': round(time.monotonic() - began)}  # fmt: skip
    golden = golden_inputs(config)
    onnx_bytes = export_onnx(PostTowerExport(tower), {k: torch.from_numpy(v) for k, v in golden.items()}, ['vector'])
    metrics = {'test': test, **found}
    print(write_model(args.out / 'post-tower' / args.version, onnx_bytes, {
        'name': 'post-tower', 'version': args.version, 'kind': 'post-tower', 'dim': DIM, 'hash': config.to_json(), 'gates': tower.gates.tolist(), 'metrics': metrics, 'data': data,
    }, golden))  # fmt: skip
    some = rng.choice(trainer.batches.positive, 3)
    posts, types, ages = trainer.batches.histories(export.event_user[some], some, export.event_at[some])
    posts[2], types[2], ages[2] = -1, 0, 0
    history = trainer.all_vectors(tower).numpy()[np.maximum(posts, 0)] * (posts >= 0)[..., None]
    inputs = {'history': np.round(history, 6).astype(np.float32), 'types': types, 'age_hours': ages}
    save_user_tower(args.out, args.version, user_tower, inputs, {'tower': f'post-tower@{args.version}', 'metrics': metrics, 'data': data})


if __name__ == '__main__':
    main()
