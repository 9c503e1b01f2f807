"""PES (Bai et al.: Understanding and Improving Early Stopping for Learning with Noisy Labels, NeurIPS 2021).

Later parts of a network memorise sooner. So all of it learns for some epochs, then a new classifier alone for a few.
From then on samples whose label the network predicts are labeled, the others not, and are learned MixMatch-style.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from sanm.config.phases import epochs_of
from sanm.methods import soft_cross_entropy
from sanm.methods.dividemix import DivideMix, sharpen
from sanm.network import Network
from sanm.parts.batches import endless_full
from sanm.parts.frozen import freeze_classifier, freeze_encoder
from sanm.parts.targets import one_hot
from sanm.step import Batch, Draw, Look, Step, Task
from sanm.survey import Survey

REFINES, DIVIDES = 1, 2
"""Phases: a new classifier learns alone; samples are divided."""
AGREED = 0.501
"""Trust at least in a label that is predicted; in one that is not it is a half at most."""
HIGHEST_WEIGHT = 3.0
"""Of a rare class."""


class ProgressiveEarlyStopping(DivideMix):
    turns: ClassVar[tuple[tuple[int, ...], ...]] = ((0,),)
    divides_after_warm_up = False

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self.epochs = task.epochs
        self.class_weights: Tensor
        self.register_buffer("class_weights", torch.ones(task.num_classes))

    def warm_up_epochs(self) -> int:
        """How many epochs the first two phases have."""
        return min(epochs_of(self.settings["divide_from"], self.epochs, DIVIDES), self.epochs - 1)

    def warm_up_batch(self) -> int:
        return self.batch_size

    def trust(self, survey: Survey, k: int, step: Step) -> Tensor:
        """The probability of the given label, mean over two augmented views; more than a half where it is predicted.

        Weighs the classes anew.
        """
        pool = str(self.settings["guess_on"])
        probs = (survey.on(pool).probs(k) + survey.on(pool).probs(k)) / 2
        given = probs.gather(1, survey.given[:, None])[:, 0]
        agreed = probs.argmax(1) == survey.given
        clean = torch.where(agreed, given.clamp(min=AGREED), given.clamp(max=0.5))
        labeled = self.keeps_label(clean, step.epoch)
        counts = (one_hot(survey.given, self.num_classes) * labeled[:, None]).sum(0)
        self.class_weights.copy_(weights_of(counts))
        return clean

    def threshold(self, clean: Tensor) -> float:
        return 0.5

    def batches(self, clean: Tensor, step: Step) -> list[Draw]:
        """So many as there are batches in all samples. Of each, half is unlabeled, or less where fewer samples are."""
        if self.warming_up(step.epoch):
            return super().batches(clean, step)
        keeps = self.keeps_label(clean, step.epoch).cpu()
        labeled, unlabeled = keeps.nonzero()[:, 0], (~keeps).nonzero()[:, 0]
        guessed = min(self.batch_size // 2, self.batch_size * len(unlabeled) // len(keeps))
        known = endless_full(labeled, self.batch_size - guessed, step.random)
        others = endless_full(unlabeled, guessed, step.random)
        pairs = [(next(known), next(others)) for _ in range(max(1, len(keeps) // self.batch_size))]
        return [Draw(torch.cat(pair), len(pair[0])) for pair in pairs]

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """The given label; of unlabeled rows what the network says of all views, sharpened."""
        n = batch.num_labeled
        if self.warming_up(step.epoch) or n == len(batch.index):
            return batch.y[0]
        guessed = sharpen(look.probs(step.network, first=n).mean(0), self.settings["temperature"])
        return torch.cat([batch.y[0, :n], guessed.to(batch.y.dtype)])

    def supervised(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy, in which rare classes count for more."""
        return soft_cross_entropy(logits, targets * self.class_weights)

    def penalty(self, probs: Tensor) -> float:
        return 0.0

    def alpha(self, step: Step) -> float:
        late = step.epoch >= epochs_of(self.settings["late_from"], step.epochs)
        return float(self.settings["late_alpha" if late else "alpha"])

    def after_backward(self, network: Network, step: Step) -> None:
        """First the classifier learns alone; then, as its code has it in no optimizer any more, it never does again."""
        if step.phase == REFINES:
            freeze_encoder(network)
        elif step.phase == DIVIDES and not self.settings["classifier_learns"]:
            freeze_classifier(network)


def weights_of(counts: Tensor) -> Tensor:
    """Of classes with so many labeled samples ``[K]``: the mean of those that have any over each, three at most.

    0 of a class without one.
    """
    there = counts > 0
    mean = counts.sum() / there.sum().clamp(min=1)
    return torch.where(there, (mean / counts.clamp(min=1)).clamp(max=HIGHEST_WEIGHT), 0.0)


METHOD = ProgressiveEarlyStopping
