"""ELR+ (Liu et al., NeurIPS 2020): ELR with two networks, each taught by a weight average of the other, and mixup."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from sanm.methods import Method, soft_cross_entropy
from sanm.methods.elr import bounded, disagreement, remember
from sanm.network import Network
from sanm.parts.average import follow
from sanm.parts.mixup import draw_mix
from sanm.step import Batch, Forward, Look, Step, Task


class EarlyLearningRegularisationPlus(Method):
    turns = ((0,), (1,))

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self.memory: Tensor
        self.register_buffer("memory", torch.zeros(2, len(task.given), task.num_classes))
        self.averages = nn.ModuleList()

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        """The averages stay in train mode: they predict by the statistics of the batch, as published."""
        self.averages.extend(deepcopy(network).requires_grad_(False).train() for network in networks)

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """The given labels; the peer's average says what to remember of the unmixed images."""
        with torch.no_grad():
            probs = self.averages[1 - step.network](look.x[0]).float().softmax(-1)
        remember(self.memory[step.network], batch.index, probs, self.settings["beta"])
        return batch.y[0]

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Labels and remembered predictions are mixed as the images are, over all views."""
        mix = draw_mix(batch, self.settings["alpha"], step.random)
        remembered = mix(self.memory[step.network][batch.index].expand_as(batch.y))
        labels = mix(batch.y)
        if self.settings["reweight_labels"]:
            weighted = labels * remembered
            labels = weighted / weighted.sum(-1, keepdim=True)
        logits = forward(mix(batch.x))
        weight = self.settings["lambda_elr"] * grown(self._steps(step), self.settings["lambda_ramp"])
        return soft_cross_entropy(logits, labels) + weight * disagreement(remembered, bounded(logits.softmax(-1)))

    def after_step(self, networks: Sequence[Network], step: Step) -> None:
        """The network's average follows it: closely at first, slowly later. Statistics are not averaged.

        The published code counts the step that has just been taken twice.
        """
        keep = self.settings["average"] * grown(self._steps(step) + 1, self.settings["average_ramp"])
        follow(self.averages[step.network], networks[step.network], keep)

    def _steps(self, step: Step) -> int:
        """Steps that the network has taken, this one among them."""
        return round(step.progress * math.ceil(self.epoch_samples / self.batch_size)) + 1


def grown(steps: int, ramp: int) -> float:
    """From ``exp(-5)`` to 1 over ``ramp`` steps; 1 without a ramp."""
    return math.exp(-5 * (1 - min(steps, ramp) / ramp) ** 2) if ramp else 1.0


METHOD = EarlyLearningRegularisationPlus
