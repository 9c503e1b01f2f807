"""PENCIL (Yi, Wu: Probabilistic End-to-end Noise Correction for Learning with Noisy Labels, CVPR 2019).

Each sample has a distribution over classes of its own, ``d = softmax(u)``, learned as weights are. Three phases: plain
cross-entropy at a high rate; network and distributions learn together; the network goes on with what they have become.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from sanm.methods import Method
from sanm.step import Batch, Forward, Look, Step, Task

BACKBONE, BOTH = 0, 1
"""Phases; those that follow are the last."""


class Pencil(Method):
    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self.labels = nn.Parameter(settings["label_start"] * one_hot(task.given, task.num_classes).float())

    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """Plain descent, whose step on a sample is ``label_rate`` whatever the batch and the number of classes."""
        rate = self.settings["label_rate"] * self.batch_size * self.num_classes
        return [torch.optim.SGD([self.labels], lr=rate)]

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        return batch.y[0] if step.phase == BACKBONE else self.labels.detach()[batch.index].softmax(-1)

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """``KL(p || d) / K + alpha L_o + beta H(p) / K`` (Eq. 8); in the last phase the first term alone."""
        log_probs = forward(batch.x).log_softmax(-1)
        if step.phase == BACKBONE:
            return -(batch.y * log_probs).sum(-1)
        probs = log_probs.exp()
        believed = batch.y.clamp(min=torch.finfo(batch.y.dtype).tiny).log()
        divergence = (probs * (log_probs - believed)).sum(-1) / self.num_classes
        if step.phase > BOTH:
            return divergence
        entropy = -(probs * log_probs).sum(-1) / self.num_classes
        return divergence + self.settings["entropy_weight"] * entropy + self._of_labels(batch, probs)

    def _of_labels(self, batch: Batch, probs: Tensor) -> Tensor:
        """What moves the distributions ``[B]``: the method's own views alone, however many others there are.

        The value of the divergence is counted with the network's; here it has but a gradient, ``(d - p) / K``.
        """
        log_labels = self.labels[batch.index].log_softmax(-1)
        divergence = -(batch.seen_of_own(probs) * log_labels).sum(-1) / self.num_classes
        weight = self.settings["compatibility_weight"]
        return divergence - divergence.detach() + weight * self._incompatibility(log_labels, batch.given)

    def _incompatibility(self, log_labels: Tensor, given: Tensor) -> Tensor:
        """``L_o [B]``: how far distributions are from the given labels.

        The released code takes their softmax once more, by which the pull is weak and never ends.
        """
        log_probs = log_labels.exp().log_softmax(-1) if self.settings["compatibility"] == "released" else log_labels
        return -log_probs.gather(1, given[:, None])[:, 0]


METHOD = Pencil
