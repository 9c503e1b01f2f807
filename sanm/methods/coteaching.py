"""Co-teaching (Han et al.: Robust Training of Deep Neural Networks with Extremely Noisy Labels, NeurIPS 2018).

Two networks see the same batch; each learns from the samples that its peer finds easy, fewer and fewer of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from sanm.methods import Method, noise_rate
from sanm.parts.batches import shuffled
from sanm.step import Answers, Batch, Draw, Step, Task


class CoTeaching(Method):
    turns = ((0, 1),)

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        """Raises InputError when the noise rate is to be known and is not."""
        super().__init__(settings, task)
        self.known_rate = noise_rate(settings) if settings["forget_rate"] == "known" else None
        self.estimated_rate = 0.0  # of this epoch: taken anew before its first step

    def get_extra_state(self) -> dict[str, float]:
        return {"estimated_rate": self.estimated_rate}

    def set_extra_state(self, state: dict[str, float]) -> None:
        self.estimated_rate = state["estimated_rate"]

    def needs_clean_probability(self, epoch: int) -> bool:
        return epoch > 0 and self.known_rate is None

    def batches(self, clean: Tensor, step: Step) -> Sequence[Draw]:
        """Full batches alone, as published: a fixed number of samples is kept of each."""
        self.estimated_rate = float((clean < 0.5).float().mean())
        batches = shuffled(self.learned_from(clean, step), self.batch_size, step.random)
        full = [index for index in batches if len(index) >= self.batch_size]
        return [Draw(index, len(index)) for index in full or batches]

    def learned_from(self, clean: Tensor, step: Step) -> int | Tensor:
        """How many samples an epoch learns from, of those that ``clean [n]`` is of; or which."""
        return len(clean)

    def share(self, losses: Sequence[Tensor], batches: Sequence[Batch], step: Step) -> list[Tensor]:
        """Each network's mean loss over the samples whose loss is smallest for its peer, in the method's own views.

        The published code divides this mean by the number of samples once more, which its optimizer, Adam, undoes; it
        is left out, so that other optimizers learn at their learning rate.
        """
        own = [own_losses(each, seen) for each, seen in zip(losses, batches, strict=True)]
        easiest = [self.easiest(each, step.epoch) for each in own]
        return [each[:, chosen].mean() for each, chosen in zip(losses, reversed(easiest), strict=True)]

    def easiest(self, losses: Tensor, epoch: int) -> Tensor:
        """Positions of the samples of a batch that are kept, by their losses ``[B]``."""
        kept = max(1, int((1 - self.forget(epoch)) * len(losses)))
        return losses.argsort(stable=True)[:kept]

    def forget(self, epoch: int) -> float:
        """Share of each batch that is left out; grows to the noise rate within ``ramp_up`` epochs.

        The published code counts from one: its epoch 0 only evaluates.
        """
        rate = self.estimated_rate if self.known_rate is None else self.known_rate
        ramp_up = self.settings["ramp_up"]
        if epoch + 1 >= ramp_up:
            return rate
        grown: float = rate ** self.settings["exponent"] * (epoch + 1) / (ramp_up - 1)
        return grown

    def predictors(self, networks: Sequence[Answers]) -> Sequence[Answers]:
        """The first network alone, as published, or both."""
        return networks if self.settings["ensemble"] else networks[:1]


def own_losses(losses: Tensor, batch: Batch) -> Tensor:
    """Losses ``[B]`` of the method's own views, of ``losses [V, B]`` of all; where there are none, of what was seen."""
    if batch.seen is None:
        return losses.detach()[: batch.own].mean(0)
    return -batch.seen.gather(1, batch.given[:, None])[:, 0].log()


METHOD = CoTeaching
