"""Base methods: a file here is a method, its name is the config's ``base_method.name``.

A method answers five questions. The answers given here are plain cross-entropy; a method overrides the ones it answers
differently. Plug-ins never appear: they add views between what to believe and how wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from sanm.errors import InputError
from sanm.network import Network
from sanm.parts.batches import shuffled
from sanm.step import Answers, Batch, Draw, Forward, Look, Step, Task
from sanm.survey import Survey


class Method(nn.Module):
    """Cross-entropy, and the contract that every method keeps.

    What must survive a crash is a parameter or a buffer of the method, so that the state dict is its checkpoint.
    ``settings`` is the method's own YAML, resolved; every method has ``warm_up`` (epochs of plain training before it
    divides samples or SANM masks), ``views``, ``guess_on`` and ``learn_from`` (augmentation pools) and ``guess_mode``.
    Its ``phases``, if it has any, are the trainer's business: a step says which one it is in.
    """

    turns: ClassVar[tuple[tuple[int, ...], ...]] = ((0,),)
    """Which networks learn together, in which order, each epoch."""

    divides_after_warm_up: ClassVar[bool] = False
    """Whether the method is plain training until ``warm_up``, and another thing from then on."""

    measures_each_turn: ClassVar[bool] = False
    """Whether the clean probability is estimated anew before each turn, instead of once before the first."""

    one_process: ClassVar[bool] = False
    """Whether a run of the method cannot be shared out among several processes."""

    validated_for: str | None = None
    """The setting, ``KEY=VALUE``, for which ``validated`` has to be asked; None: there is no need to."""

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__()
        self.settings = settings
        self.num_samples, self.num_classes, self.batch_size = len(task.given), task.num_classes, task.batch_size
        self.epoch_samples = task.epoch_samples

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        """Hang heads on the freshly made networks (``Network.heads``), keep copies of them to average into.

        ``example [B, C, H, W]``: a few normalised images, from which shapes are learned. Weights are drawn from torch's
        own generator, which is seeded then.
        """

    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """Those of the method's own parameters, which step after the network that has learned."""
        return ()

    def enter(self, phase: int, survey: Survey) -> None:
        """Take what a phase begins with from the networks as they are, before anything is drawn anew.

        Not asked before the first phase.
        """

    def warming_up(self, epoch: int) -> bool:
        return epoch < self.settings["warm_up"]

    def num_views(self, epoch: int) -> int:
        """How many augmented views of each sample this epoch's steps learn from, of each pool of ``learn_from``."""
        return int(self.settings["views"])

    def learns_from(self, epoch: int) -> Sequence[str]:
        """The augmentation pools of those views, which come in this order."""
        pools = self.settings["learn_from"]
        return [pools] if isinstance(pools, str) else list(pools)

    def looks_apart(self, epoch: int) -> bool:
        """Whether the look has views of its own even where its pool is one of those learned from."""
        return False

    def needs_clean_probability(self, epoch: int) -> bool:
        """Whether this epoch's training reads the clean probability."""
        return False

    def trust(self, survey: Survey, k: int, step: Step) -> Tensor | None:
        """How far is each given label trusted, by network k? ``[n]`` in [0, 1], of the samples of the survey.

        None: the answer of the mixture of losses. Asked before each epoch that reads it, and once after the last.
        """
        return None

    def measured(self, survey: Survey, k: int) -> Tensor:
        """The losses ``[n]`` of network k on the given labels by which the mixture tells samples apart."""
        return survey.losses(k)

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

    def share(self, losses: Sequence[Tensor], batches: Sequence[Batch], step: Step) -> list[Tensor]:
        """Who learns what? A scalar for each network of the turn, from the losses ``[V, B]`` and batches of all."""
        return [each.mean() for each in losses]

    def after_backward(self, network: Network, step: Step) -> None:
        """Change the gradients of the network that is about to step."""

    def after_step(self, networks: Sequence[Network], step: Step) -> None:
        """Follow the network that has just stepped, as an average of weights does."""

    def validated(self, networks: Sequence[Network], accuracy: float) -> None:
        """Hear after an epoch how many percent of the held-out given labels the method predicts.

        Not asked where none are held out, or where those that are held out are known to be true.
        """

    def judged_by(self, step: Step) -> Tensor | None:
        """By which samples of an epoch's are the networks judged after it? Positions among these, or None: by none.

        Asked before the networks are scored, so that what ``judge`` changes counts.
        """
        return None

    def judge(self, survey: Survey, step: Step) -> None:
        """Hear what the networks say of the samples that ``judged_by`` named, after an epoch."""

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


def method_class(name: str) -> type[Method]:
    """The method of ``sanm/methods/<name>.py``: the class it calls METHOD."""
    found: type[Method] = import_module(f"{__name__}.{name}").METHOD
    return found
