"""MLC (Zheng, Awadallah, Dumais: Meta Label Correction for Noisy Label Learning, AAAI 2021).

A small network, the corrector, makes soft labels of an image's features and its given label. It learns so that a step
of the main network on these labels lowers the loss of samples whose labels are known to be true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from sanm.methods import Method, soft_cross_entropy
from sanm.network import Network, untracked
from sanm.parts.targets import Targets, one_hot
from sanm.parts.trusted import beside_trusted, trusted_samples
from sanm.step import Batch, Draw, Forward, Later, Look, Step, Task, at_least_single
from sanm.survey import Survey

WIDTH = 128
"""Of the corrector's layers, and of what it makes of a given label."""


class Corrector(nn.Module):
    """Labels ``[B, K]`` of pooled features ``[B, D]`` and given labels ``[B]``: with a ``skip``, between both."""

    def __init__(self, features: int, num_classes: int, skip: bool) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.label = nn.Embedding(num_classes, WIDTH)
        sizes = (features + WIDTH, WIDTH, WIDTH, num_classes + skip)
        first, second, last = (nn.Linear(*pair) for pair in pairwise(sizes))
        self.layers = nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), last)
        nn.init.xavier_uniform_(self.label.weight)
        for layer in (first, second, last):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, given: Tensor) -> Tensor:
        answers = at_least_single(self.layers(torch.cat([features, self.label(given)], -1)))
        corrected = answers[:, : self.num_classes].softmax(-1)
        kept = answers[:, self.num_classes :].sigmoid()  # of the given label; no column without the skip
        return torch.lerp(corrected, one_hot(given, self.num_classes).to(kept), kept) if kept.shape[1] else corrected


class MetaLabelCorrection(Method):
    one_process = True

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        """Raises InputError where no label is known to be true."""
        super().__init__(settings, task)
        self.trusted: Tensor
        self.given: Tensor
        self.register_buffer("trusted", trusted_samples(task, settings))
        self.register_buffer("given", task.given, persistent=False)
        self.targets = Targets(task)
        self.steps = 0  # since the corrector has learned last; on the host

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        features = networks[0].classifier.in_features
        self.corrector = Corrector(features, self.num_classes, self.settings["skip"])
        self.gradient: Tensor  # of all parameters of the corrector, one after another
        self.register_buffer("gradient", torch.zeros(sum(each.numel() for each in self.corrector.parameters())))

    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        rate = self.settings["corrector_lr"]
        return [torch.optim.Adam(self.corrector.parameters(), lr=rate, amsgrad=True, fused=True)]

    def get_extra_state(self) -> dict[str, int]:
        return {"steps": self.steps}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.steps = state["steps"]

    def batches(self, clean: Tensor, step: Step) -> list[Draw]:
        """A batch of trusted samples, in which classes take turns, before each of others."""
        return beside_trusted(self.trusted, self.batch_size, step, self.given)

    def trust(self, survey: Survey, k: int, step: Step) -> Tensor:
        """What the corrector last left of each given label."""
        return self.targets.of_labels(survey.index, survey.given)

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """The corrector's last labels, which a plug-in's views start from; the method's own views have new ones."""
        return self.targets.of(batch.index)

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Cross-entropy with the corrected labels, and of the second half of the trusted rows with theirs.

        The first half is what the corrector learns by, and is in no loss.
        """
        n, probes = batch.num_labeled, (batch.num_labeled + 1) // 2
        clean = forward(batch.x[:, probes:n])
        logits = forward(batch.x[:, n:])
        corrected = self.corrector(forward.pooled()[0].detach(), batch.given[n:])
        self.targets.remember(batch.index[n:], corrected)
        of_clean = soft_cross_entropy(clean, batch.y[:, probes:n])
        scale = 1 / (len(batch.index) - probes)
        virtual = scale * (soft_cross_entropy(logits[0], corrected).sum() + of_clean[0].sum())
        self._look_ahead(forward, virtual, batch.x[:1, :probes], batch.given[:probes])

        learned = torch.cat([corrected.detach().expand(batch.own, -1, -1), batch.y[batch.own :, n:]])
        rows = torch.cat([torch.zeros_like(batch.y[:, :probes, 0]), of_clean, soft_cross_entropy(logits, learned)], 1)
        return len(batch.index) * scale * rows

    def _look_ahead(self, forward: Forward, loss: Tensor, x: Tensor, given: Tensor) -> None:
        """Add the corrector's gradient: of the loss of the trusted rows, one step of the main network later."""
        later = forward.after(loss, second_order=True, as_optimizer=True)
        probe = nn.functional.cross_entropy(later(x)[0], given)
        parts = torch.autograd.grad(probe, list(self.corrector.parameters()), retain_graph=True)
        gradient = torch.cat([part.flatten() for part in parts])
        if self.steps:
            gradient = gradient + self._discount(forward, later, probe, x, given) * self.gradient
        self.gradient.copy_(gradient)

    def _discount(self, forward: Forward, later: Later, probe: Tensor, x: Tensor, given: Tensor) -> Tensor:
        """By how much the gradients of the steps before still count, with the identity for the Hessian."""
        with untracked(forward.network):
            now = nn.functional.cross_entropy(forward.network(x[0], alone=True), given)
        weights = dict(forward.network.named_parameters())
        before = torch.autograd.grad(now, [weights[name] for name in later.weights])
        after = torch.autograd.grad(probe, list(later.weights.values()), retain_graph=True)
        products = torch.stack([(one * other).sum() for one, other in zip(before, after, strict=True)]).sum()
        squares = torch.stack([one.square().sum() for one in before]).sum()
        return (1 - later.rate) * products / squares

    def after_backward(self, network: Network, step: Step) -> None:
        """The corrector learns by what was gathered alone, every so many steps."""
        parameters = list(self.corrector.parameters())
        self.steps = (self.steps + 1) % self.settings["gathered_steps"]
        if self.steps:
            return
        parts = self.gradient.split([each.numel() for each in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter).clone()


METHOD = MetaLabelCorrection
