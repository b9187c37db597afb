"""Checkpoints that survive kill -9: written beside, flushed, renamed; the one before is kept until the next is whole.

A file is one line (format, sha256 and length of what follows) and torch.save's bytes, so that a torn one is noticed.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import torch

FORMAT = 'feedrank-checkpoint-1'


class Checkpoint:
    """`fingerprint`: all that must be equal for a state to be of use: data, settings, architecture."""

    def __init__(self, path: Path | None, fingerprint: str):
        self.path, self.fingerprint = path, fingerprint

    @property
    def before(self) -> Path:
        return self.path.with_name(f'{self.path.name}.before')

    def save(self, state: dict) -> None:
        if self.path is None:
            return
        buffer = io.BytesIO()
        torch.save({'fingerprint': self.fingerprint, 'state': state}, buffer)
        data = buffer.getvalue()
        head = f'{FORMAT} {hashlib.sha256(data).hexdigest()} {len(data)}\n'.encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f'{self.path.name}.{os.getpid()}.new')
        with open(beside, 'wb') as file:
            file.write(head + data)
            file.flush()
            os.fsync(file.fileno())
        if self.path.exists():
            self.path.replace(self.before)
        beside.replace(self.path)

    def load(self) -> dict | None:
        """The newest whole state of the same fingerprint; None to start anew. Says what it could not use."""
        for path in (self.path, self.before) if self.path else ():
            if not path.exists():
                continue
            try:
                found = read(path)
            except ValueError as error:
                print(f'checkpoint {path.name}: {error}; not used', flush=True)
                continue
            if found['fingerprint'] != self.fingerprint:
                print(f'checkpoint {path.name}: of other data or settings; not used', flush=True)
                continue
            return found['state']
        return None


def read(path: Path) -> dict:
    """Throws ValueError when the file is torn or is none of ours."""
    head, _, data = path.read_bytes().partition(b'\n')
    parts = head.decode('ascii', 'replace').split(' ')
    if len(parts) != 3 or parts[0] != FORMAT:
        raise ValueError('is no checkpoint')
    if str(len(data)) != parts[2]:
        raise ValueError(f'is torn, {len(data)} of {parts[2]} bytes')
    if hashlib.sha256(data).hexdigest() != parts[1]:
        raise ValueError('is torn, its checksum differs')
    return torch.load(io.BytesIO(data), weights_only=True)


def fingerprint_of(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
