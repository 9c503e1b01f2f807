"""Post-activation ResNet for small images (He et al., CVPR 2016), as SupContrast, C2D and ELR have it.

The stem is one 3x3 convolution of stride 1 without pooling. Parameters are named as in SupContrast's code, so that
published encoders fit. With widths 64, 128, 256, 512 for 10 classes: ResNet-18 has 11,173,962 parameters, ResNet-34
21,282,122 and ResNet-50 23,520,842.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import relu

from sanm.errors import InputError
from sanm.models.convolution import convolution
from sanm.network import Network


def shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    """The identity, or where the shape changes a 1x1 convolution with its batch norm."""
    if stride == 1 and channels_in == channels_out:
        return nn.Sequential()
    return nn.Sequential(convolution(channels_in, channels_out, 1, stride), nn.BatchNorm2d(channels_out))


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = convolution(channels_in, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = convolution(width, width, 3), nn.BatchNorm2d(width)
        self.shortcut = shortcut(channels_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(out + self.shortcut(x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        channels_out = width * self.expansion
        self.conv1, self.bn1 = convolution(channels_in, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = convolution(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = convolution(width, channels_out, 1), nn.BatchNorm2d(channels_out)
        self.shortcut = shortcut(channels_in, channels_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))))
        out = self.bn3(self.conv3(out))
        return relu(out + self.shortcut(x))


BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ResNet(Network):
    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        widths: list[int],
        blocks: list[int],
        channels: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = convolution(channels, widths[0], 3), nn.BatchNorm2d(widths[0])
        self.stages: list[str] = []
        previous = widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            layers: list[nn.Module] = []
            for position in range(count):
                layers.append(block(previous, width, 2 if stage and position == 0 else 1))
                previous = width * block.expansion
            self.stages.append(f"layer{stage + 1}")
            self.add_module(self.stages[-1], nn.Sequential(*layers))
        self.classifier = nn.Linear(previous, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        maps = relu(self.bn1(self.conv1(x)))
        for stage in self.stages:
            maps = self.get_submodule(stage)(maps)
            yield maps


def build(settings: Mapping[str, Any], channels: int, num_classes: int) -> Network:
    """``settings``: ``block`` (basic or bottleneck), ``widths`` and ``blocks``, one entry a stage.

    The map halves from each stage to the next. Raises InputError when the two lists do not fit together.
    """
    widths, blocks = list(settings["widths"]), list(settings["blocks"])
    if not widths or len(widths) != len(blocks) or min(widths + blocks) < 1:
        raise InputError(f"model.widths={widths} and model.blocks={blocks}: give one positive number a stage in each")
    return ResNet(BLOCKS[settings["block"]], widths, blocks, channels, num_classes)
