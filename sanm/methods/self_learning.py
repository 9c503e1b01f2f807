"""SMP, self-learning with multiple prototypes (Han, Luo, Wang: Deep Self-Learning From Noisy Labels, ICCV 2019).

Before each epoch every sample is given the class whose prototypes its features are most like; the network learns both
this label and the given one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sanm.methods import Method
from sanm.parts.contrast import unit_length
from sanm.parts.prototypes import Choice, likeness
from sanm.step import Batch, Look, Step, Task
from sanm.survey import Survey


class SelfLearning(Method):
    divides_after_warm_up = True

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self.corrected: Tensor
        self.register_buffer("corrected", task.given.clone())

    def needs_clean_probability(self, epoch: int) -> bool:
        """Not to learn with it, but to be asked for trust, and with it for the corrected labels."""
        return not self.warming_up(epoch)

    def trust(self, survey: Survey, k: int, step: Step) -> Tensor | None:
        """Correct all labels; one that stays as it was given is trusted, another as much as it still counts."""
        if self.warming_up(step.epoch):
            return None
        names = ("sampled_per_class", "prototypes", "density_rank", "most_similar")
        choice, features = Choice(*(self.settings[name] for name in names)), unit_length(survey.features(k))
        corrected = likeness(features, survey.given, self.num_classes, choice, step.random).argmax(1)
        self.corrected[survey.index] = corrected
        return torch.where(corrected == survey.given, 1.0, 1 - float(self.settings["corrected_weight"]))

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """``1 - alpha`` of the given label and ``alpha`` of the corrected one, which is the loss of Eq. 6."""
        if self.warming_up(step.epoch):
            return batch.y[0]
        alpha = float(self.settings["corrected_weight"])
        corrected = torch.zeros_like(batch.y[0]).scatter_(1, self.corrected[batch.index, None], 1)
        return (1 - alpha) * batch.y[0] + alpha * corrected


METHOD = SelfLearning
