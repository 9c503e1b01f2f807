"""Base methods: a file here is a method, its name is the config's ``base_method.name``.

A method answers four questions about a step. The answers given here are plain cross-entropy; a method overrides the
ones it answers differently. SANM never appears: it adds views between the second question and the third.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from sanm.errors import InputError
from sanm.types import Answers, Batch, Draw, Forward, Look, Network, Random, Step


class Method(nn.Module):
    """Cross-entropy, and the contract that every method keeps.

    What must survive a crash is a parameter or a buffer of the method, so that the state dict is its checkpoint.
    ``settings`` is the method's own YAML, resolved; every method has ``warm_up`` (epochs of plain training before it
    divides samples or SANM masks), ``views``, ``guess_on`` and ``learn_from`` (augmentation pools) and ``guess_mode``.
    """

    turns: ClassVar[tuple[tuple[int, ...], ...]] = ((0,),)
    """Which networks learn together, in which order, each epoch."""

    divides_after_warm_up: ClassVar[bool] = False
    """Whether the method is plain training until ``warm_up``, and another thing from then on."""

    measures_each_turn: ClassVar[bool] = False
    """Whether the clean probability is estimated anew before each turn, instead of once before the first."""

    def __init__(self, settings: Mapping[str, Any], num_samples: int, num_classes: int, batch_size: int) -> None:
        super().__init__()
        self.settings = settings
        self.num_samples, self.num_classes, self.batch_size = num_samples, num_classes, batch_size
        self.epoch_samples = num_samples  # how many of the samples an epoch is of, about; the trainer may lower it

    def adopt(self, networks: Sequence[Network]) -> None:
        """Keep what the method needs of the freshly made networks, as copies to average into."""

    def warming_up(self, epoch: int) -> bool:
        return epoch < self.settings["warm_up"]

    def num_views(self, epoch: int) -> int:
        """How many augmented views of each sample this epoch's steps learn from."""
        return int(self.settings["views"])

    def needs_clean_probability(self, epoch: int) -> bool:
        """Whether this epoch's training reads the clean probability."""
        return False

    def remembers_losses(self, epoch: int) -> bool:
        """Whether the losses measured before this epoch enter the history that is averaged over."""
        return not self.warming_up(epoch)

    def keeps_label(self, clean: Tensor, epoch: int) -> Tensor:
        """Which samples ``[n]`` bool keep their given label, from the clean probability ``[n]`` of an epoch's."""
        return torch.ones_like(clean, dtype=torch.bool)

    def batches(self, clean: Tensor, step: Step) -> Sequence[Draw]:
        """Which samples does the network see this epoch, and in which batches?

        ``clean [n]`` is the probability that it learns with, of the samples that the epoch is of; the positions drawn
        are those in ``clean``. These are all N, or the n that ``trainer.epoch_samples`` chose.
        """
        return [Draw(index, len(index)) for index in shuffled(len(clean), self.batch_size, step.random)]

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """What is true? Targets ``[B, K]``, without gradient."""
        return batch.y[0]

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """How wrong? ``[V, B]``, for any number of views."""
        return soft_cross_entropy(forward(batch.x), batch.y)

    def share(self, losses: Sequence[Tensor], step: Step) -> list[Tensor]:
        """Who learns what? A scalar for each network of the turn, from the losses ``[V, B]`` of all of them."""
        return [each.mean() for each in losses]

    def after_backward(self, network: Network, step: Step) -> None:
        """Change the gradients of the network that is about to step."""

    def after_step(self, networks: Sequence[Network], step: Step) -> None:
        """Follow the network that has just stepped, as an average of weights does."""

    def predictors(self, networks: Sequence[Answers]) -> Sequence[Answers]:
        """Which networks predict: some of those that learn, or the method's own averages of them.

        The modules among them are what ``model.pt`` keeps of a run.
        """
        return networks

    @final
    def predict(self, networks: Sequence[Answers], x: Tensor) -> Tensor:
        """Logits ``[B, K]`` of the method as a whole: the sum over the networks that predict."""
        return summed(self.predictors(networks), x)


def summed(networks: Iterable[Answers], x: Tensor) -> Tensor:
    """The sum of the logits ``[B, K]`` of networks for images ``x [B, C, H, W]``."""
    return torch.stack([network(x).float() for network in networks]).sum(0)


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy over the last dimension against target distributions."""
    return -(targets * logits.log_softmax(-1)).sum(-1)


def noise_rate(settings: Mapping[str, Any]) -> float:
    """The share of wrong labels that the method is told. Raises InputError when it is not."""
    if settings.get("noise_rate") is None:
        raise InputError("base_method.noise_rate: this noise has no rate of its own; give the share of wrong labels")
    return float(settings["noise_rate"])


def shuffled(samples: int | Tensor, batch_size: int, random: Random) -> list[Tensor]:
    """Positions (0 to ``samples`` - 1, or those given) in random order, in batches; the last may be smaller.

    A single left-over joins the batch before it: batch statistics of one sample do not exist.
    """
    order = torch.from_numpy(random.host.permutation(samples if isinstance(samples, int) else len(samples)))
    batches = list((order if isinstance(samples, int) else samples[order]).split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = torch.cat([batches[-1], last])
    return batches


def method_class(name: str) -> type[Method]:
    """The method of ``sanm/methods/<name>.py``: the class it calls METHOD."""
    found: type[Method] = import_module(f"{__name__}.{name}").METHOD
    return found
