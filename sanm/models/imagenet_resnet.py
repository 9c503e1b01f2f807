"""ResNet for large images (He et al., CVPR 2016) as torchvision has it, whose ImageNet weights fit.

The stem is a 7x7 convolution of stride 2 and a maximum pooling, so that maps have a 32nd of the image's side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from sanm.errors import InputError
from sanm.network import Network

SMALLEST = 32
DEPTHS = (18, 34, 50)


class ImageNetResNet(Network):
    """Parameters are called as in torchvision's own, but for ``fc``."""

    def __init__(self, depth: int, num_classes: int) -> None:
        from torchvision import models

        super().__init__()
        whole = getattr(models, f"resnet{depth}")(weights=None)
        self.conv1, self.bn1, self.relu, self.maxpool = whole.conv1, whole.bn1, whole.relu, whole.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = whole.layer1, whole.layer2, whole.layer3, whole.layer4
        self.classifier = nn.Linear(whole.fc.in_features, num_classes)

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        maps = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = stage(maps)
            yield maps


def build(settings: Mapping[str, Any], channels: int, num_classes: int) -> Network:
    """``settings``: ``depth``, 18, 34 or 50. Raises InputError for another, and for images without three channels."""
    if settings["depth"] not in DEPTHS:
        raise InputError(f"model.depth={settings['depth']}: choose one of {', '.join(map(str, DEPTHS))}")
    if channels != 3:
        raise InputError(f"model={settings['name']} needs images of 3 channels, these have {channels}: choose another")
    return ImageNetResNet(settings["depth"], num_classes)
