"""Trains the post tower and the user tower together on an export: posts.jsonl, users.jsonl, events.jsonl.

Two-tower sampled softmax with logQ correction (Yi et al. 2019) over in-batch and uniform negatives (Yang et al. 2020).
Every field of a post is optional; field dropout keeps each of them useful alone. Time-ordered split: the last tenth of
the engagements is reported on, the tenth before it chooses the epoch; popularity and the towers that serve are printed
beside it. Run by torchrun it is data-parallel; a killed run goes on from its last checkpoint.
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

from checkpoint import Checkpoint, fingerprint_of
from common import Progress, bags, export_onnx, seed_everything, write_model
from distributed import DEVICES, Team, join
from events import Export, load_export
from text_hash import HashConfig
from text_tower import golden_inputs
from tower_models import DIM, HISTORY, PostTower, PostTowerExport, UserTower
from tower_report import K, LEAST_ENGAGEMENTS, Engagements, Serving, compare, recall, split_times
from user_tower import save_user_tower

MAX_ROWS = 1 << 17
CURVE_POINTS = 100


def power_of_two(count: int) -> int:
    return 0 if count == 0 else min(MAX_ROWS, 1 << math.ceil(math.log2(2 * count)))


class Trainer:
    def __init__(self, args: argparse.Namespace, export: Export, config: HashConfig, team: Team):
        self.args, self.export, self.config, self.team = args, export, config, team
        self.batches = Engagements(export)
        self.fields = export.encode(config)
        self.curves: dict[str, dict] = {}

    def vectors(self, tower: PostTower, posts: np.ndarray, field_dropout: float = 0.0) -> torch.Tensor:
        f, device = self.fields, self.team.device
        text, topic = (tower.bag(*(t.to(device) for t in bags(f[f'{k}_off'], f[f'{k}_ids'], posts))) for k in ('text', 'topic'))
        rows = {k: torch.from_numpy(f[k][posts]).to(device) for k in ('author', 'topic_row', 'item')}
        if field_dropout > 0:
            n = len(posts)
            for k in rows:
                rows[k] = rows[k] * (torch.rand(n, device=device) >= field_dropout)
            text, topic = (x * (torch.rand(n, 1, device=device) >= field_dropout) for x in (text, topic))
        return tower.fuse(text, topic, rows['author'], rows['topic_row'], rows['item'])

    def all_vectors(self, tower: PostTower) -> np.ndarray:
        n = self.export.posts
        with torch.no_grad():
            return np.concatenate([self.vectors(tower, np.arange(i, min(i + 8192, n))).cpu().numpy() for i in range(0, n, 8192)])

    def make(self, init: dict | None, rows: np.ndarray) -> tuple[PostTower, UserTower]:
        """Towers before training; `rows`: the positives that they will learn from."""
        e = self.export
        torch.manual_seed(self.args.seed)
        tower = PostTower(self.config)
        for table in (tower.author, tower.topic, tower.item):
            torch.nn.init.normal_(table.weight, std=0.05)
        if init:
            with torch.no_grad():
                for name, value in init.items():
                    tower.get_parameter(name).copy_(torch.from_numpy(value))
        user_tower = UserTower(tower.cold.detach())
        user_tower.cold.requires_grad_(True)
        if self.config.itemRows > 0:
            # Unit vectors have no bias term: start with popularity along the cold-start direction.
            level = np.log1p(np.bincount(e.event_post[rows], minlength=e.posts))
            lean = torch.zeros(self.config.itemRows + 1)
            lean[torch.from_numpy(self.fields['item'])] = torch.from_numpy((level - level.mean()) / (level.std() + 1e-6)).float()
            with torch.no_grad():
                tower.item.weight += self.args.popularity_lean * lean[:, None] * F.normalize(tower.cold, dim=0)
        return tower.to(self.team.device), user_tower.to(self.team.device)

    def fit(self, label: str, until: int, epochs: int, valid_until: int | None, init: dict | None) -> tuple[PostTower, UserTower, dict]:
        """Trains on positives earlier than `until` (ms); early stopping on [until, valid_until) where that is given.

        Random numbers of a step come from (seed, step, process): a resumed run is the run that was not interrupted.
        """
        args, team, e = self.args, self.team, self.export
        began = time.monotonic()
        rows = self.batches.positive[e.event_at[self.batches.positive] < until]
        tower, user_tower = self.make(init, rows)
        log_scale = torch.nn.Parameter(torch.tensor(math.log(14.0), device=team.device))
        learned = [*tower.parameters(), *user_tower.parameters(), log_scale]
        slow = [tower.text.weight, tower.topic_map.weight, tower.gates]
        rest = [p for p in learned if not any(p is s for s in slow)]
        optimiser = torch.optim.AdamW(
            [{'params': rest, 'lr': args.lr}, {'params': slow, 'lr': args.lr * (0.2 if init else 1)}], weight_decay=args.weight_decay
        )
        parts = torch.nn.ModuleDict({'post': tower, 'user': user_tower})
        count = np.bincount(e.event_post[rows], minlength=e.posts)
        q = count / max(1, count.sum())
        uniform = np.flatnonzero(e.post_at < until) if (e.post_at < until).any() else np.arange(e.posts)
        steps = max(1, len(rows) // args.batch)
        own = ('batch', 'negatives', 'lr', 'weight_decay', 'field_dropout', 'popularity_lean', 'patience', 'seed')
        mark = fingerprint_of(label, until, valid_until, epochs, self.config, e.summary(), [getattr(args, k) for k in own], team.size, bool(init))
        checkpoint = Checkpoint(args.checkpoints / f'{label}.pt' if args.checkpoints else None, mark)
        state = {'step': 0, 'best': -1.0, 'best_state': None, 'bad': 0, 'sum': 0.0, 'count': 0, 'spent': 0.0, 'done': False}
        curves = {'loss': [], 'epochs': [], 'best_epoch': 0, 'stopped_early': False, 'seconds': 0.0, 'resumed_at': []}
        found = checkpoint.load()
        if found:
            parts.load_state_dict(found['parts'])
            optimiser.load_state_dict(found['optimiser'])
            with torch.no_grad():
                log_scale.copy_(found['log_scale'])
            state, curves = found['state'], found['curves']
            curves['resumed_at'].append(state['step'])
            team.print(f'{label}: goes on from step {state["step"]} of {steps * epochs}')
        progress, saved = Progress(label, steps * epochs, 10, done=state['step']), time.monotonic()
        began -= state['spent']
        while not state['done'] and state['step'] < steps * epochs:
            epoch, at = divmod(state['step'], steps)
            if at == 0 or state['step'] == progress.first:
                order = np.random.default_rng([args.seed, epoch]).permutation(rows)
            torch.manual_seed(hash((args.seed, state['step'], team.rank)) & 0x7FFFFFFF)
            rng = np.random.default_rng([args.seed, state['step'], team.rank, 1])
            part = team.share(order[at * args.batch : (at + 1) * args.batch])
            loss = self.loss(tower, user_tower, log_scale, part, uniform, q, rng)
            optimiser.zero_grad()
            loss.backward()
            team.average_gradients(learned, len(part))
            optimiser.step()
            state['sum'], state['count'], state['step'] = state['sum'] + loss.item(), state['count'] + 1, state['step'] + 1
            if not math.isfinite(state['sum']):
                raise SystemExit(f'{label}, step {state["step"]}: the loss is not finite; a lower --lr may help')
            if state['step'] % max(1, steps * epochs // CURVE_POINTS) == 0:
                curves['loss'].append([state['step'], round(state['sum'] / state['count'], 4)])
                state['sum'], state['count'] = 0.0, 0
            if team.leads:
                progress.update(state['step'], f'epoch {epoch + 1}, loss {loss.item():.4f}')
            state['spent'] = time.monotonic() - began
            if state['step'] % steps == 0 and valid_until is not None:
                self.judge(state, curves, parts, epoch, until, valid_until)
            elif state['step'] % steps != 0 and time.monotonic() - saved < args.checkpoint_seconds:
                continue
            if team.leads:
                whole = {'parts': parts.state_dict(), 'optimiser': optimiser.state_dict(), 'log_scale': log_scale.detach()}
                checkpoint.save({**whole, 'state': state, 'curves': curves})
            saved = time.monotonic()
        if state['best_state']:
            parts.load_state_dict(state['best_state'])
        curves['seconds'], curves['best_epoch'] = round(state['spent'], 1), curves['best_epoch'] or epochs
        self.curves[label] = curves
        self.forget_untrained(tower, rows)
        return tower.cpu(), user_tower.cpu(), {'epochs': curves['best_epoch'], 'history': curves['epochs'], 'scale': round(log_scale.exp().item(), 2)}

    def judge(self, state: dict, curves: dict, parts: torch.nn.ModuleDict, epoch: int, since: int, until: int) -> None:
        """Keeps the best towers; ends the training when recall has not risen for `patience` epochs."""
        found = self.team.agree(self.measure(parts['post'], parts['user'], since, until) if self.team.leads else None)
        score = found['tower'][f'recall{K[-1]}']
        curves['epochs'].append({'epoch': epoch + 1, 'step': state['step'], **found['tower'], 'popularity100': found['popularity'][f'recall{K[-1]}']})
        self.team.print(json.dumps(curves['epochs'][-1]))
        if score > state['best']:
            state['best'], state['bad'], curves['best_epoch'] = score, 0, epoch + 1
            state['best_state'] = {k: v.clone() for k, v in parts.state_dict().items()}
            return
        state['bad'] += 1
        state['done'] = curves['stopped_early'] = state['bad'] >= self.args.patience

    def measure(self, tower: PostTower, user_tower: UserTower, since: int, until: int) -> dict:
        device = self.team.device
        tower, user_tower = tower.to(device), user_tower.to(device)

        def user_vectors(history: np.ndarray, types: np.ndarray, ages: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return user_tower(*(torch.from_numpy(x).to(device) for x in (history, types, ages))).cpu().numpy()

        return recall(self.batches, self.all_vectors(tower), user_vectors, since, until)

    def loss(self, tower, user_tower, log_scale, rows: np.ndarray, uniform: np.ndarray, q: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        e, args, device = self.export, self.args, self.team.device
        posts, types, ages = self.batches.histories(e.event_user[rows], rows, e.event_at[rows])
        target = e.event_post[rows]
        extra = rng.choice(uniform, args.negatives)
        unique, inverse = np.unique(np.concatenate([posts.ravel(), target, extra]), return_inverse=True)
        table = self.vectors(tower, np.maximum(unique, 0), args.field_dropout)
        picked = table[torch.from_numpy(inverse).to(device)]
        n, h = len(rows), posts.size
        absent = torch.from_numpy((posts < 0)[..., None]).to(device)
        history = picked[:h].view(n, HISTORY, DIM).masked_fill(absent, 0)
        user = user_tower(history, torch.from_numpy(types).to(device), torch.from_numpy(ages).to(device))
        logits = log_scale.exp().clamp(max=60) * user @ picked[h:].T
        # A candidate is drawn from the batch (by popularity) or uniformly: expected count of each in this batch.
        candidates = np.concatenate([target, extra])
        expected = n * q[candidates] + args.negatives / len(uniform)
        logits = logits - torch.from_numpy(np.log(expected).astype(np.float32)).to(device)
        same = torch.from_numpy(candidates[None, :] == target[:, None]).to(device)
        same[torch.arange(n), torch.arange(n)] = False
        return F.cross_entropy(logits.masked_fill(same, -1e4), torch.arange(n, device=device))

    def forget_untrained(self, tower: PostTower, rows: np.ndarray) -> None:
        """Rows that no engaged post reaches are zeroed: an unknown author or id says nothing, not something random."""
        posts = np.unique(self.export.event_post[rows])
        with torch.no_grad():
            for name, table in (('author', tower.author), ('topic_row', tower.topic), ('item', tower.item)):
                seen = torch.zeros(table.num_embeddings, 1, device=table.weight.device)
                seen[torch.from_numpy(np.unique(self.fields[name][posts]))] = 1
                table.weight.mul_(seen)


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
    cli.add_argument('--device', choices=DEVICES, default='auto')
    cli.add_argument('--incumbent-post', type=Path, help='post tower that serves now, to compare with')
    cli.add_argument('--incumbent-user', type=Path)
    cli.add_argument('--checkpoints', type=Path, help='folder; a run with the same data and settings goes on from there')
    cli.add_argument('--checkpoint-seconds', type=float, default=30)
    cli.add_argument('--json', type=Path, help='write the figures')
    args = cli.parse_args()
    team = join(args.device)
    try:
        run(args, team)
    finally:
        team.leave()


def run(args: argparse.Namespace, team: Team) -> None:
    rng = seed_everything(args.seed, args.threads)
    began = time.monotonic()
    export = load_export(args.data)
    base, init = read_init(args.init) if args.init else (HashConfig(), None)
    config = HashConfig(**{**base.__dict__, **{f'{k}Rows': power_of_two(n) for k, n in export.distinct().items()}})
    trainer = Trainer(args, export, config, team)
    times = np.sort(export.event_at[trainer.batches.positive])
    if len(times) < LEAST_ENGAGEMENTS:
        raise SystemExit(f'{args.data}: {len(times)} engagements are too few to train on ({LEAST_ENGAGEMENTS} at least)')
    serving = Serving(args.incumbent_post, args.incumbent_user) if args.incumbent_post and args.incumbent_user else None
    valid_at, test_at, reason = split_times(times, serving.until if serving else 0)
    end = int(times[-1]) + 1
    if not times[0] < valid_at < test_at < end:
        raise SystemExit(f'{args.data}: the engagements have too few different times to be split into what trains and what is reported on')
    tower, user_tower, found = trainer.fit('towers', valid_at, args.epochs, test_at, init)
    if team.leads:
        test = trainer.measure(tower, user_tower, test_at, end)
        team.print(f'test {json.dumps(test)}')
        comparison = compare(serving, trainer.batches, test, test_at, end, reason)
    if args.refit:
        tower, user_tower, _ = trainer.fit('towers again', end, found['epochs'], None, init)
    if not team.leads:
        return
    tower.cold.data.copy_(user_tower.cold.data)
    data = {**export.summary(), 'validFrom': valid_at, 'testFrom': test_at, 'until': end, 'seed': args.seed, 'refit': args.refit,
            'init': str(args.init.name) if args.init else None, 'trainSeconds': round(time.monotonic() - began)}  # fmt: skip
    golden = golden_inputs(config)
    onnx_bytes = export_onnx(PostTowerExport(tower), {k: torch.from_numpy(v) for k, v in golden.items()}, ['vector'])
    metrics = {'test': test, **found}
    told = {'metrics': metrics, 'comparison': comparison, 'data': data}
    print(write_model(args.out / 'post-tower' / args.version, onnx_bytes, {
        'name': 'post-tower', 'version': args.version, 'kind': 'post-tower', 'dim': DIM, 'hash': config.to_json(), 'gates': tower.gates.tolist(), **told,
    }, golden))  # fmt: skip
    some = rng.choice(trainer.batches.positive, 3)
    posts, types, ages = trainer.batches.histories(export.event_user[some], some, export.event_at[some])
    posts[2], types[2], ages[2] = -1, 0, 0
    history = trainer.all_vectors(tower)[np.maximum(posts, 0)] * (posts >= 0)[..., None]
    inputs = {'history': np.round(history, 6).astype(np.float32), 'types': types, 'age_hours': ages}
    save_user_tower(args.out, args.version, user_tower, inputs, {'tower': f'post-tower@{args.version}', **told})
    if args.json:
        args.json.write_text(json.dumps({'metrics': metrics, 'comparison': comparison, 'curves': trainer.curves}) + '\n')


if __name__ == '__main__':
    main()
