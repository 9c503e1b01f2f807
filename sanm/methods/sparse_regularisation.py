"""Sparse regularisation (Zhou et al.: Learning with Noisy Labels via Sparse Regularization, ICCV 2021).

A loss of predictions that are made sharp, by logits of unit length and a temperature, and a penalty that wants few
classes in them (Eq. 9); its weight grows.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils import clip_grad_norm_

from sanm.methods import Method
from sanm.methods.gce import generalized
from sanm.network import Network
from sanm.step import Batch, Forward, Step

SMALLEST_PROBABILITY = 1e-7


class SparseRegularisation(Method):
    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """The loss of the sharp prediction against what is believed, and the penalty."""
        settings = self.settings
        logits = forward(batch.x)
        scaled = normalize(logits, dim=-1) if settings["unit_length"] else logits
        log_probs = (scaled / settings["temperature"]).log_softmax(-1)
        of_classes = -log_probs if settings["loss"] == "ce" else generalized(log_probs, float(settings["q"]))
        sparse = log_probs.exp().clamp(min=SMALLEST_PROBABILITY, max=1) ** settings["power"]
        return (batch.y * of_classes).sum(-1) + self.weight(step.epoch) * sparse.sum(-1)

    def weight(self, epoch: int) -> float:
        """Of the penalty: it grows by a factor every so many epochs."""
        return float(self.settings["weight"] * self.settings["growth"] ** (epoch // self.settings["grows_every"]))

    def after_backward(self, network: Network, step: Step) -> None:
        clip_grad_norm_(network.own_parameters(), self.settings["clip_norm"])


METHOD = SparseRegularisation
