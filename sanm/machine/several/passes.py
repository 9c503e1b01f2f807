"""Passes through networks shared out among the processes of a run.

Outside of a pass every process holds the same whole batch, and so the same loss and the same gradient of it. Within,
each holds its part of the rows: its parameters get the part's gradients, which are summed over the processes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

from sanm.machine.several.batch_norm import synchronise_batch_norms
from sanm.machine.several.processes import anywhere, collective
from sanm.network import Compute, Maps, Network, Way, head_modules


class Part(NamedTuple):
    """Which rows of a batch a process computes."""

    rows: slice
    whole: int


_part: Part | None = None


def part_of(rows: int) -> Part:
    """Which of a batch's rows the pass that is underway sees, given how many it sees: all, unless it is shared out.

    What a network draws at random has to be drawn for the whole batch, so that it does not depend on the processes.
    """
    return _part or Part(slice(0, rows), rows)


def sizes_of_parts(rows: int, processes: int) -> list[int]:
    """How many rows each process takes: as equal as can be, the first ones more; none, where there are too few."""
    return [rows // processes + (process < rows % processes) for process in range(processes)]


def share_networks(networks: Iterable[Network]) -> None:
    """Let every process compute feature maps of its own part of the rows alone; batch statistics are of all of them.

    The classifier, one small linear layer, works on all rows in every process; its gradients, the same in all, are
    made parts that sum to them. Parameters, buffers and their names stay what they are.
    """
    for network in networks:
        synchronise_batch_norms(network)
        network.way, network.shared = shared_way(network.way), True
        for head in head_modules(network):
            head.forward = partial(in_parts, head.forward)
        for parameter in network.classifier.parameters():
            if parameter.requires_grad:
                parameter.register_hook(lambda gradient: gradient / distributed.get_world_size())


def shared_way(way: Way) -> Way:
    """A network's way of making passes, of each process's own rows alone."""

    def shared(compute: Compute, network: Network, rows: Tensor) -> Maps:
        return all_in_parts(lambda own: way(compute, network, own), rows)

    return shared


def in_parts(call: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """What ``call`` makes of ``rows [B, ...]``, each process of its own part of them; ``[B, ...]`` in all."""
    (whole,) = all_in_parts(lambda own: (call(own),), rows)
    return whole


def all_in_parts(call: Callable[[Tensor], Maps], rows: Tensor) -> Maps:
    """The same for a ``call`` that makes several tensors of its rows."""
    sizes = sizes_of_parts(len(rows), distributed.get_world_size())
    first = sum(sizes[: distributed.get_rank()])
    own = slice(first, first + sizes[distributed.get_rank()])
    with _underway(Part(own, len(rows))):
        made = call(_OwnRows.apply(rows, sizes, own))
    return tuple(_AllRows.apply(each, sizes, own) for each in made)


@contextmanager
def _underway(part: Part) -> Iterator[None]:
    global _part
    _part = part
    try:
        yield
    finally:
        _part = None


class _OwnRows(torch.autograd.Function):
    """Own rows of a whole batch; the gradients of all parts make that of the whole. A second derivative is refused."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: Sequence[int], own: slice) -> Tensor:
        ctx.sizes = sizes
        return rows[own]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gathered(gradients[0], ctx.sizes), None, None


class _AllRows(torch.autograd.Function):
    """The rows of all processes; the gradient of the whole is the same in all, and each goes on with its own rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: Sequence[int], own: slice) -> Tensor:
        ctx.own = own
        return gathered(rows, sizes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0][ctx.own], None, None


def gathered(own: Tensor, sizes: Sequence[int]) -> Tensor:
    """The rows of all processes, ``sizes`` of them each, from one's own; ``[n, D, ...]``, channels last in memory."""
    most = max(sizes)
    if not most:
        return own
    laid_out = own.movedim(1, -1)
    filled = laid_out.new_zeros(most, *laid_out.shape[1:])
    filled[: len(own)] = laid_out
    parts = filled.new_empty(len(sizes) * most, *filled.shape[1:])
    collective(lambda: distributed.all_gather_into_tensor(parts, filled))
    whole = torch.cat([part[:size] for part, size in zip(parts.split(most), sizes, strict=True)])
    return whole.movedim(-1, 1)


def add_up_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Sum the gradients of an optimizer's parameters over the processes, all in one go.

    A process that had no row may have no gradient where others do (torch's ``SyncBatchNorm`` leaves none), so they
    agree on what they sum; what has a gradient in none keeps none.
    """
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    wanted = anywhere([each.grad is not None for each in parameters])
    learning = [each for each, somewhere in zip(parameters, wanted, strict=True) if somewhere]
    for each in learning:
        if each.grad is None:
            each.grad = torch.zeros_like(each)
    gradients = [each.grad for each in learning]
    together = torch.cat([gradient.flatten() for gradient in gradients])
    collective(lambda: distributed.all_reduce(together))
    for gradient, added in zip(gradients, together.split([each.numel() for each in gradients]), strict=True):
        gradient.copy_(added.view_as(gradient))
