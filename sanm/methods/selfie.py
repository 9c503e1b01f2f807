"""SELFIE (Song, Kim, Lee: Refurbishing Unclean Samples for Robust Deep Learning, ICML 2019).

Samples of small loss keep their label; one of which the network has said the same often enough is given that class. All
others have no part. Run after run begins anew, and keeps what was corrected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from sanm.config.phases import in_epochs
from sanm.methods import Method, noise_rate, soft_cross_entropy
from sanm.methods.coteaching import own_losses
from sanm.step import Batch, Forward, Look, Step, Task
from sanm.survey import Survey

NOT_CORRECTED = -1


class Selfie(Method):
    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        """Raises InputError when the noise rate is not known."""
        super().__init__(settings, task)
        self.rate, self.num_classes = noise_rate(settings), task.num_classes
        count, length = len(task.given), int(settings["history"])
        self.said: Tensor
        self.passes: Tensor
        self.corrected: Tensor
        self.register_buffer("said", torch.zeros(count, length, dtype=torch.int16))
        self.register_buffer("passes", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("corrected", torch.full((count,), NOT_CORRECTED))

    def get_extra_state(self) -> dict[str, float]:
        return {"rate": self.rate}

    def set_extra_state(self, state: dict[str, float]) -> None:
        self.rate = state["rate"]

    def enter(self, phase: int, survey: Survey) -> None:
        """A new network has said nothing yet; what was corrected stays."""
        self.passes.zero_()
        if self.settings["plain_labels"] == "corrected":
            left = float((self.corrected == NOT_CORRECTED).double().mean())
            self.rate = min(self.rate, left)

    def learns_plainly(self, step: Step) -> bool:
        """Whether it is the warm-up of a run."""
        return step.progress - step.begin < in_epochs(float(self.settings["plain"]), step.epochs)

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """The class that a sample was corrected to, if it was; else its given label."""
        if not self.learns_plainly(step):
            self._correct(batch.index)
        elif self.settings["plain_labels"] == "given":
            return batch.y[0]
        corrected = self.corrected[batch.index]
        classes = one_hot(corrected.clamp(min=0), self.num_classes).to(batch.y.dtype)
        return torch.where((corrected == NOT_CORRECTED)[:, None], batch.y[0], classes)

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Cross-entropy of corrected samples, and of those whose given label has a small loss; over their number."""
        logits = forward(batch.x)
        losses = soft_cross_entropy(logits, batch.y)
        if not self.learns_plainly(step):
            of_given = -logits.log_softmax(-1).gather(-1, batch.given.expand(len(logits), -1)[..., None])[..., 0]
            chosen = self._chosen(own_losses(of_given, batch), batch.index)
            losses = losses * chosen * len(chosen) / chosen.sum()
        self._remember(batch.index, batch.seen_of_own(logits.softmax(-1)).argmax(-1))
        return losses

    def _chosen(self, losses: Tensor, index: Tensor) -> Tensor:
        """``[B]`` as 0 and 1."""
        kept = max(1, math.ceil(round((1 - self.rate) * len(losses), 6)))
        easy = torch.zeros_like(losses).index_fill(0, losses.argsort(stable=True)[:kept], 1)
        return torch.maximum(easy, (self.corrected[index] != NOT_CORRECTED).to(losses.dtype))

    @torch.no_grad()
    def _correct(self, index: Tensor) -> None:
        """Give samples of little uncertainty the class that was said most often (Eq. 3 and 4).

        One that was not said anything of so often yet is left as it is.
        """
        length = self.said.shape[1]
        shares = one_hot(self.said[index].long(), self.num_classes).float().mean(1)
        entropy = torch.special.entr(shares).sum(-1) / math.log(self.num_classes)
        certain = (entropy <= self.settings["uncertainty"]) & (self.passes[index] >= length)
        self.corrected[index] = torch.where(certain, shares.argmax(-1), self.corrected[index])

    @torch.no_grad()
    def _remember(self, index: Tensor, classes: Tensor) -> None:
        self.said[index, self.passes[index] % self.said.shape[1]] = classes.to(self.said.dtype)
        self.passes[index] += 1


METHOD = Selfie
