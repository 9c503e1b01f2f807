"""Mixup over all views of a batch (Zhang et al., ICLR 2018), with one coefficient a batch as in MixMatch."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sanm.types import Batch, Random


def mixup(batch: Batch, alpha: float, random: Random) -> Batch:
    """Each image and its belief mixed with those of another row of the pool of ``V * B`` views.

    The coefficient is ``max(l, 1 - l)`` with ``l ~ Beta(alpha, alpha)``, so a row stays closer to itself than to its
    partner and keeps its place as labeled or unlabeled.
    """
    coefficient = float(random.host.beta(alpha, alpha))
    coefficient = max(coefficient, 1 - coefficient)
    shape = batch.x.shape[:2]
    partner = torch.randperm(shape.numel(), generator=random.device, device=batch.x.device)

    def mixed(values: Tensor) -> Tensor:
        rows = values.flatten(0, 1)
        return torch.lerp(rows[partner], rows, coefficient).unflatten(0, shape)

    return replace(batch, x=mixed(batch.x), y=mixed(batch.y))
