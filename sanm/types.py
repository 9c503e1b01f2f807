"""The values that travel through a training step.

Shape letters, the same everywhere: N training samples, B batch, V views of each sample, M masked views, K classes,
C x H x W an image, D x h x w its feature map.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sanm.errors import InputError


class Network(nn.Module, ABC):
    """A network in two halves, so that feature maps are at hand: ``features``, and a linear ``classifier`` of them."""

    classifier: nn.Linear

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Feature maps ``[B, D, h, w]`` of images ``[B, C, H, W]``."""

    def head(self, features: Tensor) -> Tensor:
        """Logits ``[B, K]`` of feature maps."""
        logits: Tensor = self.classifier(features.mean((2, 3)))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


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


@dataclass(frozen=True)
class Step:
    """Where in the run a step is, and for which network."""

    network: int
    epoch: int
    progress: float  # epochs done so far, with the part of this one: 12.5 is half way through epoch 12
    random: Random


@dataclass(frozen=True)
class Batch:
    """What one network learns from in one step."""

    index: Tensor  # [B] positions in the training set
    x: Tensor  # [V, B, C, H, W] normalised views
    y: Tensor  # [V, B, K] what to believe of each view; every row sums to 1
    clean: Tensor  # [B] probability that the given label is right
    labeled: Tensor  # [B] bool, whether the method keeps the given label
    num_labeled: int  # the same as a count; the labeled rows come first

    def believing(self, y: Tensor) -> Batch:
        """The same belief ``y [B, K]`` for every view."""
        return replace(self, y=y.expand(len(self.x), *y.shape))

    def with_views(self, x: Tensor, y: Tensor) -> Batch:
        """More views ``x [M, B, C, H, W]`` with beliefs of their own ``y [M, B, K]``, behind the present ones."""
        return replace(self, x=torch.cat([self.x, x]), y=torch.cat([self.y, y]))


class Look:
    """One gradient-free forward of the batch per network, made when first asked for and shared by whoever asks.

    Label guessing asks for ``probs``, SANM for ``maps``. ``guess_mode`` is ``train`` (as the published codes do: the
    pass uses and moves the batch statistics of the network that learns) or ``eval``. A network that does not learn
    in this step is in eval mode anyway.
    """

    def __init__(self, networks: Sequence[Network], x: Tensor, guess_mode: str) -> None:
        self.x = x
        self._networks = networks
        self._guess_mode = guess_mode
        self._seen: dict[int, tuple[Tensor, Tensor]] = {}

    def probs(self, k: int, first: int = 0) -> Tensor:
        """Class probabilities ``[V, B - first, K]`` of network k, without the first rows of the batch."""
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
        network, learning = self._networks[k], self._networks[k].training
        if self._guess_mode == "eval":
            network.eval()
        features = network.features(x.flatten(0, 1))
        probs = network.head(features).float().softmax(-1)
        network.train(learning)
        return features.unflatten(0, x.shape[:2]), probs.unflatten(0, x.shape[:2])


Answers = Callable[[Tensor], Tensor]
"""A network as a prediction calls it: logits ``[B, K]`` of images ``[B, C, H, W]``."""


class Remembered:
    """A network in eval mode that answers the same tensor of images, asked for in a row, once."""

    def __init__(self, network: Answers) -> None:
        self._network = network
        self._x: Tensor | None = None
        self._logits: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if self._logits is None or self._x is not x:
            self._x, self._logits = x, self._network(x)
        return self._logits


class Forward:
    """A network as a method's loss calls it: over the view axis, remembering the features of its last input.

    The reconstruction needs the features of the masked views. A loss that has just seen exactly those images has
    computed them already; one that mixed its inputs has not.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._x: Tensor | None = None
        self._features: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Logits ``[V, B, K]`` of images ``x [V, B, C, H, W]``."""
        self._x, self._features = x, self.network.features(x.flatten(0, 1))
        return self.network.head(self._features).float().unflatten(0, x.shape[:2])

    def features_of_last(self, x: Tensor, views: int) -> Tensor:
        """Features ``[views * B, D, h, w]`` of the last ``views`` views of ``x``."""
        if self._x is x and self._features is not None:
            return self._features.unflatten(0, x.shape[:2])[-views:].flatten(0, 1)
        return self.network.features(x[-views:].flatten(0, 1))
