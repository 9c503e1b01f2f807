"""PreAct ResNet as the DivideMix family defines it.

Two things differ from the textbook: the shortcut is fed the *activated* input even where it is the identity, and
nothing follows the last block but the average over the map. With widths 64, 128, 256, 512 and two blocks each it is
the field's PreAct ResNet-18: 11,171,274 parameters for 10 classes, 11,217,444 for 100.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import relu

from sanm.errors import InputError
from sanm.models.convolution import convolution
from sanm.network import Network


class PreActBlock(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = convolution(channels_in, channels_out, 3, stride)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.conv2 = convolution(channels_out, channels_out, 3, 1)
        same = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if same else convolution(channels_in, channels_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        activated = relu(self.norm1(x))
        out: Tensor = self.conv2(relu(self.norm2(self.conv1(activated))))
        return out + self.shortcut(activated)


class PreActResNet(Network):
    activated = False

    def __init__(self, widths: list[int], blocks: list[int], channels: int, num_classes: int) -> None:
        super().__init__()
        self.stem = convolution(channels, widths[0], 3, 1)
        self.norm = nn.BatchNorm2d(widths[0])
        stages: list[nn.Module] = []
        previous = widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                stride = 2 if stage and block == 0 else 1
                stages.append(PreActBlock(previous, width, stride))
                previous = width
        self.stages = nn.Sequential(*stages)
        self.ends = [sum(blocks[: stage + 1]) - 1 for stage in range(len(blocks))]  # the last block of each stage
        self.classifier = nn.Linear(previous, num_classes)

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        maps = relu(self.norm(self.stem(x)))
        for position, block in enumerate(self.stages):
            maps = block(maps)
            if position in self.ends:
                yield maps


def build(settings: Mapping[str, Any], channels: int, num_classes: int) -> Network:
    """``settings``: ``widths`` and ``blocks``, one entry a stage; the map halves from each stage to the next.

    Raises InputError when the two lists do not fit together.
    """
    widths, blocks = list(settings["widths"]), list(settings["blocks"])
    if not widths or len(widths) != len(blocks) or min(widths + blocks) < 1:
        raise InputError(f"model.widths={widths} and model.blocks={blocks}: give one positive number a stage in each")
    return PreActResNet(widths, blocks, channels, num_classes)
