"""History transformer with isolated candidates: the user's history attends to itself once a page; its keys and values are
shared by all candidates, each of which attends to them and never to another candidate, so that a score does not depend
on its batch (the isolation of X's open ranker, 2025; target attention as in DIN, Zhou et al., 2018).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tower_models import DIM, TYPES

MASKED = -1e4


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """query [..., Q, d], key and value [..., K, d], bias [..., 1, K] -> [..., Q, d]."""
    scores = torch.matmul(query, key.transpose(-1, -2)) / query.shape[-1] ** 0.5 + bias
    return torch.matmul(torch.softmax(scores, dim=-1), value)


class Block(nn.Module):
    """Pre-norm attention to a memory and a feed-forward layer (Xiong et al., 2020)."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads, self.size = heads, dim // heads
        self.norm, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.memory, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.inner = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def keys(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """memory [P, K, dim] -> keys and values [P, heads, K, size]."""
        pages, length = memory.shape[0], memory.shape[1]
        both = self.memory(memory).view(pages, length, 2, self.heads, self.size).permute(2, 0, 3, 1, 4)
        return both[0], both[1]

    def update(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.out(attended)
        return x + self.inner(self.after(x))


class HistoryNet(nn.Module):
    def __init__(self, width: int, outputs: int, dim: int = 32, layers: int = 1, deep: tuple[int, ...] = (96, 64), heads: int = 2):
        super().__init__()
        self.entry, self.age = nn.Linear(DIM, dim), nn.Linear(1, dim)
        self.kind = nn.Embedding(TYPES, dim)
        self.none = nn.Parameter(torch.randn(1, 1, dim) * 0.1)  # always attended to: a user without history has this
        self.history = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.post, self.about = nn.Linear(DIM, dim), nn.Linear(width, dim)
        self.cross = nn.ModuleList(Block(dim, heads) for _ in range(2))
        sizes = (width + dim, *deep)
        self.deep = nn.Sequential(*[part for a, b in zip(sizes, sizes[1:]) for part in (nn.Linear(a, b), nn.ReLU())])
        self.heads = nn.Linear(deep[-1], outputs)

    def forward(self, x: Tensor, inputs) -> Tensor:
        memory, bias = self.remember(inputs.history, inputs.types, inputs.hours)
        post = self.post(inputs.vectors) + self.about(x)
        for block in self.cross:
            query = block.query(block.norm(post)).unflatten(1, (block.heads, block.size))
            key, value = block.keys(memory)
            if inputs.page is None:  # one page: [heads, N, size] against [1, heads, K, size]
                attended = attend(query.transpose(0, 1).unsqueeze(0), key, value, bias).squeeze(0).transpose(0, 1)
            else:
                page = inputs.page
                attended = attend(query.unsqueeze(2), key[page], value[page], bias[page]).squeeze(2)
            post = block.update(post, attended.flatten(1))
        return self.heads(self.deep(torch.cat([x, post], dim=1)))

    def remember(self, history: Tensor, types: Tensor, hours: Tensor) -> tuple[Tensor, Tensor]:
        """Memory [P, 1 + H, dim] and bias [P, 1, 1, 1 + H], which hides entries that are not there."""
        known = (types > 0).to(history.dtype)
        x = self.entry(history) + self.kind(types) + self.age(torch.log1p(torch.clamp(hours, 0, 24 * 365)).unsqueeze(-1) / 5)
        x = torch.cat([self.none.expand(x.shape[0], 1, x.shape[2]), x], dim=1)
        bias = F.pad((1 - known) * MASKED, (1, 0))[:, None, None, :]
        for block in self.history:
            normed = block.norm(x)
            key, value = block.keys(normed)
            query = block.query(normed).view(x.shape[0], -1, block.heads, block.size).transpose(1, 2)
            x = block.update(x, attend(query, key, value, bias).transpose(1, 2).flatten(2))
        return x, bias
