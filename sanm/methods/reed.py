"""REED (Zhang and Yao: Decoupling Representation and Classifier for Noisy Label Learning, 2020), our reading.

No code is public and losses are not known in full. From a self-supervised encoder, which is frozen, a classifier learns
the given labels; it can hardly memorise. Its losses divide the samples, and everything is tuned: labeled samples keep
their label, others are guessed, and images of the same belief are drawn together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sanm.config.phases import epochs_of
from sanm.methods import soft_cross_entropy
from sanm.methods.dividemix import DivideMix, sharpen
from sanm.network import Network
from sanm.parts.frozen import freeze_encoder
from sanm.step import Batch, Forward, Look, Step, Task, at_least_single


class Reed(DivideMix):
    turns: ClassVar[tuple[tuple[int, ...], ...]] = ((0,),)
    divides_after_warm_up = False

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self.probing = epochs_of(settings["probed"], task.epochs)

    def warm_up_epochs(self) -> int:
        """How long the encoder is frozen."""
        return self.probing

    def warm_up_batch(self) -> int:
        return int(self.settings["probe_batches"]) * self.batch_size

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """The given label where it is trusted; elsewhere what the network says of all views, sharpened."""
        if self.warming_up(step.epoch):
            return batch.y[0]
        guessed = sharpen(look.probs(step.network).mean(0), float(self.settings["temperature"]))
        return torch.where(batch.labeled[:, None], batch.y[0], guessed)

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """DivideMix's, and how far apart images of the same belief are."""
        if self.warming_up(step.epoch):
            return self._of_frozen(forward, batch)
        losses = super().losses(forward, batch, step)
        features = forward.features_of_last(batch.x[:1], 1).mean((2, 3))
        return losses + float(self.settings["lambda_graph"]) * self.spread(features, batch.y[0])

    def _of_frozen(self, forward: Forward, batch: Batch) -> Tensor:
        """Cross-entropy of the classifier on features as they are in eval mode, which plug-ins are given too."""
        network = forward.network
        with torch.no_grad():
            network.eval()
            forward(batch.x)
            network.train()
        logits = network.head(forward.features_of_last(batch.x, len(batch.x)))
        return soft_cross_entropy(at_least_single(logits).unflatten(0, batch.x.shape[:2]), batch.y)

    def spread(self, features: Tensor, beliefs: Tensor) -> Tensor:
        """Mean squared distance of features ``[B, D]``, at length 1, over pairs of like beliefs ``[B, K]``; a scalar.

        A pair counts by how alike its beliefs are (their product), from ``alike`` on.
        """
        alike = beliefs @ beliefs.T
        weights = alike.masked_fill(alike < self.settings["alike"], 0).fill_diagonal_(0)
        unit = normalize(at_least_single(features), dim=1)
        return (weights * (2 - 2 * unit @ unit.T)).sum() / weights.sum().clamp(min=1e-8)

    def after_backward(self, network: Network, step: Step) -> None:
        """A frozen encoder has no gradient, whatever else asks it for one."""
        if self.warming_up(step.epoch):
            freeze_encoder(network)


METHOD = Reed
