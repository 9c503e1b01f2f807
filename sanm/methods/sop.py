"""SOP and SOP+ (Liu, Zhu, Qu, You: Robust Training under Label Noise by Over-parameterization, ICML 2022).

What is wrong with a label is a vector of the sample's own, ``s = u^2 - v^2``, learned from a start next to zero. It
comes to explain labels that the network does not, so that these stop teaching. SOP+ adds agreement with a strongly
augmented view and equal classes over a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sanm.errors import InputError
from sanm.methods import Method
from sanm.network import Network
from sanm.parts.targets import one_hot
from sanm.step import Batch, Forward, Step, Task
from sanm.survey import Survey

SMALLEST = 1e-4
"""Of a corrected probability."""


class Noise(NamedTuple):
    """What is learned to be wrong with given labels, ``[B, K]`` in [0, 1]."""

    added: Tensor  # at the given class: u^2
    removed: Tensor  # at all others: v^2

    def corrected(self, probs: Tensor) -> Tensor:
        """Probabilities ``[..., B, K]`` of given labels where ``probs`` are those of true ones (Eq. 4 and 7).

        No gradient goes to what is removed.
        """
        explained = (probs + self.added - self.removed.detach()).clamp(min=SMALLEST)
        return (explained / explained.sum(-1, keepdim=True)).clamp(min=SMALLEST)

    def detached(self) -> Noise:
        return Noise(self.added.detach(), self.removed.detach())


class SparseOverParameterisation(Method):
    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        """Raises InputError where there is agreement to weigh, but no pool of strong views to agree with."""
        super().__init__(settings, task)
        if settings["consistency_weight"] and len(self.learns_from(0)) != 2:
            raise InputError(
                "base_method.consistency_weight: wants a weak and a strong pool, "
                "base_method.learn_from=[weak, autoaugment]; or give 0"
            )
        self.u = nn.Parameter(torch.zeros(len(task.given), 1))
        self.v = nn.Parameter(torch.zeros(len(task.given), task.num_classes))

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        """At zero itself there would be no gradient."""
        for each in (self.u, self.v):
            nn.init.normal_(each, std=self.settings["start"])

    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """Plain descent at constant rates, whose step on a sample does not depend on ``trainer.batch_size``."""
        scale = self.batch_size / self.settings["rates_for_batch"]
        u = {"params": [self.u], "lr": self.settings["lr_u"] * scale}
        v = {"params": [self.v], "lr": self.settings["lr_v"] * scale}
        return [torch.optim.SGD([u, v], lr=0.0)]

    def trust(self, survey: Survey, k: int, step: Step) -> Tensor:
        """What is not added to the given label."""
        return 1 - self.u.detach()[survey.index, 0].square().clamp(max=1)

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Cross-entropy of corrected probabilities; agreement and balance; what moves ``u`` and ``v``.

        The weak views are the first of the method's. Each strong one has the loss of its agreement in their stead.
        """
        log_probs, noise = forward(batch.x).log_softmax(-1), self._noise(batch)
        probs = log_probs.exp()
        weak = batch.own // len(self.learns_from(step.epoch))
        corrected = noise.detached().corrected(probs)
        losses = -(batch.y * corrected.log()).sum(-1)
        if weak < batch.own:
            agreement = disagreement(log_probs[:weak].detach(), log_probs[weak : batch.own])
            agreement = float(self.settings["consistency_weight"]) * agreement
            both = torch.cat([losses[:weak], agreement]) * (batch.own / weak)  # the mean over views is their sum
            losses = torch.cat([both, losses[batch.own :]])
        balance = self._balance(corrected[: weak or len(corrected)])
        seen = probs.detach()[:weak].mean(0) if batch.seen is None else batch.seen
        return losses + balance + self._of_noise(noise, seen, batch.given)

    def _noise(self, batch: Batch) -> Noise:
        given = one_hot(batch.given, self.num_classes)
        added = (self.u[batch.index].square() * given).clamp(max=1)
        removed = (self.v[batch.index].square() * (1 - given)).clamp(max=1)
        return Noise(added, removed)

    def _balance(self, corrected: Tensor) -> Tensor:
        """All classes are wanted over a batch of corrected probabilities ``[..., K]``, alike."""
        mean = corrected.flatten(0, -2).mean(0)
        return -float(self.settings["balance_weight"]) * mean.clamp(min=SMALLEST).log().mean()

    def _of_noise(self, noise: Noise, probs: Tensor, given: Tensor) -> Tensor:
        """What moves ``u`` and ``v`` ``[B]``, by what the network says ``[B, K]`` of the method's own weak views.

        The squared error of the predicted class (Eq. 8). What is added also has the gradient of cross-entropy and
        balance, whose values are counted with the network's.
        """
        label = one_hot(given, self.num_classes)
        corrected = noise.corrected(probs)
        fitted = -(label * corrected.log()).sum(-1) + self._balance(corrected)
        predicted = one_hot(probs.argmax(-1), self.num_classes)
        error = (predicted + noise.added - noise.removed - label).square().sum(-1)
        return fitted - fitted.detach() + error


def disagreement(weak: Tensor, strong: Tensor) -> Tensor:
    """``KL(weak || strong)`` of log-probabilities ``[V, B, K]``, ``[V, B]``."""
    return (weak.exp() * (weak - strong)).sum(-1)


METHOD = SparseOverParameterisation
