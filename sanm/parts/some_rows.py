"""Steps in which a network learns from some rows of its batch: labeled ones, or what its peer finds easy."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sanm.step import Batch, Forward, Look


def labeled_rows(batch: Batch) -> Batch:
    """The rows that keep their given label, which come first."""
    n = batch.num_labeled
    return replace(
        batch,
        index=batch.index[:n],
        x=batch.x[:, :n],
        y=batch.y[:, :n],
        clean=batch.clean[:n],
        labeled=batch.labeled[:n],
    )


def easiest_for(network: int, rows: Tensor, count: int, batch: Batch, look: Look) -> Tensor:
    """Those ``count`` of the ``rows [n]`` of a batch whose given label has the smallest loss for a network's look."""
    probs = look.probs(network).mean(0)[rows]
    losses = -probs.gather(1, batch.given[rows, None])[:, 0].log()
    return rows[losses.argsort(stable=True)[:count]]


def cross_entropy_of(rows: Tensor, forward: Forward, batch: Batch) -> Tensor:
    """Losses ``[V, B]`` whose mean is the mean over the ``rows [n]``, which alone pass through the network."""
    losses = -(batch.y[:, rows] * forward(batch.x[:, rows]).log_softmax(-1)).sum(-1)
    views, of_batch = len(batch.x), len(batch.index)
    spread = torch.zeros(views, of_batch, dtype=losses.dtype, device=losses.device)
    return spread.index_copy(1, rows, losses * of_batch / len(rows))


def in_front(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Positions ``[B]`` of the rows that are chosen ``[B]``, again and again, and which of them are there first.

    So chosen rows alone pass through a network, in a batch of a size that is known without waiting for the device.
    """
    count, place = chosen.sum(), torch.arange(len(chosen), device=chosen.device)
    order = (~chosen).to(torch.uint8).argsort(stable=True)
    return order[place % count.clamp(min=1)], place < count


def mean_over(rows: Tensor, losses: Tensor) -> Tensor:
    """The mean of losses ``[B]`` over some ``rows [B]`` bool; 0 where there are none."""
    return (losses * rows).sum() / rows.sum().clamp(min=1)
