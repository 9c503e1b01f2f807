"""Images with a border on the device, and what is cut out of them.

Images stay uint8 and are stored padded, channels last, so that a random crop with a flip is one gather and its
result is already in the memory layout that convolutions like.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


def middle(whole: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The first row and column of the middle part of an image."""
    return (whole[0] - size[0]) // 2, (whole[1] - size[1]) // 2


@dataclass(frozen=True)
class Cut:
    """What is cut out of images ``whole`` high and wide: ``size``, from within ``padding`` zero pixels around them;
    ``flip`` mirrors random crops with probability one half.
    """

    whole: tuple[int, int]
    size: tuple[int, int]
    padding: int
    flip: bool

    def padded(self, images: Tensor) -> Tensor:
        """Images uint8 ``[N, C, H, W]`` with their border, channels last: ``[N, H + 2 padding, W + 2 padding, C]``."""
        return torch.nn.functional.pad(images, (self.padding,) * 4).permute(0, 2, 3, 1).contiguous()

    @property
    def padded_size(self) -> tuple[int, int]:
        """Height and width with the border."""
        return self.whole[0] + 2 * self.padding, self.whole[1] + 2 * self.padding


class PaddedImages:
    """Images that have been padded, ``[M, H + 2 padding, W + 2 padding, C]``; indices are of these."""

    def __init__(self, padded: Tensor, cut: Cut) -> None:
        self._padded, self._cut, self.flip = padded, cut, cut.flip

    def pixels(self, index: Tensor) -> Tensor:
        """The images as they are: uint8 ``[B, C, H, W]``, channels last in memory."""
        cut = self._cut
        top, left = (cut.padding + first for first in middle(cut.whole, cut.size))
        rows = torch.arange(top, top + cut.size[0], device=index.device)
        columns = torch.arange(left, left + cut.size[1], device=index.device)
        return self._gather(index, rows[None, :], columns[None, :])

    def cropped_pixels(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Random crop and flip of each image on its own: uint8 ``[B, C, H, W]``, channels last in memory."""
        (height, width), batch, device = self._cut.size, len(index), index.device
        top, left = self._corners(batch, generator)
        rows = top + torch.arange(height, device=device)
        columns = torch.arange(width, device=device).expand(batch, -1)
        if self.flip:
            mirrored = torch.rand(batch, 1, generator=generator, device=device) < 0.5
            columns = torch.where(mirrored, width - 1 - columns, columns)
        return self._gather(index, rows, columns + left)

    def _corners(self, batch: int, generator: torch.Generator) -> Tensor:
        """Where random crops begin, ``[2, batch, 1]``."""
        cut = self._cut
        most = cut.whole[0] - cut.size[0] + 2 * cut.padding  # the same either way: what is cropped is square
        return torch.randint(0, most + 1, (2, batch, 1), generator=generator, device=self._padded.device)

    def _gather(self, index: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        return self._padded[index[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
