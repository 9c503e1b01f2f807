"""VGG-19 with batch norm (Simonyan and Zisserman, ICLR 2015), the network of ANIMAL-10N's literature.

torchvision's sixteen convolutions and five poolings. One linear layer on the mean of the last map stands for the three
fully connected ones, since class activation maps ask for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from sanm.errors import InputError
from sanm.network import Network

SMALLEST = 32
"""Pixels a side, which five poolings leave one of."""


class VGG19(Network):
    def __init__(self, num_classes: int) -> None:
        from torchvision.models import vgg

        super().__init__()
        self.layers = vgg.make_layers(vgg.cfgs["E"], batch_norm=True)
        self.classifier = nn.Linear(512, num_classes)
        for module in self.layers:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        maps = x
        for each in self.layers:
            maps = each(maps)
            if isinstance(each, nn.MaxPool2d):
                yield maps


def build(settings: Mapping[str, Any], channels: int, num_classes: int) -> Network:
    """Nothing to set. Raises InputError for images without three channels."""
    if channels != 3:
        raise InputError(f"model={settings['name']} needs images of 3 channels, these have {channels}: choose another")
    return VGG19(num_classes)
