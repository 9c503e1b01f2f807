"""Samples whose label is known to be true, beside the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from sanm.errors import InputError
from sanm.parts.batches import endless, shuffled
from sanm.step import Draw, Random, Step, Task


def trusted_samples(task: Task, settings: Mapping[str, Any]) -> Tensor:
    """Which samples ``[N]`` bool are trusted. Raises InputError where none is."""
    if task.trusted is None:
        raise InputError(
            f"data.trusted=null: base_method={settings['name']} needs labels that are known to be true, say how many"
        )
    return task.trusted


def beside_trusted(trusted: Tensor, batch_size: int, step: Step, labels: Tensor | None = None) -> list[Draw]:
    """One pass over the samples that are not trusted, a batch of ``trusted [N]`` ones before each batch of them.

    Trusted ones start again at their end. With the given ``labels [N]`` their classes take turns.
    """
    here = (trusted if step.drawn is None else trusted[step.drawn]).cpu()
    own = here.nonzero()[:, 0]
    if labels is None:
        probes = endless(own, batch_size, step.random)
    else:
        known = (labels if step.drawn is None else labels[step.drawn]).cpu()
        probes = taking_turns(own, known[own], batch_size, step.random)
    others = shuffled((~here).nonzero()[:, 0], batch_size, step.random)
    return [Draw(torch.cat([probe, index]), len(probe)) for index, probe in zip(others, probes, strict=False)]


def taking_turns(positions: Tensor, labels: Tensor, batch_size: int, random: Random) -> Iterator[Tensor]:
    """Full batches of positions whose classes, by ``labels``, take turns; shuffled anew at each end."""
    rest = positions[:0]
    while True:
        while len(rest) < batch_size:
            rest = torch.cat([rest, _in_turns(positions, labels, random)])
        yield rest[:batch_size]
        rest = rest[batch_size:]


def _in_turns(positions: Tensor, labels: Tensor, random: Random) -> Tensor:
    order = torch.from_numpy(random.host.permutation(len(positions)))
    order = order[labels[order].argsort(stable=True)]  # class by class, at random within each
    counts = torch.bincount(labels)
    begins = counts.cumsum(0) - counts
    turn = torch.arange(len(order)) - begins[labels[order]]
    return positions[order[turn.argsort(stable=True)]]
