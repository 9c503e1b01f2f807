"""Mixup (Zhang et al., ICLR 2018): over all views of a batch, with one coefficient as in MixMatch, or within each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sanm.step import Batch, Random


@dataclass(frozen=True)
class Mix:
    """Which rows of a pool of ``V * B`` views are mixed, and how much of itself each row keeps."""

    coefficient: float
    partner: Tensor  # [V * B] positions in the pool

    def __call__(self, values: Tensor) -> Tensor:
        """Values ``[V, B, ...]``, each row with its partner's."""
        rows = values.flatten(0, 1)
        return torch.lerp(rows[self.partner], rows, self.coefficient).unflatten(0, values.shape[:2])


def draw_mix(batch: Batch, alpha: float, random: Random, first_prevails: bool = True) -> Mix:
    """``l ~ Beta(alpha, alpha)``, and a random partner for each view of each sample.

    ``first_prevails`` takes ``max(l, 1 - l)``, as MixMatch does: a row then keeps its place as labeled or unlabeled.
    """
    coefficient = float(random.host.beta(alpha, alpha))
    pool = batch.x.shape[0] * batch.x.shape[1]
    partner = torch.randperm(pool, generator=random.device, device=batch.x.device)
    return Mix(max(coefficient, 1 - coefficient) if first_prevails else coefficient, partner)


def draw_mix_within(groups: Tensor, alpha: float, random: Random) -> Mix:
    """``l ~ Beta(alpha, alpha)``, and a random partner for each row, of its own group, ``groups [V, B]`` bool."""
    groups = groups.flatten().long()
    drawn = torch.rand(len(groups), generator=random.device, device=groups.device)  # in [0, 1)
    partner = torch.empty_like(groups)
    partner[groups.argsort(stable=True)] = (groups + drawn.double()).argsort()
    return Mix(float(random.host.beta(alpha, alpha)), partner)


@dataclass(frozen=True)
class MixOfEachView:
    """Which rows of each view are mixed with one another, and how much of itself a row keeps."""

    coefficients: tuple[float, ...]  # a view, in [0.5, 1]
    partners: Tensor  # [V, B] positions in the same view

    def __call__(self, values: Tensor) -> Tensor:
        """Values ``[V, B, ...]``, each row with its partner's."""
        return self.added(values, values)

    def added(self, values: Tensor, others: Tensor) -> Tensor:
        """Values ``[V, B, ...]``, each row with what ``others`` has in the place of its partner."""
        views = zip(values, others, self.partners, self.coefficients, strict=True)
        return torch.stack([torch.lerp(other[partner], own, kept) for own, other, partner, kept in views])

    def kept(self) -> Tensor:
        """How much of itself each row keeps, ``[V, B]``."""
        like = self.partners[0].float()
        return torch.stack([torch.full_like(like, kept) for kept in self.coefficients])


def draw_mix_of_each_view(batch: Batch, alpha: float, random: Random) -> MixOfEachView:
    """``max(l, 1 - l)`` with ``l ~ Beta(alpha, alpha)`` for each view, and a random partner for each of its rows."""
    views, rows = batch.x.shape[:2]
    drawn = random.host.beta(alpha, alpha, views).tolist()
    partners = [torch.randperm(rows, generator=random.device, device=batch.x.device) for _ in range(views)]
    return MixOfEachView(tuple(max(each, 1 - each) for each in drawn), torch.stack(partners))


def mixup(batch: Batch, alpha: float, random: Random, first_prevails: bool = True) -> Batch:
    """Each image and its belief mixed with those of another row of the pool of ``V * B`` views."""
    mix = draw_mix(batch, alpha, random, first_prevails)
    return replace(batch, x=mix(batch.x), y=mix(batch.y))
