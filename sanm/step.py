"""The values that travel through a training step.

Shape letters, the same everywhere: N training samples, B batch, V views of each sample, M masked views, K classes,
C x H x W an image, D x h x w its feature map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from sanm.errors import InputError
from sanm.network import Maps, Network, as_written, untracked, written_out


class Random:
    """All randomness of a run: one generator on the host, one on the device. Both are part of the checkpoint."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.host = np.random.default_rng(seed)
        self.device = torch.Generator(device=device).manual_seed(seed)

    def state(self) -> dict[str, object]:
        return {"host": self.host.bit_generator.state, "device": self.device.get_state()}

    def load(self, state: dict[str, object]) -> None:
        self.host.bit_generator.state = state["host"]  # type: ignore[assignment]
        device_state = state["device"]
        assert isinstance(device_state, Tensor)
        if device_state.shape != self.device.get_state().shape:
            raise InputError(
                f"this run was begun on another kind of device than {self.device.device.type}, with other random "
                "numbers: go on there (device=...), or delete its checkpoint.pt to start it again"
            )
        self.device.set_state(device_state.cpu())


class Predictions(NamedTuple):
    """What the method as a whole says of samples; probabilities are the softmax of its logits."""

    classes: Tensor  # [N] int64
    confidence: Tensor  # [N] the probability of that class
    probabilities: Tensor  # [N, K] in half precision, since it is for the record

    @classmethod
    def of(cls, logits: Tensor) -> Predictions:
        """The predictions that logits ``[N, K]`` are."""
        probabilities = logits.float().softmax(-1)
        return cls(logits.argmax(-1), probabilities.amax(-1), probabilities.half())


class Draw(NamedTuple):
    """Which samples one step sees: positions in the training set, those that keep their given label first."""

    positions: Tensor  # [B] int64, on the host
    num_labeled: int


class Task(NamedTuple):
    """What a method and a plug-in are told of the data when they are made."""

    given: Tensor  # [N] int64, the given labels
    num_classes: int
    batch_size: int
    epoch_samples: int  # how many of the N samples an epoch is of, about
    networks: int = 1  # how many learn
    epochs: int = 1  # of the whole run
    trusted: Tensor | None = None  # [N] bool, whose given label is known to be true; None: of nobody


@dataclass(frozen=True)
class Step:
    """Where in the run a step is, and for which network."""

    network: int
    epoch: int
    progress: float  # epochs done so far, with the part of this one: 12.5 is half way through epoch 12
    random: Random
    phase: int = 0
    begin: int = 0  # the epoch in which the phase began
    epochs: int = 1  # of the whole run
    drawn: Tensor | None = None  # [n] positions of the samples that the epoch is of, trusted ones among them; None: all
    end: int = 1  # the epoch with which the next phase begins, or the run ends

    @property
    def in_last_phase(self) -> bool:
        return self.end == self.epochs


@dataclass(frozen=True)
class Batch:
    """What one network learns from in one step."""

    index: Tensor  # [B] positions in the training set
    x: Tensor  # [V, B, C, H, W] normalised views
    y: Tensor  # [V, B, K] what to believe of each view; every row sums to 1
    clean: Tensor  # [B] probability that the given label is right
    labeled: Tensor  # [B] bool, whether the method keeps the given label
    num_labeled: int  # the same as a count; the labeled rows come first
    given: Tensor  # [B] int64, the given labels
    own: int  # how many of the views, the first ones, are the method's
    apart: int = 0  # how many, the last ones, are normalised by themselves
    seen: Tensor | None = None  # [B, K] the look's probabilities where none of the views is the method's

    def believing(self, y: Tensor) -> Batch:
        """The same belief ``y [B, K]`` for every view."""
        return replace(self, y=y.expand(len(self.x), *y.shape))

    def seen_of_own(self, probs: Tensor) -> Tensor:
        """What the network says of the method's own views ``[B, K]``, given its answers ``probs [V, B, K]`` to all.

        Without gradient. Where a plug-in put its views in the place of the method's, what the look saw in those.
        """
        if self.seen is not None:
            return self.seen
        return probs.detach()[: self.own].mean(0)

    def with_views(self, x: Tensor, y: Tensor) -> Batch:
        """More views ``x [M, B, C, H, W]`` with beliefs of their own ``y [M, B, K]``, behind the present ones."""
        return replace(self, x=torch.cat([self.x, x]), y=torch.cat([self.y, y]))


class Look:
    """One gradient-free forward of the batch per network, made when first asked for and shared by whoever asks.

    Label guessing asks for ``probs`` or ``logits``, SANM for ``maps``. ``guess_mode`` is ``eval``, or one of two by
    which the pass uses and moves the batch statistics of the network that learns: ``split``, as DivideMix is published,
    passes each view of the unlabeled and of the labeled rows on its own, ``merged`` all of them at once; ``untracked``
    uses them as ``merged`` does and moves nothing. A network that does not learn in this step is in eval mode anyway.
    """

    def __init__(self, networks: Sequence[Network], x: Tensor, guess_mode: str, num_labeled: int | None = None) -> None:
        """``x [V, B, C, H, W]``, of whose rows the first ``num_labeled`` are labeled; all by default."""
        self.x = x
        self.networks = networks
        self._guess_mode = guess_mode
        self._num_labeled = x.shape[1] if num_labeled is None else num_labeled
        self._seen: dict[int, tuple[Tensor, Tensor]] = {}

    def probs(self, k: int, first: int = 0) -> Tensor:
        """Class probabilities ``[V, B - first, K]`` of network k, without the first rows of the batch."""
        return self.logits(k, first).softmax(-1)

    def logits(self, k: int, first: int = 0) -> Tensor:
        """Its logits, of which those are the softmax."""
        if first and k not in self._seen:
            return self._forward(k, self.x[:, first:])[1]
        return self._whole(k)[1][:, first:]

    def maps(self, k: int) -> Tensor:
        """Last feature maps ``[V, B, D, h, w]`` of network k."""
        return self._whole(k)[0]

    def _whole(self, k: int) -> tuple[Tensor, Tensor]:
        if k not in self._seen:
            self._seen[k] = self._forward(k, self.x)
        return self._seen[k]

    @torch.no_grad()
    def _forward(self, k: int, x: Tensor) -> tuple[Tensor, Tensor]:
        network, learning = self.networks[k], self.networks[k].training
        if self._guess_mode == "eval":
            network.eval()
        if self._guess_mode == "split" and learning:
            features = self._split(network, x)
        else:
            with untracked(network, wanted=self._guess_mode == "untracked"):
                features = network.features(x.flatten(0, 1))
        logits = network.head(features).float()
        network.train(learning)
        return features.unflatten(0, x.shape[:2]), logits.unflatten(0, x.shape[:2])

    def _split(self, network: Network, x: Tensor) -> Tensor:
        """Features of ``x [V, B, ...]``, flat: unlabeled rows first, a view at a time, then the labeled ones."""
        n = self._num_labeled - (self.x.shape[1] - x.shape[1])
        unlabeled = [network.features(view[n:]) for view in x] if n < x.shape[1] else []
        labeled = [network.features(view[:n]) for view in x] if n else []
        halves = [half for half in (labeled, unlabeled) if half]
        return torch.cat([part for view in zip(*halves, strict=True) for part in view])


Answers = Callable[[Tensor], Tensor]
"""A network as a prediction calls it: logits ``[B, K]`` of images ``[B, C, H, W]``."""


class Remembered:
    """A network in eval mode that answers the same tensor of images, asked for in a row, once."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._x: Tensor | None = None
        self._logits: Tensor | None = None

    def alone(self, x: Tensor) -> Tensor:
        """The classifier's logits ``[B, K]``."""
        if self._logits is None or self._x is not x:
            self._x, self._logits = x, self._network(x, alone=True)
        return self._logits

    def __call__(self, x: Tensor) -> Tensor:
        """The logits of a prediction."""
        logits: Tensor = self._network(x) if self._network.predicting else self.alone(x)
        return logits


@dataclass(frozen=True)
class Later:
    """A network as it would be after a virtual step."""

    network: Network
    weights: Mapping[str, Tensor]  # without those of heads, by name, as the step leaves them
    statistics: Mapping[str, Tensor]  # a copy of the network's
    rate: float  # of the step

    def __call__(self, x: Tensor) -> Tensor:
        """Logits ``[V, B, K]`` of images ``x [V, B, C, H, W]``."""
        with written_out(self.network):
            arguments = (x.flatten(0, 1), True)
            logits: Tensor = functional_call(self.network, {**self.weights, **self.statistics}, arguments)
        return at_least_single(logits).unflatten(0, x.shape[:2])


class Forward:
    """A network as a method's loss calls it: over the view axis, remembering the features of its last input.

    The reconstruction needs the features of the masked views. A loss that has just seen exactly those images has
    computed them already; one that mixed its inputs has not. Where a plug-in reads ``levels``, the maps of all stages
    are remembered. The last ``apart`` views of an input are normalised by themselves and leave the running statistics
    alone. ``optimizer`` is the network's.
    """

    def __init__(
        self,
        network: Network,
        apart: int = 0,
        levels: bool = False,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        self.network = network
        self._apart, self._levels, self._optimizer = apart, levels, optimizer
        self._x: Tensor | None = None
        self._maps: Maps | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Logits ``[V, B, K]`` of images ``x [V, B, C, H, W]``."""
        return self._logits(x, self._maps_of(x))

    def own(self, x: Tensor) -> Tensor:
        """The same of views that are all the method's, so that none is normalised apart."""
        return self._logits(x, self._passed(x))

    def pooled(self) -> Tensor:
        """The pooled features ``[V, B, D]`` of the images last seen. Raises RuntimeError before there was any."""
        if self._x is None or self._maps is None:
            raise RuntimeError("nothing has been passed through the network yet")
        return self._maps[-1].mean((2, 3)).unflatten(0, self._x.shape[:2])

    def head(self, name: str) -> Tensor:
        """What the head ``name`` answers, ``[V, B, ...]``, to the pooled features ``[D]`` of each image last seen.

        Raises RuntimeError before there was any.
        """
        pooled = self.pooled()
        answered: Tensor = self.network.heads[name](pooled.flatten(0, 1))
        return at_least_single(answered).unflatten(0, pooled.shape[:2])

    def levels_of_first(self, x: Tensor) -> Maps:
        """Maps ``[B, D, h, w]`` of all stages, of the first view of ``x [V, B, C, H, W]``.

        A pass of its own, where it takes one, leaves the running statistics alone.
        """
        if self._levels and self._x is x and self._maps is not None:
            return tuple(maps[: x.shape[1]] for maps in self._maps)
        with untracked(self.network):
            return self.network.levels(x[0])

    def features_of_last(self, x: Tensor, views: int) -> Tensor:
        """Features ``[views * B, D, h, w]`` of the last ``views`` views of ``x``."""
        if self._x is x and self._maps is not None:
            return self._maps[-1].unflatten(0, x.shape[:2])[-views:].flatten(0, 1)
        with untracked(self.network, wanted=bool(self._apart)):
            return self.network.features(x[-views:].flatten(0, 1))

    def after(
        self, loss: Tensor, rate: float | None = None, second_order: bool = False, as_optimizer: bool = False
    ) -> Later:
        """The network one virtual step of gradient descent on ``loss`` later; the rate is the optimizer's by default.

        Nothing moves: neither weights nor running statistics, and gradients stay where they are. With
        ``second_order`` what the answer says of the loss has a gradient too. The step is plain, or ``as_optimizer``
        that of the network's SGD, with its weight decay and its momentum so far. Raises InputError where several
        processes share the pass, which would cut that gradient in silence, and where the optimizer is asked for and is
        not SGD.
        """
        network = self.network
        if network.shared:
            raise InputError("this method takes virtual steps, which need one process: start it without torchrun")
        if second_order and network.way is not as_written:
            raise InputError("trainer.compile=true: this method needs second derivatives, set it to false")
        learning = [(name, weight) for name, weight in network.own_named_parameters() if weight.requires_grad]
        names, weights = zip(*learning, strict=True)
        gradients = torch.autograd.grad(loss, weights, create_graph=second_order, retain_graph=True)
        speed = self._sgd()["lr"] if rate is None else rate
        moved = {
            name: weight - speed * self._direction(weight, gradient, as_optimizer)
            for name, weight, gradient in zip(names, weights, gradients, strict=True)
        }
        statistics = {name: buffer.clone() for name, buffer in network.named_buffers()}
        return Later(network, moved, statistics, speed)

    def _direction(self, weight: Tensor, gradient: Tensor, as_optimizer: bool) -> Tensor:
        """What a virtual step takes from a weight, at rate 1."""
        if not as_optimizer:
            return gradient
        group = self._sgd()
        moved = gradient + group["weight_decay"] * weight
        before = self._optimizer and self._optimizer.state.get(weight, {}).get("momentum_buffer")
        return moved if before is None else moved + group["momentum"] * before

    def _sgd(self) -> dict[str, Any]:
        if not isinstance(self._optimizer, torch.optim.SGD):
            raise InputError("trainer.optimizer: this method looks ahead as SGD steps, set it to sgd")
        if len(self._optimizer.param_groups) > 1:
            raise InputError("trainer.backbone_lr: this method looks ahead by one rate for all weights, set it to 1")
        group: dict[str, Any] = self._optimizer.param_groups[0]
        return group

    def _logits(self, x: Tensor, maps: Maps) -> Tensor:
        self._x, self._maps = x, maps
        return at_least_single(self.network.head(maps[-1])).unflatten(0, x.shape[:2])

    def _maps_of(self, x: Tensor) -> Maps:
        own = len(x) - self._apart
        if not self._apart or not own:
            with untracked(self.network, wanted=bool(self._apart)):
                return self._passed(x)
        first = self._passed(x[:own])
        with untracked(self.network):
            rest = self._passed(x[own:])
        return tuple(torch.cat(maps) for maps in zip(first, rest, strict=True))

    def _passed(self, x: Tensor) -> Maps:
        rows = x.flatten(0, 1)
        return self.network.levels(rows) if self._levels else (self.network.features(rows),)


def at_least_single(values: Tensor) -> Tensor:
    """Values of lower precision in single precision, others as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
