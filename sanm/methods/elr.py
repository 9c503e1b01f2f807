"""ELR (Liu et al.: Early-Learning Regularization Prevents Memorization of Noisy Labels, NeurIPS 2020), Eq. 5 and 9.

Cross-entropy, and a term that pulls predictions towards a running average of the network's own earlier ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sanm.methods import Method, soft_cross_entropy
from sanm.step import Batch, Forward, Step, Task

SMALLEST_PROBABILITY = 1e-4


class EarlyLearningRegularisation(Method):
    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self.memory: Tensor
        self.register_buffer("memory", torch.zeros(len(task.given), task.num_classes))

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """The memory follows the predictions for the method's own views; masked views are held to it like them."""
        logits = forward(batch.x)
        probs = bounded(logits.softmax(-1))
        seen = bounded(batch.seen_of_own(probs))
        remembered = remember(self.memory, batch.index, seen / seen.sum(-1, keepdim=True), self.settings["beta"])
        return soft_cross_entropy(logits, batch.y) + self.settings["lambda_elr"] * disagreement(remembered, probs)


def bounded(probs: Tensor) -> Tensor:
    """Probabilities kept from 0 and 1, so that the logarithm of a disagreement stays finite."""
    return probs.clamp(SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)


def remember(memory: Tensor, index: Tensor, probs: Tensor, beta: float) -> Tensor:
    """Move the memory ``[N, K]`` of the samples ``index [B]`` towards ``probs [B, K]``; returns their new targets."""
    targets = beta * memory[index] + (1 - beta) * probs
    memory[index] = targets
    return targets


def disagreement(targets: Tensor, probs: Tensor) -> Tensor:
    """``log(1 - <t, p>)`` over the last dimension: negative, and the lower the more both agree."""
    return (1 - (targets * probs).sum(-1)).log()


METHOD = EarlyLearningRegularisation
