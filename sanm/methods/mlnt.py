"""MLNT (Li, Wong, Zhao, Kankanhalli: Learning to Learn from Noisy Labeled Data, CVPR 2019).

Before each real step, virtual ones on labels that are made wrong on purpose: after each the network should still agree
with a weight average of itself, the teacher, which predicts. Wrong labels come from an image's neighbours, as a network
sees them that was trained before: by cross-entropy in the first phase, and in further rounds the last one's teacher.
That teacher is then a mentor, too: it teaches beside the new one, and leaves out samples whose label it doubts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sanm.config.phases import in_epochs
from sanm.methods import Method, soft_cross_entropy
from sanm.network import Network
from sanm.parts.average import follow
from sanm.step import Answers, Batch, Forward, Random, Step, Task
from sanm.survey import Survey

NEIGHBOURS = 10


class MetaLearning(Method):
    one_process = True

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self.teachers, self.guides = nn.ModuleList(), nn.ModuleList()

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        """The teacher stays in train mode, as published; the guide, whose neighbours are taken, in eval mode."""
        self.teachers.append(deepcopy(networks[0]).requires_grad_(False).train())
        self.guides.append(deepcopy(networks[0]).requires_grad_(False).eval())

    def enter(self, phase: int, survey: Survey) -> None:
        """The guide of a round is the network of the first phase, or the teacher of the round before."""
        before = survey.networks[0] if phase == 1 else self.teachers[0]
        self.guides[0].load_state_dict(before.state_dict(), strict=False)  # without heads

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Cross-entropy, and how far the network would be from its teacher after each virtual step."""
        logits = forward(batch.x)
        losses = soft_cross_entropy(logits, batch.y)
        if not step.phase or not self.settings["virtual_steps"]:
            return losses
        if step.progress == step.begin:  # of a new network
            self.teachers[0].load_state_dict(forward.network.state_dict(), strict=False)
        x = batch.x[0]
        with torch.no_grad():
            taught = self.teachers[0](x).float().softmax(-1)
            neighbours = nearest(self.guides[0].eval().features(x).mean((2, 3)).float())  # type: ignore[operator]
        if step.phase > 1:
            taught, kept = self._mentored(x, taught, batch.given, step)
            losses = losses * kept * len(kept) / kept.sum().clamp(min=1)
        apart = []
        for _ in range(self.settings["virtual_steps"]):
            wrong = relabelled(batch.given, neighbours, int(self.settings["changed"] * len(x)), step.random)
            apart.append(self._apart(forward, cross_entropy(logits[0], wrong), x, taught))
        return losses + self._weight(step) * torch.stack(apart).mean()

    @torch.no_grad()
    def _mentored(self, x: Tensor, taught: Tensor, given: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """What teacher and mentor teach together ``[B, K]``, and who has cross-entropy, as 0 and 1 ``[B]``."""
        mentor = self.guides[0](x).float().softmax(-1)
        part = self.settings["mentor_part"]
        if part is None:
            part = (step.progress - step.begin) / max(step.epochs - step.begin, 1)
        believed = mentor.gather(1, given[:, None])[:, 0] >= self.settings["mentor_drops"]
        return torch.lerp(taught, mentor, float(part)), believed.float()

    def _apart(self, forward: Forward, loss: Tensor, x: Tensor, taught: Tensor) -> Tensor:
        """How far the network is from what is taught of ``x``, after a virtual step on the loss."""
        later = forward.after(loss, self.settings["virtual_lr"], self.settings["second_order"])
        log_probs = later(x[None])[0].log_softmax(-1)
        divergence = (torch.xlogy(taught, taught) - taught * log_probs).sum(-1).mean()
        return divergence if self.settings["divergence_of"] == "samples" else divergence / self.num_classes

    def _weight(self, step: Step) -> float:
        """Of the divergence: from ``exp(-5)`` to 1."""
        return math.exp(-5 * (1 - self._grown(step)) ** 2)

    def _grown(self, step: Step) -> float:
        ramp_up = in_epochs(self.settings["ramp_up"], step.epochs)
        return min(1.0, (step.progress - step.begin) / ramp_up) if ramp_up else 1.0

    def after_step(self, networks: Sequence[Network], step: Step) -> None:
        """The teacher follows, slower once the divergence has its whole weight. In the first phase it is a copy."""
        teacher = self.teachers[0]
        assert isinstance(teacher, Network)
        if not step.phase:
            teacher.load_state_dict(networks[0].state_dict(), strict=False)
            return
        keep = self.settings["average"] if self._grown(step) < 1 else self.settings["late_average"]
        follow(teacher, networks[0], keep)

    def predictors(self, networks: Sequence[Answers]) -> Sequence[Answers]:
        """The teacher, which without virtual steps sees nothing."""
        return (
            [each for each in self.teachers if isinstance(each, Network)]
            if self.settings["virtual_steps"]
            else networks
        )


def nearest(features: Tensor) -> Tensor:
    """The positions ``[B, NEIGHBOURS]`` of the nearest others by features ``[B, D]``; fewer in a small batch."""
    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)
    distances = torch.cdist(features, features).masked_fill(itself, torch.inf)
    return distances.topk(min(NEIGHBOURS, len(features) - 1), largest=False).indices


def relabelled(given: Tensor, neighbours: Tensor, count: int, random: Random) -> Tensor:
    """The labels ``[B]``, where ``count`` random images have that of one of their neighbours, any of them."""
    generator, device = random.device, given.device
    chosen = torch.randperm(len(given), generator=generator, device=device)[:count]
    which = torch.randint(neighbours.shape[1], (count,), generator=generator, device=device)
    return given.index_copy(0, chosen, given[neighbours[chosen, which]])


METHOD = MetaLearning
