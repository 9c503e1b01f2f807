"""Forward correction (Patrini et al.: Making Deep Neural Networks Robust to Label Noise, CVPR 2017), Eq. 6, 11 and 12.

Noise is a matrix ``T``: row i says what a sample of class i is labeled as. A first network, trained as if labels were
right, tells it by the samples that it is surest of; a second one, from scratch, learns the classes so that ``T`` times
its probabilities are those of the given labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sanm.errors import InputError
from sanm.methods import Method
from sanm.network import Network
from sanm.parts.best import BestSoFar
from sanm.step import Batch, Forward, Step, Task
from sanm.survey import Survey


class ForwardCorrection(Method):
    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        """Raises InputError where the matrix is to be known and the noise has none, or a first network would be."""
        super().__init__(settings, task)
        self.known, phases = settings["transition"] == "known", len(settings["phases"] or [None])
        if self.known and phases > 1:
            raise InputError("base_method.transition=known needs no first network: set base_method.phases=[{begin: 0}]")
        if not self.known and phases < 2:
            raise InputError("base_method.phases: with base_method.transition=estimated a second phase has to follow")
        if settings["estimated_by"] == "best" and not self.known:
            self.validated_for = "base_method.estimated_by=best"
        self.transition: Tensor
        known = known_transition(settings["noise"], task.num_classes) if self.known else torch.eye(task.num_classes)
        self.register_buffer("transition", known)

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        if self.validated_for is not None:
            self.best = BestSoFar(networks[0])

    def validated(self, networks: Sequence[Network], accuracy: float) -> None:
        if self.validated_for is not None:
            self.best.judge(networks[0], accuracy)

    def enter(self, phase: int, survey: Survey) -> None:
        """The matrix, once: later phases, if anybody wants more than two, go on with it."""
        if phase == 1:
            seen = survey if self.validated_for is None else survey.of([self.best.network])
            rows = surest_rows(seen.probs(0), self.settings["ignored"], self.settings["averaged"])
            self.transition.copy_(with_diagonal(rows, self.settings["smallest_diagonal"]))

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Cross-entropy, at first on the network's own probabilities, then on those that it says labels have."""
        log_probs = forward(batch.x).log_softmax(-1)
        if self.known or step.phase:
            log_probs = (log_probs[..., :, None] + self.transition.log()).logsumexp(-2)
        return -(batch.y * log_probs).sum(-1)


def surest_rows(probs: Tensor, ignored: float, averaged: float) -> Tensor:
    """``T [K, K]`` of probabilities ``[n, K]``: row i are those of the sample that is surest of class i.

    A share of them all, the very surest, is ``ignored`` as outliers; of the next the mean is taken over an ``averaged``
    share, one sample at least.
    """
    first, count = int(ignored * len(probs)), max(1, round(averaged * len(probs)))
    surest = probs.argsort(dim=0, descending=True, stable=True)[first : first + count]
    rows = probs[surest].mean(0)
    return rows / rows.sum(1, keepdim=True)


def with_diagonal(transition: Tensor, smallest: float) -> Tensor:
    """``T [K, K]`` with a diagonal of ``smallest`` at least; the rest of a row is scaled so that its sum stays 1."""
    diagonal = transition.diagonal()
    raised = diagonal.clamp(min=smallest)
    scale = torch.where(raised > diagonal, (1 - raised) / (1 - diagonal), torch.ones_like(diagonal))
    return transition * scale[:, None] + torch.diag(raised - diagonal * scale)


def known_transition(noise: Mapping[str, Any], classes: int) -> Tensor:
    """``T [K, K]`` of generated noise, from its settings alone. Raises InputError for noise that these do not tell."""
    identity = torch.eye(classes)
    if noise["name"] == "symmetric" and noise["convention"] == "inclusive":
        return (1 - noise["rate"]) * identity + noise["rate"] / classes
    if noise["name"] == "symmetric":
        return (1 - noise["rate"]) * identity + noise["rate"] / (classes - 1) * (1 - identity)
    if noise["name"] == "pair_flip":
        return (1 - noise["rate"]) * identity + noise["rate"] * identity.roll(1, 1)
    raise InputError(
        f"base_method.transition=known is for noise=symmetric and noise=pair_flip, not noise={noise['name']}: choose "
        "base_method.transition=estimated"
    )


METHOD = ForwardCorrection
