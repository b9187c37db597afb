"""Reads an export (posts.jsonl, events.jsonl) into arrays: posts and users become codes, events sort by user and time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from text_hash import HashConfig, hash_key, text_rows

# The towers' engagement codes (src/vocabulary.ts): 0 is "none" and is dropped.
CODES = {'click': 1, 'like': 2, 'reply': 3, 'share': 4, 'hide': 6, 'not_interested': 6, 'report': 6}
LONG_DWELL, LONG_DWELL_MS = 5, 10_000


@dataclass
class Export:
    """Parallel arrays over posts [P] and over engagements [E], the latter sorted by (user, time)."""

    records: list[dict]
    post_at: np.ndarray
    users: int
    event_user: np.ndarray
    event_post: np.ndarray
    event_type: np.ndarray
    event_at: np.ndarray
    repeat: np.ndarray  # the user engaged with this post before: history, but nothing to predict

    @property
    def posts(self) -> int:
        return len(self.records)

    def distinct(self) -> dict[str, int]:
        fields = {'author': 'authorId', 'topic': 'topic', 'item': 'id'}
        return {k: len({r.get(f) for r in self.records if r.get(f)}) for k, f in fields.items()}

    def summary(self) -> dict:
        return {'posts': self.posts, 'users': self.users, 'engagements': len(self.event_at)}

    def encode(self, config: HashConfig) -> dict[str, np.ndarray]:
        """Inputs of the post tower: CSR text rows and topic-text rows, author, topic and item rows [P]."""
        out = {}
        for name, limit in (('text', config.maxTokens), ('topic', config.topicTokens)):
            rows = [text_rows(text_of(r) if name == 'text' else r.get('topic'), config, limit) for r in self.records]
            out[f'{name}_off'] = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
            out[f'{name}_ids'] = np.concatenate([np.array(r, np.int64) for r in rows])
        for name, field, size in (
            ('author', 'authorId', config.authorRows),
            ('topic_row', 'topic', config.topicRows),
            ('item', 'id', config.itemRows),
        ):
            out[name] = np.array([hash_key(r.get(field) or '', size) for r in self.records], np.int64)
        return out


def text_of(record: dict) -> str:
    """Title and body in one text, as the service joins them."""
    return '\n'.join(part for part in (record.get('title'), record.get('text')) if part)


def read_jsonl(path: Path):
    with open(path, encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise SystemExit(f'{path}:{number}: not JSON ({error})') from error


def load_export(folder: Path) -> Export:
    """Unlike removes the like before it; events of unknown posts are left out."""
    records = list(read_jsonl(folder / 'posts.jsonl'))
    code = {r['id']: i for i, r in enumerate(records)}
    users: dict[str, int] = {}
    rows = []
    taken_back = {}
    for e in read_jsonl(folder / 'events.jsonl'):
        post = code.get(e['postId'])
        kind = CODES.get(e['type'], LONG_DWELL if e['type'] == 'dwell' and e.get('dwellMs', 0) >= LONG_DWELL_MS else 0)
        if post is None:
            continue
        user = users.setdefault(e['userId'], len(users))
        if e['type'] == 'unlike':
            taken_back[(user, post)] = max(e['at'], taken_back.get((user, post), 0))
        elif kind:
            rows.append((user, e['at'], post, kind))
    rows = [r for r in rows if r[3] != CODES['like'] or taken_back.get((r[0], r[2]), -1) < r[1]]
    table = np.array(rows, np.int64).reshape(-1, 4)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    pair = table[:, 0] * max(1, len(records)) + table[:, 2]
    _, first = np.unique(pair, return_index=True)
    repeat = np.ones(len(table), bool)
    repeat[first] = False
    return Export(
        records=records,
        post_at=np.array([r.get('createdAt', 0) for r in records], np.int64),
        users=len(users),
        event_user=table[:, 0],
        event_post=table[:, 2],
        event_type=table[:, 3],
        event_at=table[:, 1],
        repeat=repeat,
    )
