"""Hashed text tokens, bit for bit the same as src/features/text-hash.ts (shared vectors: test/unit/features/text-hash.golden.json).

A text becomes rows of one table: words, word bigrams and character n-grams, each kind in its own section
(fastText, Bojanowski et al. 2017; feature hashing, Weinberger et al. 2009). Row 0 means "no token".
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np

MAX_UNITS = 2000  # UTF-16 code units of a text that are read; the rest is ignored
WORD_SEED, BIGRAM_SEED, CHAR_SEED, KEY_SEED = 0x811C9DC5, 0x9747B28C, 0x3C6EF372, 0x1B873593
ASCII_WORD = re.compile('[0-9a-z]+')
PRIME, MIX_1, MIX_2 = 0x01000193, 0x85EBCA6B, 0xC2B2AE35
MASK = 0xFFFFFFFF
WIDE = 0x2E80  # words that start at or above this unit (CJK, kana, hangul) have shorter n-grams


@dataclass(frozen=True)
class HashConfig:
    wordRows: int = 32768
    bigramRows: int = 0
    charRows: int = 32768
    charMin: int = 3
    charMax: int = 5
    maxWords: int = 48
    maxTokens: int = 128
    topicTokens: int = 32
    authorRows: int = 0
    topicRows: int = 0
    itemRows: int = 0

    @property
    def buckets(self) -> int:
        return 1 + self.wordRows + self.bigramRows + self.charRows

    def to_json(self) -> dict:
        return {'algorithm': 'fnv1a-utf16-fmix32', 'buckets': self.buckets, **asdict(self)}

    @staticmethod
    def from_json(value: dict) -> HashConfig:
        return HashConfig(**{k: value[k] for k in HashConfig.__dataclass_fields__ if k in value})


def to_units(text: str) -> np.ndarray:
    return np.frombuffer(text.encode('utf-16-le', 'surrogatepass'), np.uint16)


@lru_cache(maxsize=65536)
def _kind(char: str) -> str:
    category = unicodedata.category(char)
    return 'w' if category[0] in 'LNM' else 's' if category == 'So' else ' '


def words_of(text: str) -> list[str]:
    """Words (letters, digits, marks) and single symbols such as emoji of the NFKC lower-case text."""
    if len(text) * 2 > MAX_UNITS:
        raw = text[:MAX_UNITS].encode('utf-16-le', 'surrogatepass')[: MAX_UNITS * 2]
        text = raw.decode('utf-16-le', 'surrogatepass')
    if text.isascii():
        return ASCII_WORD.findall(text.lower())
    out: list[str] = []
    current = ''
    for char in unicodedata.normalize('NFKC', text).lower():
        kind = _kind(char)
        if kind == 'w':
            current += char
            continue
        if current:
            out.append(current)
            current = ''
        if kind == 's':
            out.append(char)
    if current:
        out.append(current)
    return out


def fmix(h: int) -> int:
    h ^= h >> 16
    h = (h * MIX_1) & MASK
    h ^= h >> 13
    h = (h * MIX_2) & MASK
    return h ^ (h >> 16)


def hash_units(seed: int, units) -> int:
    h = seed
    for u in units:
        h = ((h ^ int(u)) * PRIME) & MASK
    return fmix(h)


def hash_key(key: str, rows: int) -> int:
    """Row of an author, topic or item key: 1..rows, 0 where the key is empty or the table has no rows."""
    return 0 if rows == 0 or not key else 1 + hash_units(KEY_SEED, to_units(key)) % rows


@lru_cache(maxsize=400_000)
def _word(word: str, config: HashConfig) -> tuple[int, int, np.ndarray]:
    """Word row, unmixed word state (bigrams continue from it), n-gram rows."""
    units = [int(u) for u in to_units(word)]
    h, b = WORD_SEED, BIGRAM_SEED
    for u in units:
        h = ((h ^ u) * PRIME) & MASK
        b = ((b ^ u) * PRIME) & MASK
    row = 1 + fmix(h) % config.wordRows
    wide = units[0] >= WIDE
    low, high = (1, 2) if wide else (config.charMin, config.charMax)
    padded = units if wide else [0x3C, *units, 0x3E]
    base = 1 + config.wordRows + config.bigramRows
    grams = []
    for start in range(min(len(padded), 32)):
        g = CHAR_SEED
        for n in range(min(high, len(padded) - start, 32 - start)):
            g = ((g ^ padded[start + n]) * PRIME) & MASK
            if n + 1 >= low and config.charRows:
                grams.append(base + fmix(g) % config.charRows)
    return row, b, np.array(grams, np.int32)


def text_rows(text: str | None, config: HashConfig, limit: int | None = None) -> list[int]:
    """Rows of a text in the order words, bigrams, n-grams, at most `limit` (maxTokens) of them, no padding."""
    limit = config.maxTokens if limit is None else limit
    words = words_of(text)[: config.maxWords] if text else []
    found = [_word(w, config) for w in words]
    out = [f[0] for f in found]
    if config.bigramRows:
        base = 1 + config.wordRows
        for i in range(len(words) - 1):
            h = ((found[i][1] ^ 0x20) * PRIME) & MASK
            for u in to_units(words[i + 1]).tolist():
                h = ((h ^ u) * PRIME) & MASK
            out.append(base + fmix(h) % config.bigramRows)
    for f in found:
        if len(out) >= limit:
            break
        out.extend(f[2].tolist())
    return out[:limit]


def pad_rows(rows: list[list[int]], width: int) -> np.ndarray:
    """[N, width] int32, 0 = padding."""
    out = np.zeros((len(rows), width), np.int32)
    for i, r in enumerate(rows):
        out[i, : len(r)] = r
    return out


GOLDEN_TEXTS = [
    '', ' ', 'a', 'Hello, World!', 'The quick brown fox jumps over the lazy dog', "don't stop", 'C++ & C# in 2024?',
    'Ünïcödé çafé', 'ＦＵＬＬ ｗｉｄｔｈ', 'ﬁne ligature Ⅳ ½', 'İstanbul ΑΣΣΟΣ ΟΔΟΣ', 'Москва слезам не верит',
    '東京の天気は晴れです', '한국어 제목', 'مرحبا بالعالم', 'हिन्दी में शीर्षक', 'party 🎉🎉 time 👩‍👩‍👧', '\ud800 lone \udc00x',
    '\u0000control\u0007chars\u200bzero', 'x' * 5000, 'word ' * 3000, '🎉' * 1500, 'a\n b\t c\r\n d', 'ß ẞ ſ K Å', '①②③ ٣٤٥ 四五',
    'Pneumonoultramicroscopicsilicovolcanoconiosis again', '---___***', 'x' + '\u0301' * 40,
]  # fmt: skip


def golden(config: HashConfig) -> dict:
    keys = ['', 'a', 'user-1', 'ünïcode', '🎉', '0']
    return {
        'hash': config.to_json(),
        'texts': [{'text': t, 'rows': text_rows(t, config)} for t in GOLDEN_TEXTS],
        'keys': [{'key': k, 'row': hash_key(k, 1000)} for k in keys],
    }


if __name__ == '__main__':
    import json
    import sys

    configs = [HashConfig(32768, 16384, 16384), HashConfig(4096, 0, 2048, maxTokens=40, maxWords=7)]
    with open(sys.argv[1], 'w', encoding='utf-8') as file:
        json.dump([golden(c) for c in configs], file)
        file.write('\n')
