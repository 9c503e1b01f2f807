"""The convolution of the residual networks: no bias, a map as large as its input but for the stride."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import conv2d

ENOUGH_CHANNELS = 16
"""What oneDNN takes at once, 8 with AVX2 and 16 with AVX-512."""


class NarrowShortcut(nn.Conv2d):
    """A 1x1 convolution with a stride that leaves pixels out before it multiplies, which is the same.

    With fewer channels than ``ENOUGH_CHANNELS`` oneDNN's gradient writes past its memory: torch hangs, crashes or is
    wrong (oneDNN issue 6035, seen with torch 2.15).
    """

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.stride
        return conv2d(x[:, :, ::rows, ::columns], self.weight)


def convolution(channels_in: int, channels_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution of ``size`` x ``size`` pixels, [B, channels_in, H, W] -> [B, channels_out, H/stride, W/stride]."""
    narrow = size == 1 and stride > 1 and channels_in < ENOUGH_CHANNELS
    kind = NarrowShortcut if narrow else nn.Conv2d
    return kind(channels_in, channels_out, size, stride, padding=size // 2, bias=False)
