"""Data-parallel training in the processes that torchrun started: each takes its share of a batch, gradients are averaged.

Without torchrun there is one process and nothing here costs anything. gloo on CPUs, nccl on GPUs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

T = TypeVar('T')
DEVICES = ('auto', 'cpu', 'cuda')


@dataclass(frozen=True)
class Team:
    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process reports, writes checkpoints and exports."""
        return self.rank == 0

    def share(self, rows: np.ndarray) -> np.ndarray:
        """This process's part of a batch; the parts differ by one row at most."""
        return rows[self.rank :: self.size]

    def average_gradients(self, parameters: Iterable[nn.Parameter], rows: int) -> None:
        """Mean over the rows of all processes, whose losses are means over their own `rows`."""
        if self.size == 1:
            return
        learned = [p for p in parameters if p.requires_grad]
        own = [p.grad if p.grad is not None else torch.zeros_like(p) for p in learned]
        flat = torch.cat([g.reshape(-1) for g in own] + [torch.ones(1, device=self.device)]) * rows
        dist.all_reduce(flat)
        parts = torch.split(flat[:-1] / flat[-1], [g.numel() for g in own])
        for parameter, part in zip(learned, parts, strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def agree(self, choice: T) -> T:
        """What the leading process gives, in all processes; what the others give does not count."""
        if self.size == 1:
            return choice
        found = [choice]
        dist.broadcast_object_list(found, src=0)
        return found[0]

    def leave(self) -> None:
        if self.size > 1:
            dist.destroy_process_group()

    def print(self, text: str) -> None:
        if self.leads:
            print(text, flush=True)


def end_with_stdin() -> None:
    """Ends the process when its stdin closes: whoever started it was killed, and may start another one."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    if os.environ.get('FEEDRANK_ENDS_WITH_STDIN') == '1':
        threading.Thread(target=wait, daemon=True).start()


def join(device: str) -> Team:
    """The team that torchrun's environment describes. Raises SystemExit where the wanted device is absent."""
    end_with_stdin()
    rank, size = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
    if device == 'cuda' and not torch.cuda.is_available():
        raise SystemExit('--device cuda: PyTorch finds no CUDA device; --device cpu trains without one')
    on_gpu = device != 'cpu' and torch.cuda.is_available()
    local = int(os.environ.get('LOCAL_RANK', 0))
    if on_gpu and local >= torch.cuda.device_count():
        raise SystemExit(f'--workers {size}: there are {torch.cuda.device_count()} CUDA devices')
    chosen = torch.device(f'cuda:{local}') if on_gpu else torch.device('cpu')
    if on_gpu:
        torch.cuda.set_device(chosen)
    if size > 1:
        dist.init_process_group('nccl' if on_gpu else 'gloo')
    return Team(rank, size, chosen)
