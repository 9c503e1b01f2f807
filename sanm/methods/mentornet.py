"""MentorNet, predefined curricula (Jiang et al.: MentorNet, ICML 2018): small losses first.

A sample's weight is a function of its loss, less a running percentile of losses. The published mentors for these
curricula are networks that were trained to say what is computed here; one that learns a curriculum needs true labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sanm.methods import Method, soft_cross_entropy
from sanm.methods.coteaching import own_losses
from sanm.step import Batch, Forward, Step, Task

PERCENT = 100
BURN_IN, ALL_UNTIL, LINEAR_FROM = 17, 18, 90
"""Percent of the run: more rows are dropped before the first; all count until the second, by size from the third on."""


class MentorNet(Method):
    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self.percentile: Tensor
        self.register_buffer("percentile", torch.zeros(()))

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Cross-entropy, weighed by what the curriculum says of the method's own views."""
        losses = soft_cross_entropy(forward(batch.x), batch.y)
        weights = self.weights(own_losses(losses, batch), int(PERCENT * step.progress / step.epochs))
        return self._kept(len(weights), step) * weights * losses

    @torch.no_grad()
    def weights(self, losses: Tensor, percent: int) -> Tensor:
        """Of losses ``[B]``, in [0, 1], after so many percent of the run; the percentile follows them first."""
        losses = losses.to(self.percentile.dtype)
        wanted = losses.quantile(float(self.settings["percentile"]), interpolation="nearest")
        self.percentile.lerp_(wanted, 1 - float(self.settings["decay"]))
        above = losses - self.percentile
        curriculum = self.settings["curriculum"]
        if curriculum == "predefined":
            curriculum = "all" if percent <= ALL_UNTIL else "self_paced" if percent < LINEAR_FROM else "linear"
        if curriculum == "self_paced":
            return (above <= 0).float()
        return (1 - above).clamp(0, 1) if curriculum == "linear" else torch.ones_like(above)

    def _kept(self, rows: int, step: Step) -> Tensor:
        """Which rows are not dropped by chance, ``[B]`` as 0 and 1."""
        early = PERCENT * step.progress / step.epochs < BURN_IN
        dropped = float(self.settings["dropped_at_first" if early else "dropped"])
        generator = step.random.device
        order = torch.rand(rows, generator=generator, device=generator.device).argsort()
        return (order < int(rows * (1 - dropped))).float()


METHOD = MentorNet
