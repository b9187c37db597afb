"""Sentence vectors of a BERT-type model (all-MiniLM-L6-v2, Apache-2.0) for distillation into the text tower.

Reads a local folder with config.json, vocab.txt and model.safetensors, needs nothing but PyTorch, and writes
an .npz {texts: str [N], vectors: float16 [N, 384] unit norm}. Reimers & Gurevych 2019; Wang et al. 2020 (MiniLM).
"""

from __future__ import annotations

import argparse
import json
import struct
import time
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from text_hash import words_of


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    raw = path.read_bytes()
    (size,) = struct.unpack('<Q', raw[:8])
    header = json.loads(raw[8 : 8 + size])
    header.pop('__metadata__', None)
    out = {}
    for name, entry in header.items():
        begin, end = entry['data_offsets']
        if entry['dtype'] == 'F32':
            array = np.frombuffer(raw, '<f4', (end - begin) // 4, 8 + size + begin)
            out[name] = torch.from_numpy(array.copy()).reshape(entry['shape'])
    return out


class WordPiece:
    """The uncased BERT tokenizer (Devlin et al. 2019): basic split, then greedy longest match."""

    def __init__(self, vocab_path: Path, max_tokens: int = 48):
        self.vocab = {w: i for i, w in enumerate(vocab_path.read_text(encoding='utf-8').split('\n')) if w}
        self.max_tokens = max_tokens
        self.cache: dict[str, list[int]] = {}

    def _pieces(self, word: str) -> list[int]:
        found = self.cache.get(word)
        if found is None:
            found, start = [], 0
            while start < len(word):
                end = len(word)
                while end > start and (('##' if start else '') + word[start:end]) not in self.vocab:
                    end -= 1
                if end == start or len(word) > 100:
                    found = [self.vocab['[UNK]']]
                    break
                found.append(self.vocab[('##' if start else '') + word[start:end]])
                start = end
            self.cache[word] = found
        return found

    def encode(self, text: str) -> list[int]:
        text = ''.join(c for c in unicodedata.normalize('NFD', text.lower()) if unicodedata.category(c) != 'Mn')
        spaced = []
        for c in text:
            kind = unicodedata.category(c)
            alone = kind[0] in 'P' or c in '$+<=>^`|~' or 0x4E00 <= ord(c) <= 0x9FFF
            spaced.append(f' {c} ' if alone else ' ' if kind[0] in 'CZ' else c)
        ids = [p for w in ''.join(spaced).split() for p in self._pieces(w)]
        return [self.vocab['[CLS]'], *ids[: self.max_tokens - 2], self.vocab['[SEP]']]


class Bert:
    """Inference-only BERT encoder with mean pooling; weights [out, in] as stored."""

    def __init__(self, folder: Path):
        config = json.loads((folder / 'config.json').read_text())
        self.w = read_safetensors(folder / 'model.safetensors')
        self.layers, self.heads = config['num_hidden_layers'], config['num_attention_heads']
        self.eps = config['layer_norm_eps']

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self.w[f'{name}.weight'], self.w[f'{name}.bias'], self.eps)

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self.w[f'{name}.weight'], self.w[f'{name}.bias'])

    def __call__(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """ids [N, T] int64, mask [N, T] bool (true = token) -> [N, 384] unit norm."""
        n, t = ids.shape
        e = 'embeddings.'
        x = self.w[e + 'word_embeddings.weight'][ids] + self.w[e + 'position_embeddings.weight'][:t]
        x = self._norm(x + self.w[e + 'token_type_embeddings.weight'][0], e + 'LayerNorm')
        attend = mask[:, None, None, :]
        for layer in range(self.layers):
            p = f'encoder.layer.{layer}.'
            q, k, v = (
                self._linear(x, f'{p}attention.self.{name}').view(n, t, self.heads, -1).transpose(1, 2)
                for name in ('query', 'key', 'value')
            )
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=attend).transpose(1, 2).reshape(n, t, -1)
            x = self._norm(x + self._linear(a, p + 'attention.output.dense'), p + 'attention.output.LayerNorm')
            h = self._linear(F.gelu(self._linear(x, p + 'intermediate.dense')), p + 'output.dense')
            x = self._norm(x + h, p + 'output.LayerNorm')
        m = mask[:, :, None].to(x.dtype)
        return F.normalize((x * m).sum(1) / m.sum(1), dim=-1)


def embed(model: Bert, tokens: list[list[int]], batch_tokens: int = 4096, half: bool = False) -> np.ndarray:
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    out = np.zeros((len(tokens), 384), np.float16)
    at = 0
    while at < len(order):
        size = max(8, batch_tokens // max(1, len(tokens[order[min(at + 128, len(order) - 1)]])))
        rows = order[at : at + size]
        width = max(len(tokens[i]) for i in rows)
        ids = torch.zeros((len(rows), width), dtype=torch.int64)
        for r, i in enumerate(rows):
            ids[r, : len(tokens[i])] = torch.tensor(tokens[i])
        mask = torch.arange(width)[None, :] < torch.tensor([len(tokens[i]) for i in rows])[:, None]
        with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16, enabled=half):
            out[rows] = model(ids, mask).float().numpy()
        at += size
    return out


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument('--model', type=Path, required=True, help='folder with config.json, vocab.txt, model.safetensors')
    cli.add_argument('--texts', type=Path, required=True, help='one text a line (training texts only)')
    cli.add_argument('--out', type=Path, required=True)
    cli.add_argument('--words', type=int, default=40_000, help='most frequent single words to embed as well')
    cli.add_argument('--limit', type=int, default=150_000)
    cli.add_argument('--seconds', type=float, default=1200, help='stop early and keep what is done')
    cli.add_argument('--bf16', action='store_true', help='faster where the CPU has bfloat16 units')
    args = cli.parse_args()
    texts = args.texts.read_text(encoding='utf-8').split('\n')
    texts = [t for t in texts if t.strip()]
    counts = Counter(w for t in texts for w in words_of(t))
    words = [w for w, _ in counts.most_common(args.words)]
    model, pieces = Bert(args.model), WordPiece(args.model / 'vocab.txt')
    done_texts: list[str] = []
    vectors: list[np.ndarray] = []
    todo = words + texts[: args.limit]
    began = time.monotonic()
    for at in range(0, len(todo), 8192):
        part = todo[at : at + 8192]
        vectors.append(embed(model, [pieces.encode(t) for t in part], half=args.bf16))
        done_texts += part
        spent = time.monotonic() - began
        rate = len(done_texts) / spent
        print(f'{len(done_texts)}/{len(todo)}  {rate:.0f}/s  ETA {(len(todo) - len(done_texts)) / rate:.0f} s', flush=True)
        if spent > args.seconds:
            break
        if (at // 8192) % 4 == 3:
            np.savez(args.out, texts=np.array(done_texts), vectors=np.concatenate(vectors), words=min(len(words), len(done_texts)))
    np.savez(args.out, texts=np.array(done_texts), vectors=np.concatenate(vectors), words=min(len(words), len(done_texts)))


if __name__ == '__main__':
    main()
