"""Pre-trains the post tower's text table on real titles with a label each (a subreddit), some labels held out.

Signals: the label of a title among all training labels (cosine softmax over label vectors, NormFace, Wang et al. 2017)
and, where given, sentence vectors of a teacher (distillation; PCA to 64-d). Whole labels are held out twice: one part
to choose the epoch, one part to report. Reports agreement@10 beside chance and a hashed TF-IDF random projection.
With --checkpoints a killed run goes on from its last one, and ends where it would have ended.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from checkpoint import Checkpoint, fingerprint_of
from common import Progress, bags, export_onnx, seed_everything, write_model
from corpus import agreement, baseline_vectors, embed_all, load_corpus, narrow, part_of
from text_hash import HashConfig, pad_rows, text_rows
from tower_models import DIM, PostTower, PostTowerExport, quantise

# What decides the result, beside the corpus, the hashing and the teacher.
DECISIVE = ('seed', 'epochs', 'batch', 'lr', 'scale', 'topic_weight', 'init_std', 'token_dropout', 'label_weight')
DECISIVE_TEACHER = ('teacher_weight', 'teacher_batch', 'contrast', 'warm_steps', 'checks', 'patience')


def load_teacher(path: Path, config: HashConfig) -> dict[str, np.ndarray]:
    """Teacher's texts as CSR rows and its vectors centred, reduced to 64 principal components and normalised."""
    data = np.load(path)
    vectors = data['vectors'].astype(np.float32)
    sentences = vectors[int(data['words']) :] if len(vectors) > int(data['words']) else vectors
    mean = sentences.mean(0)
    _, basis = np.linalg.eigh(np.cov((sentences - mean).T))
    target = (vectors - mean) @ basis[:, ::-1][:, :DIM]
    rows = [text_rows(str(t), config) for t in data['texts']]
    return {
        'off': np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64),
        'ids': np.concatenate([np.array(r, np.int32) for r in rows]),
        'target': (target / np.maximum(np.linalg.norm(target, axis=1, keepdims=True), 1e-6)).astype(np.float32),
        'words': np.arange(len(rows)) < int(data['words']),
    }


class TextTrainer:
    """Text rows and label vectors, what they learn from, and how far the training is (`state`, as checkpoints keep it)."""

    def __init__(self, args: argparse.Namespace, config: HashConfig, corpus: dict, rng: np.random.Generator):
        self.args, self.config = args, config
        self.off, self.ids, self.labels = off, ids, labels = corpus['off'], corpus['ids'], corpus['sub']
        self.part = np.array([part_of(str(n)) for n in corpus['names']])
        self.code = np.cumsum(self.part == 0) - 1
        self.rows = np.flatnonzero(self.part[labels] == 0)
        # Validation: neighbours of held-out posts among all posts of validation labels and a sample of the rest.
        valid = np.flatnonzero(self.part[labels] == 1)
        self.pool = np.concatenate([valid, rng.permutation(self.rows)[:300_000]])
        self.asked = rng.permutation(len(valid))[:2000]
        names = [text_rows(str(n), config, config.topicTokens) for n in corpus['names'][self.part == 0]]
        self.name_off = np.concatenate([[0], np.cumsum([len(r) for r in names])]).astype(np.int64)
        self.name_ids = np.concatenate([np.array(r, np.int32) for r in names])
        self.teacher = load_teacher(args.teacher, config) if args.teacher else None
        self.teacher_size = len(self.teacher['target']) if self.teacher else 0
        self.tower = PostTower(config)
        with torch.no_grad():
            # Random rows by inverse document frequency: a word that training never meets still tells posts apart.
            count = np.bincount(bags(off, ids, self.rows)[0].numpy(), minlength=config.buckets)
            idf = np.log(len(self.rows) / (1 + count)).clip(0) / math.log(len(self.rows))
            self.tower.text.weight.normal_(std=args.init_std).mul_(torch.from_numpy(idf.astype(np.float32))[:, None])
        self.classes = torch.nn.Parameter(F.normalize(torch.randn(int((self.part == 0).sum()), DIM), dim=1))
        learned = [self.tower.text.weight, self.classes]
        self.optimiser = torch.optim.Adam([{'params': [p], 'lr': args.lr} for p in learned], fused=True)
        self.warm_steps = args.warm_steps if self.teacher else 0
        self.steps_per_epoch = len(self.rows) // args.batch
        self.total = math.ceil(args.epochs * self.steps_per_epoch)
        # Steps below 0 are the teacher's alone, before the labels.
        self.state = {'step': -self.warm_steps, 'best': -1.0, 'best_rows': None, 'bad': 0, 'history': [], 'losses': [], 'done': False}
        self.order_epoch, self.order = -1, self.rows

    def train(self) -> tuple[PostTower, dict]:
        args, state, total = self.args, self.state, self.total + self.warm_steps
        settings = [getattr(args, name) for name in (*DECISIVE, *DECISIVE_TEACHER)]
        content = len(self.off), int(self.ids[:: max(1, len(self.ids) // 1000)].sum()), self.teacher_size
        checkpoint = Checkpoint(args.checkpoints / 'text.pt' if args.checkpoints else None, fingerprint_of(content, self.config, settings))
        found = checkpoint.load()
        if found:
            with torch.no_grad():
                self.tower.text.weight.copy_(found['rows'])
                self.classes.copy_(found['classes'])
            self.optimiser.load_state_dict(found['optimiser'])
            state = self.state = found['state']
            print(f'text: goes on from step {state["step"] + self.warm_steps} of {total}', flush=True)
        progress, saved = Progress('text', total, args.progress_seconds, done=state['step'] + self.warm_steps), time.monotonic()
        check = max(1, self.total // args.checks)
        while not state['done'] and state['step'] < self.total:
            note = self.step(state['step'])
            state['step'] += 1
            if state['step'] > 0 and (state['step'] % check == 0 or state['step'] == self.total):
                self.judge()
            if state['done'] or time.monotonic() - saved >= args.checkpoint_seconds:
                whole = {'rows': self.tower.text.weight.detach(), 'classes': self.classes.detach(), 'optimiser': self.optimiser.state_dict()}
                checkpoint.save({**whole, 'state': state})
                saved = time.monotonic()
            progress.update(state['step'] + self.warm_steps, note)
        with torch.no_grad():
            self.tower.text.weight.copy_(state['best_rows'])
        return self.tower, {'validAgreement10': state['best'], 'history': state['history'], 'part': self.part}

    def step(self, step: int) -> str:
        """Random numbers come from the seed and the step: a resumed run is the run that was not interrupted."""
        args = self.args
        draw = np.random.default_rng([args.seed, step + self.warm_steps, 1])
        torch.manual_seed(hash((args.seed, step + self.warm_steps)) & 0x7FFFFFFF)
        for group in self.optimiser.param_groups:
            group['lr'] = args.lr * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * max(0, step) / self.total)))
        if step < 0:
            loss = teacher_loss(self.tower, self.teacher, draw.integers(0, self.teacher_size, 4096), args)
            note = f'teacher {loss.item():.3f}'
        else:
            loss, note = self.loss(step, draw)
            self.state['losses'].append(loss.item())
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return note

    def loss(self, step: int, draw: np.random.Generator) -> tuple[torch.Tensor, str]:
        args, tower = self.args, self.tower
        epoch, at = divmod(step, self.steps_per_epoch)
        if epoch != self.order_epoch:
            self.order_epoch, self.order = epoch, np.random.default_rng([args.seed, epoch]).permutation(self.rows)
        chosen = self.order[at * args.batch : (at + 1) * args.batch]
        centres = args.scale * F.normalize(self.classes, dim=1).T
        vector = tower.bag(*drop(*bags(self.off, self.ids, chosen), args.token_dropout))
        loss = F.cross_entropy(vector @ centres, torch.from_numpy(self.code[self.labels[chosen]]), label_smoothing=0.1)
        note = f'label {loss.item():.3f}'
        if args.topic_weight > 0:
            # A topic's name is text too: it should lie where the posts of the topic lie.
            some = draw.integers(0, len(self.name_off) - 1, 256)
            topic = tower.bag(*bags(self.name_off, self.name_ids, some))
            loss = loss + args.topic_weight * F.cross_entropy(topic @ centres, torch.from_numpy(some), label_smoothing=0.1)
        if self.teacher is not None:
            distilled = teacher_loss(tower, self.teacher, draw.integers(0, self.teacher_size, args.teacher_batch), args)
            note += f' teacher {distilled.item():.3f}'
            loss = args.label_weight * loss + args.teacher_weight * distilled
        return loss, note

    def judge(self) -> None:
        """Keeps the best rows; ends the training when agreement has not risen for `patience` checks."""
        state = self.state
        score, _ = agreement(embed_pool(self.tower, self.off, self.ids, self.pool), self.labels[self.pool], self.asked)
        state['history'].append({'step': state['step'], 'loss': round(float(np.mean(state['losses'])), 4), 'validAgreement10': round(score, 4)})
        state['losses'] = []
        print(json.dumps(state['history'][-1]), flush=True)
        state['bad'] = 0 if score > state['best'] else state['bad'] + 1
        if score > state['best']:
            state['best'], state['best_rows'] = score, self.tower.text.weight.detach().clone()
        state['done'] = state['bad'] >= self.args.patience


def embed_pool(tower: PostTower, off: np.ndarray, ids: np.ndarray, pool: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate([tower.bag(*bags(off, ids, pool[i : i + 16384])).numpy() for i in range(0, len(pool), 16384)])


def drop(ids: torch.Tensor, offsets: torch.Tensor, rate: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Removes tokens at random, so that no single token carries a title."""
    if rate <= 0:
        return ids, offsets
    keep = torch.rand(len(ids)) >= rate
    counts = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(keep.long(), 0)])
    return ids[keep], counts[offsets]


def teacher_loss(tower: PostTower, teacher: dict, rows: np.ndarray, args: argparse.Namespace) -> torch.Tensor:
    """1 − cosine to the teacher's reduced vector, plus InfoNCE against the other targets of the batch."""
    vector = tower.bag(*bags(teacher['off'], teacher['ids'], rows))
    target = torch.from_numpy(teacher['target'][rows])
    similarity = vector @ target.T
    loss = 1 - similarity.diagonal().mean()
    return loss + args.contrast * F.cross_entropy(12 * similarity, torch.arange(len(rows)))


def report(weight: np.ndarray, off: np.ndarray, ids: np.ndarray, corpus: dict, part: np.ndarray, rng: np.random.Generator, count: int) -> dict:
    """agreement@10 of `count` random posts of test labels among ALL posts, beside a baseline and chance."""
    labels = corpus['sub']
    queries = rng.permutation(np.flatnonzero(part[labels] == 2))[:count]
    sizes = np.bincount(labels)
    result = {'queries': len(queries), 'posts': len(labels), 'testLabels': int((part == 2).sum())}
    result['chance'] = float(((sizes[labels[queries]] - 1) / (len(labels) - 1)).mean())
    baseline = baseline_vectors(off, ids, len(weight), rng)
    result['tfidfProjection64'] = agreement(baseline, labels, queries)[0]
    del baseline
    result['tower'] = agreement(embed_all(weight, off, ids), labels, queries)[0]
    return {k: round(v, 5) if isinstance(v, float) else v for k, v in result.items()}


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    cli.add_argument('--titles', type=Path, required=True, help='Parquet file with a text and a label column')
    cli.add_argument('--text-column', default='title')
    cli.add_argument('--label-column', default='subreddit')
    cli.add_argument('--cache', type=Path, help='.npz of the hashed corpus, made when absent')
    cli.add_argument('--teacher', type=Path, help='.npz written by teacher.py')
    cli.add_argument('--teacher-name', default='all-MiniLM-L6-v2', help='for the manifest')
    cli.add_argument('--out', type=Path, default=Path('models'))
    cli.add_argument('--version', default='1')
    cli.add_argument('--seed', type=int, default=1)
    cli.add_argument('--threads', type=int, default=1)
    cli.add_argument('--report-queries', type=int, default=1000)
    cli.add_argument('--checkpoints', type=Path, help='folder; a run on the same data with the same settings goes on from there')
    cli.add_argument('--checkpoint-seconds', type=float, default=30)
    cli.add_argument('--progress-seconds', type=float, default=15)
    add_hyper_parameters(cli)
    args = cli.parse_args()
    rng = seed_everything(args.seed, args.threads)
    began = time.monotonic()
    corpus = load_corpus(args.titles, args.cache, args.text_column, args.label_column)
    config = HashConfig(args.word_rows, args.bigram_rows, args.char_rows, maxTokens=args.max_tokens)
    corpus['off'], corpus['ids'] = narrow(corpus['off'], corpus['ids'], config)
    tower, found = TextTrainer(args, config, corpus, rng).train()
    weight, scale = quantise(tower.text.weight)
    measured = report(weight.float().numpy() * scale.numpy()[:, None], corpus['off'], corpus['ids'], corpus, found['part'], rng, args.report_queries)
    print(json.dumps(measured), flush=True)
    popular = F.normalize(embed_mean(tower, corpus, rng), dim=0)
    with torch.no_grad():
        tower.cold.copy_(popular)
    golden = golden_inputs(config)
    onnx_bytes = export_onnx(PostTowerExport(tower), {k: torch.from_numpy(v) for k, v in golden.items()}, ['vector'])
    manifest = {
        'name': 'post-tower',
        'version': args.version,
        'kind': 'post-tower',
        'dim': DIM,
        'hash': config.to_json(),
        'gates': tower.gates.tolist(),
        'metrics': {'agreement10': measured, 'validAgreement10': round(found['validAgreement10'], 4), 'history': found['history']},
        'data': {'posts': len(corpus['sub']), 'labels': len(corpus['names']), 'trainLabels': int((found['part'] == 0).sum()),
                 'seed': args.seed, 'teacher': args.teacher_name if args.teacher else None, 'epochs': args.epochs, 'trainSeconds': round(time.monotonic() - began)},
    }
    print(write_model(args.out / 'post-tower' / args.version, onnx_bytes, manifest, golden))


def embed_mean(tower: PostTower, corpus: dict, rng: np.random.Generator) -> torch.Tensor:
    rows = rng.permutation(len(corpus['sub']))[:200_000]
    return torch.from_numpy(embed_pool(tower, corpus['off'], corpus['ids'], rows).mean(0))


def golden_inputs(config: HashConfig) -> dict[str, np.ndarray]:
    """Text alone, topic alone, both, nothing; author, topic and item rows of whatever the tables hold."""
    texts = ['How do I learn to play the guitar?', '', 'New telescope images of a distant galaxy', '']
    topics = ['', 'astronomy', 'space', '']
    one = np.array([0, 1, 1, 0], np.int32)
    return {
        'text_ids': pad_rows([text_rows(t, config) for t in texts], config.maxTokens),
        'topic_text_ids': pad_rows([text_rows(t, config, config.topicTokens) for t in topics], config.topicTokens),
        'author_id': one * min(1, config.authorRows),
        'topic_id': one * min(1, config.topicRows),
        'item_id': one * min(1, config.itemRows),
    }


def add_hyper_parameters(cli: argparse.ArgumentParser) -> None:
    cli.add_argument('--word-rows', type=int, default=32768)
    cli.add_argument('--bigram-rows', type=int, default=0)
    cli.add_argument('--char-rows', type=int, default=32768)
    cli.add_argument('--max-tokens', type=int, default=128)
    cli.add_argument('--epochs', type=float, default=3)
    cli.add_argument('--batch', type=int, default=2048)
    cli.add_argument('--lr', type=float, default=0.004)
    cli.add_argument('--scale', type=float, default=16.0)
    cli.add_argument('--topic-weight', type=float, default=0.1)
    cli.add_argument('--init-std', type=float, default=0.05)
    cli.add_argument('--token-dropout', type=float, default=0.1)
    cli.add_argument('--label-weight', type=float, default=1.0)
    cli.add_argument('--teacher-weight', type=float, default=6.0)
    cli.add_argument('--teacher-batch', type=int, default=1024)
    cli.add_argument('--contrast', type=float, default=0.1)
    cli.add_argument('--warm-steps', type=int, default=400)
    cli.add_argument('--checks', type=int, default=6)
    cli.add_argument('--patience', type=int, default=2)


if __name__ == '__main__':
    main()
