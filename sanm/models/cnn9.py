"""The nine-layer CNN of Co-teaching (Han et al., NeurIPS 2018) for images of 28 x 28 or more.

Three convolutions of 128 channels, three of 256, then 512, 256 and 128 without padding; batch norm and leaky ReLU
after each; maximum pooling and dropout of channels after the third and the sixth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sanm.machine.several.passes import part_of
from sanm.network import Network

SMALLEST = 28
"""Pixels a side. The two poolings leave a quarter, of which the unpadded convolutions take 6."""

STAGE_ENDS = (2, 7, 12)
"""Places in the sequence of the last layer before each pooling, and of the last of all."""

SLOPE = 0.01
LARGEST_SEED = 2**63 - 1


class ChannelDropout(nn.Module):
    """Dropout of whole channels, in training alone, drawn from a generator that is part of the state dict.

    The generator's seed comes from torch's generator at the time of construction, as initial weights do.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self._seed = int(torch.randint(LARGEST_SEED, (), device="cpu"))
        self._generator: torch.Generator | None = None
        self._loaded: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.probability:
            return x
        rows, whole = part_of(len(x))
        kept = torch.rand(whole, x.shape[1], 1, 1, generator=self._generator_on(x.device), device=x.device)[rows]
        return x * ((kept >= self.probability) / (1 - self.probability)).to(x.dtype)

    def _generator_on(self, device: torch.device) -> torch.Generator:
        if self._generator is None:
            self._generator = torch.Generator(device).manual_seed(self._seed)
            if self._loaded is not None:
                self._generator.set_state(self._loaded)
        return self._generator

    def get_extra_state(self) -> Tensor | None:
        return self._loaded if self._generator is None else self._generator.get_state()

    def set_extra_state(self, state: Tensor | None) -> None:
        self._generator, self._loaded = None, None if state is None else state.cpu()


def layer(channels_in: int, channels_out: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=padding), nn.BatchNorm2d(channels_out), nn.LeakyReLU(SLOPE)
    )


class CNN9(Network):
    def __init__(self, dropout: float, channels: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            layer(channels, 128, 1), layer(128, 128, 1), layer(128, 128, 1), nn.MaxPool2d(2), ChannelDropout(dropout),
            layer(128, 256, 1), layer(256, 256, 1), layer(256, 256, 1), nn.MaxPool2d(2), ChannelDropout(dropout),
            layer(256, 512, 0), layer(512, 256, 0), layer(256, 128, 0),
        )  # fmt: skip
        self.classifier = nn.Linear(128, num_classes)

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        maps = x
        for position, each in enumerate(self.layers):
            maps = each(maps)
            if position in STAGE_ENDS:
                yield maps


def build(settings: Mapping[str, Any], channels: int, num_classes: int) -> Network:
    """``settings``: ``dropout``, the share of channels dropped in training."""
    return CNN9(float(settings["dropout"]), channels, num_classes)
