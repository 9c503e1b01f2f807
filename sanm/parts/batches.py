"""Positions of samples in random order, cut into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle

import torch
from torch import Tensor

from sanm.step import Random


def shuffled(samples: int | Tensor, batch_size: int, random: Random) -> list[Tensor]:
    """Positions (0 to ``samples`` - 1, or those given) in random order, in batches; the last may be smaller.

    A single left-over joins the batch before it: batch statistics of one sample do not exist.
    """
    order = torch.from_numpy(random.host.permutation(samples if isinstance(samples, int) else len(samples)))
    batches = list((order if isinstance(samples, int) else samples[order]).split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = torch.cat([batches[-1], last])
    return batches


def whole_batches(samples: int | Tensor, batch_size: int, random: Random) -> list[Tensor]:
    """The same without the smaller last batch, unless it is the only one."""
    count = samples if isinstance(samples, int) else len(samples)
    return shuffled(samples, batch_size, random)[: max(1, count // batch_size)]


def endless(positions: Tensor, batch_size: int, random: Random, whole: bool = False) -> Iterator[Tensor]:
    """Batches of shuffled positions, reshuffled at each end; empty batches for ever when there are no positions.

    ``whole`` leaves smaller last ones out.
    """
    if not len(positions):
        yield from cycle([positions])
    while True:
        yield from (whole_batches if whole else shuffled)(positions, batch_size, random)


def evened(labels: Tensor, num_classes: int, random: Random) -> Tensor:
    """Positions of samples with ``labels [n]``, as many of each class as the largest has, class after class.

    Within a class each is there as often as the others, or once more. A class without a sample is left out.
    """
    order = torch.from_numpy(random.host.permutation(len(labels)))
    order = order[labels[order].argsort(stable=True)]
    sizes = torch.bincount(labels, minlength=num_classes)
    first, sizes = (sizes.cumsum(0) - sizes)[sizes > 0, None], sizes[sizes > 0, None]
    return order[(first + torch.arange(int(sizes.max())) % sizes).flatten()]


def endless_full(positions: Tensor, batch_size: int, random: Random) -> Iterator[Tensor]:
    """The same, without what fills no batch at an end; positions that are fewer than a batch are one."""
    size = min(batch_size, len(positions))
    if not size:
        yield from cycle([positions[:0]])
    while True:
        order = positions[torch.from_numpy(random.host.permutation(len(positions)))]
        yield from order.split(size)[: len(order) // size]


def drawn_again(positions: Tensor, sizes: Sequence[int], random: Random) -> Sequence[Tensor]:
    """Batches of the ``sizes``, of positions drawn with replacement."""
    drawn = torch.from_numpy(random.host.integers(len(positions), size=sum(sizes)))
    return positions[drawn].split(list(sizes))
