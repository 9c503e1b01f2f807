"""GCE (Zhang, Sabuncu: Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels, 2018).

``L_q(p, y) = (1 - p_y ** q) / q`` (Eq. 6) lies between cross-entropy (q to 0), which learns fast, and the mean absolute
error (q = 1), which noise does not move. Pruned (Eq. 8 and Algorithm 1), samples that the network finds improbable have
no part until they are asked again.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sanm.config.phases import epochs_of
from sanm.methods import Method
from sanm.network import Network
from sanm.parts.best import BestSoFar
from sanm.step import Batch, Forward, Step, Task
from sanm.survey import Survey


class GeneralizedCrossEntropy(Method):
    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self.q, self.prunes = float(settings["q"]), settings["prune_from"] is not None
        if self.prunes:
            every = epochs_of(settings["prune_every"], task.epochs)
            if task.epoch_samples < len(task.given):  # other samples each epoch, so each asks for its own
                every = 1
            self.prune_at = range(epochs_of(settings["prune_from"], task.epochs), task.epochs, every)
            self.kept: Tensor
            self.register_buffer("kept", torch.ones(len(task.given)))
        if self.prunes and settings["prune_by"] == "best":
            self.validated_for = "base_method.prune_by=best"

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        """A classifier of zeros spares pre-trained features the large steps of a random one."""
        if self.settings["head"] == "zero":
            for parameter in networks[0].classifier.parameters():
                nn.init.zeros_(parameter)
        if self.validated_for is not None:
            self.best = BestSoFar(networks[0])

    def validated(self, networks: Sequence[Network], accuracy: float) -> None:
        if self.validated_for is not None:
            self.best.judge(networks[0], accuracy)

    def needs_clean_probability(self, epoch: int) -> bool:
        """Not to learn with it, but to be asked for trust, and with it for what is pruned."""
        return self.prunes and epoch in self.prune_at

    def trust(self, survey: Survey, k: int, step: Step) -> Tensor | None:
        """The mixture's, of losses. When it is time, samples are pruned first."""
        if self.needs_clean_probability(step.epoch):
            self._prune(survey if self.validated_for is None else survey.of([self.best.network]), step.epoch)
        return None

    def _prune(self, survey: Survey, epoch: int) -> None:
        """Keep the samples whose loss is below that of ``prune_below``; if there is none, those that were kept."""
        kept = survey.probs(0).gather(1, survey.given[:, None])[:, 0] > self.settings["prune_below"]
        if kept.any():
            self.kept[survey.index] = kept.float()
        else:
            warnings.warn(f"epoch {epoch + 1}: pruning would leave no sample, so none is pruned", stacklevel=2)

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Of a softened label the mean of its classes' losses. Pruned, a loss below that of ``prune_below`` is
        negative, as published.
        """
        losses = (batch.y * generalized(forward(batch.x).log_softmax(-1), self.q)).sum(-1)
        if not self.prunes:
            return losses
        bound = (1 - self.settings["prune_below"] ** self.q) / self.q
        return self.kept[batch.index] * (losses - bound)


def generalized(log_probs: Tensor, q: float) -> Tensor:
    """``(1 - p ** q) / q`` of log-probabilities, which is exact for small q too."""
    return -(q * log_probs).expm1() / q


METHOD = GeneralizedCrossEntropy
