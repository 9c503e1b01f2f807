"""Prototypes of classes in feature space, chosen by density (Han et al.: Deep Self-Learning, ICCV 2019, Eq. 2 to 5)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sanm.step import Random


class Choice(NamedTuple):
    """How prototypes of a class are chosen."""

    sampled: int  # among so many of its samples, by chance
    wanted: int  # so many
    rank: float  # of the similarity, among all, from which two samples are close
    most_similar: float  # what a prototype's similarity to a denser sample stays below


def prototypes(unit: Tensor, choice: Choice) -> Tensor:
    """Positions of the prototypes ``[p]`` among the features of a class, ``unit [m, D]`` of unit length.

    They are dense, and none is much like a denser sample: first the densest. Others come last, where there are too few
    of these.
    """
    similar = unit @ unit.T
    close = similar.flatten().sort().values[min(int(choice.rank * similar.numel()), similar.numel() - 1)]
    density = (similar - close).sign().sum(1)  # Eq. 2
    denser = density[None, :] > density[:, None]
    to_denser = similar.masked_fill(~denser, -torch.inf).amax(1)  # Eq. 3
    to_denser = torch.where(denser.any(1), to_denser, similar.amin(1))
    last = (to_denser >= choice.most_similar).float() * 3 * len(unit)  # more than densities differ
    return (density - last).argsort(descending=True, stable=True)[: choice.wanted]


def likeness(unit: Tensor, given: Tensor, num_classes: int, choice: Choice, random: Random) -> Tensor:
    """Mean similarity ``[n, K]`` of features ``unit [n, D]`` to the prototypes of each class (Eq. 4).

    Nothing is like a class that no sample is labeled as.
    """
    like = []
    for label in range(num_classes):
        there = (given == label).nonzero()[:, 0]
        some = there[torch.from_numpy(random.host.permutation(len(there))[: choice.sampled]).to(there.device)]
        own = unit[some]
        chosen = own[prototypes(own, choice)] if len(own) else own
        like.append(unit @ chosen.mean(0) if len(own) else torch.full_like(unit[:, 0], -torch.inf))
    return torch.stack(like, 1)
