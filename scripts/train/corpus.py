"""A corpus of labelled titles: hashed once, split by label, embedded, and judged by agreement@k."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from common import Progress, bags
from text_hash import HashConfig, text_rows
from tower_models import DIM

WIDE_ROWS = 1 << 20


def part_of(label: str) -> int:
    """0 train, 1 validation (6 %), 2 test (12.5 %); by the name alone, so that every run agrees."""
    value = zlib.crc32(b'held-out:' + label.encode()) % 1000
    return 2 if value < 125 else 1 if value < 185 else 0


def load_corpus(path: Path, cache: Path | None, text_column: str, label_column: str) -> dict[str, np.ndarray]:
    """CSR token rows of every text over wide sections (see `narrow`), label codes and names; made once, then cached."""
    if cache and cache.exists():
        return dict(np.load(cache))
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=[text_column, label_column])
    labels = table[label_column].combine_chunks().dictionary_encode()
    config = HashConfig(WIDE_ROWS, WIDE_ROWS, WIDE_ROWS, maxTokens=192)
    texts = table[text_column].to_pylist()
    offsets, chunks, buffer = np.zeros(len(texts) + 1, np.int64), [], []
    progress = Progress('hash', len(texts))
    for i, text in enumerate(texts):
        rows = text_rows(text, config)
        offsets[i + 1] = offsets[i] + len(rows)
        buffer += rows
        if len(buffer) > 4_000_000:
            chunks.append(np.array(buffer, np.int32))
            buffer = []
            progress.update(i + 1)
    corpus = {
        'off': offsets,
        'ids': np.concatenate([*chunks, np.array(buffer, np.int32)]),
        'sub': labels.indices.to_numpy().astype(np.int32),
        'names': np.array(labels.dictionary.to_pylist()),
    }
    if cache:
        np.savez(cache, **corpus)
    return corpus


def narrow(offsets: np.ndarray, ids: np.ndarray, config: HashConfig, block: int = 100_000) -> tuple[np.ndarray, np.ndarray]:
    """Rows over wide sections -> rows of `config`, whose section sizes are powers of two (or 0: the kind is left out)."""
    sizes = np.array([config.wordRows, config.bigramRows, config.charRows])
    starts = np.array([1, 1 + sizes[0], 1 + sizes[0] + sizes[1]]).astype(np.int32)
    divisors = np.maximum(sizes, 1).astype(np.int32)
    parts, lengths = [], []
    for at in range(0, len(offsets) - 1, block):
        edge = offsets[at : at + block + 1]
        kind, value = np.divmod(ids[edge[0] : edge[-1]] - 1, WIDE_ROWS)
        keep = sizes[kind] > 0
        # A token's place in its text, counted over the kinds that stay.
        place = np.cumsum(keep)
        place -= np.repeat(np.concatenate([[0], place])[edge[:-1] - edge[0]], np.diff(edge))
        keep &= place <= config.maxTokens
        parts.append((starts[kind] + value % divisors[kind]).astype(np.int32)[keep])
        lengths.append(np.diff(np.concatenate([[0], np.cumsum(keep)])[edge - edge[0]]))
    return np.concatenate([[0], np.cumsum(np.concatenate(lengths))]), np.concatenate(parts)


def embed_all(weight: np.ndarray, offsets: np.ndarray, ids: np.ndarray, step: int = 16384) -> np.ndarray:
    """Unit text vectors [N, 64] of every row of the CSR table."""
    table, out = torch.from_numpy(weight), np.zeros((len(offsets) - 1, weight.shape[1]), np.float32)
    for at in range(0, len(out), step):
        flat, off = bags(offsets, ids, np.arange(at, min(at + step, len(out))))
        out[at : at + step] = F.normalize(F.embedding_bag(flat, table, off, mode='sum', include_last_offset=True), dim=-1)
    return out


def agreement(vectors: np.ndarray, labels: np.ndarray, queries: np.ndarray, k: int = 10) -> tuple[float, np.ndarray]:
    """Share of the k nearest neighbours (cosine, exact, among all rows, itself left out) with the query's label."""
    q, best = torch.from_numpy(vectors[queries]), []
    for at in range(0, len(vectors), 100_000):
        similarity = q @ torch.from_numpy(vectors[at : at + 100_000]).T
        inside = (queries >= at) & (queries < at + similarity.shape[1])
        similarity[np.flatnonzero(inside), queries[inside] - at] = -2
        value, index = similarity.topk(k, dim=1)
        best.append((value, index + at))
    value = torch.cat([b[0] for b in best], 1)
    rows = torch.cat([b[1] for b in best], 1).gather(1, value.topk(k, dim=1).indices).numpy()
    return float((labels[rows] == labels[queries][:, None]).mean()), rows


def baseline_vectors(offsets: np.ndarray, ids: np.ndarray, buckets: int, rng: np.random.Generator) -> np.ndarray:
    """TF-IDF over the same hashed tokens, projected at random to 64-d (Johnson-Lindenstrauss)."""
    count = np.bincount(ids, minlength=buckets)
    idf = np.log((len(offsets) - 1) / (1 + count)).clip(0)
    weight = rng.standard_normal((buckets, DIM)).astype(np.float32) * idf[:, None].astype(np.float32)
    return embed_all(weight, offsets, ids)
