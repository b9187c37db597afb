"""Pre-trains the post tower's text table on real titles with a label each (a subreddit), some labels held out.

Signals: the label of a title among all training labels (cosine softmax over label vectors, NormFace, Wang et al. 2017)
and, where given, sentence vectors of a teacher (distillation; PCA to 64-d). Whole labels are held out twice: one part
to choose the epoch, one part to report. Reports agreement@10 beside chance and a hashed TF-IDF random projection.
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

from common import Progress, bags, export_onnx, seed_everything, write_model
from corpus import agreement, baseline_vectors, embed_all, load_corpus, narrow, part_of
from text_hash import HashConfig, pad_rows, text_rows
from tower_models import DIM, PostTower, PostTowerExport, quantise

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


def train(args: argparse.Namespace, config: HashConfig, corpus: dict, rng: np.random.Generator) -> tuple[PostTower, dict]:
    off, ids, labels = corpus['off'], corpus['ids'], corpus['sub']
    part = np.array([part_of(str(n)) for n in corpus['names']])
    code = np.cumsum(part == 0) - 1
    rows = np.flatnonzero(part[labels] == 0)
    # Validation: neighbours of held-out posts among all posts of validation labels and a sample of the rest.
    valid = np.flatnonzero(part[labels] == 1)
    pool = np.concatenate([valid, rng.permutation(rows)[:300_000]])
    asked = rng.permutation(len(valid))[:2000]
    tower = PostTower(config)
    with torch.no_grad():
        # Random rows by inverse document frequency: a word that training never meets still tells posts apart.
        count = np.bincount(bags(off, ids, rows)[0].numpy(), minlength=config.buckets)
        idf = np.log(len(rows) / (1 + count)).clip(0) / math.log(len(rows))
        tower.text.weight.normal_(std=args.init_std).mul_(torch.from_numpy(idf.astype(np.float32))[:, None])
    classes = torch.nn.Parameter(F.normalize(torch.randn(int((part == 0).sum()), DIM), dim=1))
    teacher = load_teacher(args.teacher, config) if args.teacher else None
    optimiser = torch.optim.Adam([{'params': [tower.text.weight], 'lr': args.lr}, {'params': [classes], 'lr': args.lr}], fused=True)
    if teacher is not None and args.warm_steps:
        warm_up(args, tower, teacher, optimiser, rng)
    steps_per_epoch = len(rows) // args.batch
    total = math.ceil(args.epochs * steps_per_epoch)
    names = [text_rows(str(n), config, config.topicTokens) for n in corpus['names'][part == 0]]
    name_off = np.concatenate([[0], np.cumsum([len(r) for r in names])]).astype(np.int64)
    name_ids = np.concatenate([np.array(r, np.int32) for r in names])
    progress, best, history, bad = Progress('text', total, 15), (-1.0, None), [], 0
    losses: list[float] = []
    check = max(1, total // args.checks)
    order = rng.permutation(rows)
    for step in range(total):
        at = step % steps_per_epoch
        if at == 0 and step:
            order = rng.permutation(rows)
        for group in optimiser.param_groups:
            group['lr'] = args.lr * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / total)))
        chosen = order[at * args.batch : (at + 1) * args.batch]
        vector = tower.bag(*drop(*bags(off, ids, chosen), args.token_dropout))
        logits = args.scale * vector @ F.normalize(classes, dim=1).T
        loss = F.cross_entropy(logits, torch.from_numpy(code[labels[chosen]]), label_smoothing=0.1)
        note = f'label {loss.item():.3f}'
        if args.topic_weight > 0:
            # A topic's name is text too: it should lie where the posts of the topic lie.
            some = rng.integers(0, len(names), 256)
            topic = tower.bag(*bags(name_off, name_ids, some))
            near = F.cross_entropy(args.scale * topic @ F.normalize(classes, dim=1).T, torch.from_numpy(some), label_smoothing=0.1)
            loss = loss + args.topic_weight * near
        if teacher is not None:
            distilled = teacher_loss(tower, teacher, rng.integers(0, len(teacher['target']), args.teacher_batch), args)
            note += f' teacher {distilled.item():.3f}'
            loss = args.label_weight * loss + args.teacher_weight * distilled
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        if (step + 1) % check == 0 or step + 1 == total:
            vectors = embed_pool(tower, off, ids, pool)
            score, _ = agreement(vectors, labels[pool], asked)
            history.append({'step': step + 1, 'loss': round(float(np.mean(losses[-check:])), 4), 'validAgreement10': round(score, 4)})
            print(json.dumps(history[-1]), flush=True)
            bad = 0 if score > best[0] else bad + 1
            if score > best[0]:
                best = (score, tower.text.weight.detach().clone())
            if bad >= args.patience:
                break
        progress.update(step + 1, note)
    with torch.no_grad():
        tower.text.weight.copy_(best[1])
    return tower, {'validAgreement10': best[0], 'history': history, 'classes': F.normalize(classes.detach(), dim=1), 'part': part}


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


def warm_up(args: argparse.Namespace, tower: PostTower, teacher: dict, optimiser: torch.optim.Optimizer, rng: np.random.Generator) -> None:
    progress = Progress('teacher', args.warm_steps, 15)
    for step in range(args.warm_steps):
        loss = teacher_loss(tower, teacher, rng.integers(0, len(teacher['target']), 4096), args)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        progress.update(step + 1, f'loss {loss.item():.4f}')


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
    add_hyper_parameters(cli)
    args = cli.parse_args()
    rng = seed_everything(args.seed, args.threads)
    began = time.monotonic()
    corpus = load_corpus(args.titles, args.cache, args.text_column, args.label_column)
    config = HashConfig(args.word_rows, args.bigram_rows, args.char_rows, maxTokens=args.max_tokens)
    corpus['off'], corpus['ids'] = narrow(corpus['off'], corpus['ids'], config)
    tower, found = train(args, config, corpus, rng)
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
