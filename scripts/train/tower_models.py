"""PyTorch modules of the two towers and their ONNX forms.

Post tower: hashed text (fastText, Bojanowski et al. 2017), topic text, author, topic and item rows, summed and
normalised. User tower: recency-weighted, type-weighted attention pooling over post vectors.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from text_hash import HashConfig

DIM, HISTORY, TYPES, NEGATIVE = 64, 30, 7, 6


def quantise(table: Tensor) -> tuple[Tensor, Tensor]:
    """[R, D] float -> int8 [R, D] and one float32 scale a row [R]; row 0 (absent) becomes all zero."""
    table = table.detach().clone()
    table[0] = 0
    scale = table.abs().amax(1) / 127
    return torch.round(table / scale.clamp_min(1e-12)[:, None]).to(torch.int8), scale


class PostTower(nn.Module):
    """Training form. Rows arrive as bags: flat ids with offsets [N + 1]."""

    def __init__(self, config: HashConfig):
        super().__init__()
        self.config = config
        self.text = nn.Embedding(config.buckets, DIM)
        self.author = nn.Embedding(config.authorRows + 1, DIM)
        self.topic = nn.Embedding(config.topicRows + 1, DIM)
        self.item = nn.Embedding(config.itemRows + 1, DIM)
        nn.init.normal_(self.text.weight, std=0.05)
        for table in (self.author, self.topic, self.item):
            nn.init.zeros_(table.weight)
        self.topic_map = nn.Linear(DIM, DIM, bias=False)
        nn.init.eye_(self.topic_map.weight)
        self.gates = nn.Parameter(torch.tensor([1.0, 0.7]))  # text, topic text
        self.cold = nn.Parameter(F.normalize(torch.randn(DIM), dim=0))

    def bag(self, ids: Tensor, offsets: Tensor) -> Tensor:
        """Unit text vector [N, 64] of each bag, zero for an empty one."""
        summed = F.embedding_bag(ids, self.text.weight, offsets, mode='sum', include_last_offset=True)
        return F.normalize(summed, dim=-1, eps=1e-6)

    def fuse(self, text: Tensor, topic_text: Tensor, author: Tensor, topic: Tensor, item: Tensor) -> Tensor:
        """text, topic_text [N, 64] from `bag`; author, topic, item int [N], 0 = absent -> unit [N, 64]."""
        x = self.gates[0] * text + self.gates[1] * self.topic_map(topic_text)
        for table, ids in ((self.author, author), (self.topic, topic), (self.item, item)):
            x = x + table(ids) * (ids > 0)[:, None]
        return self.finish(x)

    def finish(self, x: Tensor) -> Tensor:
        return F.normalize(x + 1e-3 * F.normalize(self.cold, dim=0), dim=-1)


class PostTowerExport(nn.Module):
    """Inference form with int8 tables. Inputs int32: text [N, T], topic text [N, S], author, topic, item [N]."""

    def __init__(self, tower: PostTower):
        super().__init__()
        for name in ('text', 'author', 'topic', 'item'):
            rows, scale = quantise(getattr(tower, name).weight)
            self.register_buffer(f'{name}_rows', rows)
            self.register_buffer(f'{name}_scale', scale[:, None])
        self.register_buffer('topic_map', tower.topic_map.weight.detach().t().contiguous())
        self.register_buffer('gates', tower.gates.detach().clone())
        self.register_buffer('cold', 1e-3 * F.normalize(tower.cold.detach(), dim=0))

    def _bag(self, ids: Tensor) -> Tensor:
        weight = F.embedding(ids, self.text_scale).transpose(1, 2)
        summed = torch.matmul(weight, F.embedding(ids, self.text_rows).float()).squeeze(1)
        return summed / torch.clamp_min(torch.sqrt((summed * summed).sum(-1, keepdim=True)), 1e-6)

    def _row(self, name: str, ids: Tensor) -> Tensor:
        return F.embedding(ids, getattr(self, f'{name}_rows')).float() * F.embedding(ids, getattr(self, f'{name}_scale'))

    def forward(self, text_ids: Tensor, topic_text_ids: Tensor, author_id: Tensor, topic_id: Tensor, item_id: Tensor):
        x = self.gates[0] * self._bag(text_ids) + self.gates[1] * torch.matmul(self._bag(topic_text_ids), self.topic_map)
        x = x + self._row('author', author_id) + self._row('topic', topic_id) + self._row('item', item_id) + self.cold
        return x / torch.sqrt((x * x).sum(-1, keepdim=True))


class UserTower(nn.Module):
    """history [U, 30, 64] newest first, types [U, 30], age_hours [U, 30] -> unit [U, 64].

    At initialisation a mean weighted by engagement type and by 1 / (1 + age in days) ^ decay, so it fits any post
    space; then attention by one learned scalar and a low-rank correction (both start at zero).
    """

    def __init__(self, cold: Tensor, rank: int = 16):
        super().__init__()
        # none, click, like, reply, share, long dwell, hide: log weights
        self.type_logit = nn.Parameter(torch.tensor([0.0, 0.0, 0.7, 0.7, 0.7, 0.4, -0.5]))
        self.decay = nn.Parameter(torch.tensor(0.3))
        self.attend = nn.Parameter(torch.tensor(0.0))
        self.prior = nn.Parameter(torch.tensor(-2.0))
        self.down = nn.Parameter(torch.randn(DIM, rank) * 0.1)
        self.up = nn.Parameter(torch.zeros(rank, DIM))
        self.cold = nn.Parameter(F.normalize(cold, dim=0), requires_grad=False)

    def forward(self, history: Tensor, types: Tensor, age_hours: Tensor) -> Tensor:
        known = (types > 0).to(history.dtype) * ((history * history).sum(-1) > 1e-6).to(history.dtype)
        sign = 1 - 2 * (types == NEGATIVE).to(history.dtype)
        age = torch.clamp(age_hours, 0.0, 24.0 * 365)
        log_weight = F.embedding(types, self.type_logit[:, None]).squeeze(-1) - F.softplus(self.decay) * torch.log1p(age / 24)
        weight = known * torch.exp(log_weight)
        liked = weight * (sign + 1) / 2
        first = (liked.unsqueeze(-1) * history).sum(1)
        first = first / torch.sqrt((first * first).sum(-1, keepdim=True) + 1e-9)
        near = (history * first.unsqueeze(1)).sum(-1)
        weight = weight * torch.exp(torch.clamp(self.attend * near, -8.0, 8.0))
        # Shares of the total, so that the prior below counts in engagements: one engagement moves a new user.
        total = weight.sum(1, keepdim=True)
        pooled = ((weight * sign).unsqueeze(-1) * history).sum(1) / torch.clamp_min(total, 1e-6)
        has = (total > 1e-6).to(history.dtype)
        pooled = pooled + torch.matmul(torch.tanh(torch.matmul(pooled, self.down)), self.up)
        count = known.sum(1, keepdim=True)
        x = pooled * has + self.cold * torch.exp(self.prior) / (1 + count) + self.cold * (1 - has)
        # A hidden-only history may cancel the cold vector out; nothing is divided by zero, forwards or backwards.
        x = torch.where((x * x).sum(-1, keepdim=True) > 1e-8, x, self.cold.unsqueeze(0).expand_as(x))
        return x / torch.sqrt((x * x).sum(-1, keepdim=True) + 1e-20)
