"""The nine-layer CNN of Co-teaching (Han et al., NeurIPS 2018) for images of 28 x 28 or more.

Three convolutions of 128 channels, three of 256, then 512, 256 and 128 without padding; batch norm and leaky ReLU
after each; maximum pooling and dropout of channels after the third and the sixth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from sanm.network import Network
from sanm.parts.dropout import ChannelDropout

SMALLEST = 28
"""Pixels a side. The two poolings leave a quarter, of which the unpadded convolutions take 6."""

STAGE_ENDS = (2, 7, 12)
"""Places in the sequence of the last layer before each pooling, and of the last of all."""

SLOPE = 0.01


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
