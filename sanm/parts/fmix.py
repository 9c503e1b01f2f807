"""FMix's masks (Harris et al.: FMix, Enhancing Mixed Sample Data Augmentation, 2020): blobs of low frequency."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sanm.step import Random

DECAY = 3.0
"""By which power of its frequency a wave is weaker."""


def low_frequency_mask(like: Tensor, share: float, random: Random) -> Tensor:
    """A mask ``[H, W]`` of ones and zeros for images ``like [..., H, W]``: ones at ``share`` of the pixels, where a
    random image of low frequency is brightest.

    The image has the waves that the released code gives it: two frequencies along its width, all along its height.
    """
    height, width = like.shape[-2:]
    along = torch.fft.fftfreq(width, device=like.device)[: width // 2 + 1 + width % 2]
    frequency = torch.stack([along.abs(), along.square().add(1 / height**2).sqrt()])  # [2, F]
    strength = frequency.clamp(min=1 / max(height, width)) ** -DECAY
    drawn = torch.randn(2, len(along), 2, generator=random.device, device=like.device)
    real, imaginary = strength[..., None] * drawn
    image = torch.fft.irfftn(torch.complex(real, imaginary), s=(height, width))
    pixels = share * height * width
    count = math.ceil(pixels) if random.host.random() > 0.5 else math.floor(pixels)
    mask = torch.zeros(height * width, dtype=like.dtype, device=like.device)
    mask[image.flatten().argsort(descending=True)[:count]] = 1
    return mask.view(height, width)
