"""What a network is to everything else: maps of its stages, a linear classifier, and heads that learn with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

Maps = tuple[Tensor, ...]
Compute = Callable[["Network", Tensor], Maps]
Way = Callable[[Compute, "Network", Tensor], Maps]
"""How a pass is made: ``way(compute, network, x)`` answers what ``compute(network, x)`` does, maybe otherwise.

A way holds no network, so that a copy of a network computes with its own weights.
"""


def as_written(compute: Compute, network: Network, x: Tensor) -> Maps:
    """The plain way: the computation as it is."""
    return compute(network, x)


class StageHead(nn.Module, ABC):
    """A head that reads the maps of one ``stage``, counted from 0: ``[B, D, h, w]`` to logits ``[B, K]``."""

    stage: int


class OrderedClassifier(nn.Linear):
    """A linear classifier that reads the first ``kept`` features alone, all of them at first."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes)
        self.kept = features

    def used(self) -> Tensor:
        """The weights ``[K, D]``, zero where features are not read."""
        return self.weight * (torch.arange(self.in_features, device=self.weight.device) < self.kept)

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``[B, K]`` of pooled features ``[B, D]``."""
        return linear(features, self.used(), self.bias)

    @contextmanager
    def reading(self, kept: int) -> Iterator[None]:
        """Within, it reads the first ``kept`` features."""
        before, self.kept = self.kept, kept
        try:
            yield
        finally:
            self.kept = before


class Network(nn.Module, ABC):
    """A network in two halves, so that feature maps are at hand: ``maps``, and a linear ``classifier`` of the last.

    ``heads`` is what methods and plug-ins hang on it: modules of rows, ``[B, ...]`` to ``[B, ...]``, that learn with
    it. Their parts must know ``reset_parameters``, by which a later phase draws them anew. Empty, it leaves no key in
    the state dict. ``predicting`` names those heads, each a StageHead, whose logits are averaged with the
    classifier's in a prediction. ``way`` is how passes are made; compiling and several processes change it.
    """

    classifier: nn.Linear

    activated: ClassVar[bool] = True
    """Whether the maps of its stages are normalised and activated; those of pre-activation networks are neither."""

    resizes_to: int | None = None
    """Pixels a side that it resizes images to before it looks at them; None: it takes them as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleDict()
        self.predicting: tuple[str, ...] = ()
        self.way: Way = as_written
        self.shared = False  # whether the way is shared out among several processes
        self._backbone_rests = False

    @abstractmethod
    def maps(self, x: Tensor) -> Iterator[Tensor]:
        """The maps ``[B, D, h, w]`` of the stages, one after another, of images ``[B, C, H, W]``."""

    def features(self, x: Tensor) -> Tensor:
        """Feature maps ``[B, D, h, w]`` of the last stage, of images ``[B, C, H, W]``."""
        (last,) = self.way(last_map, self, x)
        return last

    def levels(self, x: Tensor) -> Maps:
        """The maps of all stages; the last are the features."""
        return self.way(all_maps, self, x)

    def head(self, features: Tensor) -> Tensor:
        """The classifier's logits ``[B, K]`` of feature maps."""
        logits: Tensor = self.classifier(features.mean((2, 3)))
        return logits

    def forward(self, x: Tensor, alone: bool = False) -> Tensor:
        """Logits ``[B, K]``: a prediction's, or ``alone`` the classifier's."""
        if alone or not self.predicting:
            return self.head(self.features(x))
        levels = self.levels(x)
        others = [self._stage_head(name, levels) for name in self.predicting]
        return torch.stack([self.head(levels[-1]), *others]).mean(0)

    def class_weights(self) -> Tensor:
        """The weights ``[K, D]`` by which the classifier tells classes apart."""
        return self.classifier.used() if isinstance(self.classifier, OrderedClassifier) else self.classifier.weight

    def _stage_head(self, name: str, levels: Maps) -> Tensor:
        head = self.heads[name]
        assert isinstance(head, StageHead)
        logits: Tensor = head(levels[head.stage])
        return logits

    def own_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters without those of the heads."""
        return (parameter for _, parameter in self.own_named_parameters())

    def own_named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The same with their names."""
        return ((name, each) for name, each in self.named_parameters() if not name.startswith("heads."))

    def own_modules(self) -> Iterator[nn.Module]:
        """The modules without the classifier and the heads."""
        return (module for name, module in self.named_children() if name not in ("classifier", "heads"))

    def rest_backbone(self, rests: bool) -> None:
        """Whether classifier and heads learn alone: all else gets no gradient, and its running statistics stay."""
        if rests != self._backbone_rests:
            self._backbone_rests = rests
            for module in self.own_modules():
                module.requires_grad_(not rests)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self.own_modules() if self._backbone_rests else ():
            module.eval()
        return self

    @torch.no_grad()
    def renew(self, fresh: str, new: Network) -> None:
        """Take the weights of ``new`` in place: of the ``classifier``, or of the whole ``network``, whose heads are
        then drawn anew from torch's generator.
        """
        if fresh == "classifier":
            self.classifier.load_state_dict(new.classifier.state_dict())
            return
        self.load_state_dict(new.state_dict(), strict=False)  # which has no heads
        for module in self.heads.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()


def last_map(network: Network, x: Tensor) -> Maps:
    """The last stage's map alone; those before it are let go."""
    last = x
    for each in network.maps(x):
        last = each
    return (last,)


def all_maps(network: Network, x: Tensor) -> Maps:
    """The maps of all stages."""
    return tuple(network.maps(x))


def own_norms(network: Network) -> list[nn.Module]:
    """The batch norms of the network itself, without those of heads."""
    return [
        module
        for name, module in network.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not name.startswith("heads.")
    ]


def head_modules(network: Network) -> Iterable[nn.Module]:
    """The modules hung on a network that are called with rows; a list or dictionary of them counts each for itself."""
    return chain.from_iterable(_called(head) for head in network.heads.values())


def _called(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, nn.ModuleList | nn.ModuleDict):
        for each in module.children():
            yield from _called(each)
    else:
        yield module


@contextmanager
def untracked(network: Network, wanted: bool = True) -> Iterator[None]:
    """Within, if ``wanted``, passes in train mode leave the running statistics of the network's norms as they are."""
    norms = [each for each in network.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)] if wanted else []
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


@contextmanager
def taking_statistics(network: Network) -> Iterator[None]:
    """Within, the network's norms take their running statistics anew: the mean over the passes made. All else of the
    network is in eval mode.
    """
    norms = [each for each in network.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    learning, momenta = network.training, [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    try:
        yield
    finally:
        network.train(learning)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


@contextmanager
def written_out(network: Network) -> Iterator[None]:
    """Within, the network's passes are made as they are written."""
    way, network.way = network.way, as_written
    try:
        yield
    finally:
        network.way = way
