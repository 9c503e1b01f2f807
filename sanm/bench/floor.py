"""The network passes of a step and nothing else: what the step cannot do without.

What counts as needed is what the step hands to its networks: images that it learns from, forward and backward; images
that it only looks at, forward; SANM's decoder, forward and backward. Each on ready inputs, in the precision, memory
format and mode of the step itself, without augmentation, masks, losses, optimizer, or anything between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sanm.bench.parts import around
from sanm.trainer import Trainer
from sanm.types import Network


@dataclass
class Pass:
    """One call of a network, or of a decoder, within a step."""

    module: nn.Module
    x: Tensor  # as it was given
    learns: bool  # forward and backward; else forward alone
    training: bool
    whole: bool = False  # its features went on through the network's head

    @property
    def images(self) -> int:
        return len(self.x)

    @property
    def is_network(self) -> bool:
        return isinstance(self.module, Network)

    def forward(self) -> Tensor:
        self.module.train(self.training)
        with torch.set_grad_enabled(self.learns):
            if not isinstance(self.module, Network):
                return self.module(self.x)
            features = self.module.features(self.x)
            return self.module.head(features) if self.whole else features


def passes_of(trainer: Trainer, step: Callable[[], object]) -> list[Pass]:
    """The passes that ``step()`` makes through the trainer's networks."""
    found: list[Pass] = []

    def noting_features(network: Network) -> Callable[..., Any]:
        def wrapper(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            def noted(x: Tensor) -> Tensor:
                found.append(Pass(network, x.detach(), torch.is_grad_enabled(), network.training))
                return function(x)

            return noted

        return wrapper

    def noting_head(network: Network) -> Callable[..., Any]:
        def wrapper(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            def noted(features: Tensor) -> Tensor:
                next(each for each in reversed(found) if each.module is network).whole = True
                return function(features)

            return noted

        return wrapper

    def noting_decoder(decoder: nn.Module, given: tuple[Tensor, ...]) -> None:
        features = given[0].detach().requires_grad_()
        found.append(Pass(decoder, features, torch.is_grad_enabled(), decoder.training))

    with ExitStack() as stack:
        for network in networks_of(trainer):
            stack.enter_context(around(network, "features", noting_features(network)))
            stack.enter_context(around(network, "head", noting_head(network)))
        for decoder in trainer.sanm.decoders:
            stack.callback(decoder.register_forward_pre_hook(noting_decoder).remove)
        step()
    return found


def networks_of(trainer: Trainer) -> Iterator[Network]:
    """All networks that a step may ask: those that learn, their averages, the frozen one that masks come from."""
    yield from (module for module in trainer.modules() if isinstance(module, Network))
    source = trainer.sanm.masks.source if trainer.sanm.masking else None
    if source is not None:
        yield source.network


def bare(trainer: Trainer, passes: list[Pass]) -> Callable[[], None]:
    """The passes once more, with gradients that are ready: a function to be timed."""
    learning = [each for each in passes if each.learns]
    parameters = [parameter for each in learning for parameter in each.module.parameters()]
    with trainer._autocast():
        gradients = [torch.randn_like(each.forward()) for each in learning]

    def run() -> None:
        with trainer._autocast():
            outputs = [out for each in passes if (out := each.forward()).requires_grad]
        for parameter in parameters:
            parameter.grad = None
        torch.autograd.backward(outputs, gradients)

    return run
