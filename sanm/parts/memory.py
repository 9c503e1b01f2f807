"""Memories of the embeddings that the last steps have seen.

With labels: Wang et al., Cross-Batch Memory, CVPR 2020; as keys alone: He et al., Momentum Contrast, CVPR 2020.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Queue(nn.Module):
    """First in, first out: ``capacity`` rows ``[D]`` with their labels, without gradient.

    Rows that do not fit before the end take the last places of it, and the next ones begin at the first, as published.
    """

    def __init__(self, capacity: int, width: int) -> None:
        super().__init__()
        self.rows: Tensor
        self.labels: Tensor
        self.register_buffer("rows", torch.zeros(capacity, width))
        self.register_buffer("labels", torch.zeros(capacity, dtype=torch.int64))
        self._next, self._filled = 0, 0  # on the host, so that nobody waits for them

    def push(self, rows: Tensor, labels: Tensor) -> int:
        """Take rows ``[n, D]`` with labels ``[n]``, ``capacity`` at most; returns the place of the first."""
        count, capacity = len(rows), len(self.rows)
        first = self._next if self._next + count <= capacity else capacity - count
        self.rows[first : first + count] = rows.detach()
        self.labels[first : first + count] = labels
        fits = first == self._next
        self._next = first + count if fits else 0
        self._filled = max(self._filled, first + count)
        return first

    def content(self) -> tuple[Tensor, Tensor]:
        """The rows and labels that there are so far."""
        return self.rows[: self._filled], self.labels[: self._filled]

    def get_extra_state(self) -> tuple[int, int]:
        return self._next, self._filled

    def set_extra_state(self, state: tuple[int, int]) -> None:
        self._next, self._filled = state


class Keys(nn.Module):
    """A ring of ``capacity`` keys ``[D]`` without gradient, full from the start: of random ones, as published.

    They are drawn from torch's own generator.
    """

    def __init__(self, capacity: int, width: int) -> None:
        super().__init__()
        self.rows: Tensor
        bound = math.sqrt(3 / width)  # the mean length is then 1
        self.register_buffer("rows", torch.empty(capacity, width).uniform_(-bound, bound))
        self._next = 0  # on the host, so that nobody waits for it

    def push(self, rows: Tensor) -> None:
        """Put rows ``[n, D]``, ``capacity`` at most, in the place of the oldest."""
        places = (torch.arange(len(rows), device=rows.device) + self._next) % len(self.rows)
        self.rows[places] = rows.detach()
        self._next = (self._next + len(rows)) % len(self.rows)

    def get_extra_state(self) -> int:
        return self._next

    def set_extra_state(self, state: int) -> None:
        self._next = state
