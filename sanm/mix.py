"""Mixup over all views of a batch (Zhang et al., ICLR 2018), with one coefficient a batch as in MixMatch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sanm.types import Batch, Random


@dataclass(frozen=True)
class Mix:
    """Which rows of a pool of ``V * B`` views are mixed, and how much of itself each row keeps."""

    coefficient: float  # in [0.5, 1], so that a row keeps its place as labeled or unlabeled
    partner: Tensor  # [V * B] positions in the pool

    def __call__(self, values: Tensor) -> Tensor:
        """Values ``[V, B, ...]``, each row with its partner's."""
        rows = values.flatten(0, 1)
        return torch.lerp(rows[self.partner], rows, self.coefficient).unflatten(0, values.shape[:2])


def draw_mix(batch: Batch, alpha: float, random: Random) -> Mix:
    """``max(l, 1 - l)`` with ``l ~ Beta(alpha, alpha)``, and a random partner for each view of each sample."""
    coefficient = float(random.host.beta(alpha, alpha))
    pool = batch.x.shape[0] * batch.x.shape[1]
    partner = torch.randperm(pool, generator=random.device, device=batch.x.device)
    return Mix(max(coefficient, 1 - coefficient), partner)


def mixup(batch: Batch, alpha: float, random: Random) -> Batch:
    """Each image and its belief mixed with those of another row of the pool of ``V * B`` views."""
    mix = draw_mix(batch, alpha, random)
    return replace(batch, x=mix(batch.x), y=mix(batch.y))
