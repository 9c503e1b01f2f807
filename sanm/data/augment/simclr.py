"""SimCLR's augmentation of small images (Chen et al., ICML 2020, Appendix A and B.9): no blur, half the distortion.

Crop of random area and aspect, resized to the image; flip; color jitter; grayscale. Crops cover at least a fifth of
the image, where the paper takes 8 %. Every sample draws all of it on its own, the order of the jitter's operations
too, from the distributions of torchvision's RandomResizedCrop, RandomHorizontalFlip, ColorJitter(0.4, 0.4, 0.4, 0.1)
and RandomGrayscale.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanm.data.augment.groups import Operation, apply_drawn, on_device
from sanm.data.augment.operations import luma

AREA = (0.2, 1.0)
ASPECT = (3 / 4, 4 / 3)
ATTEMPTS = 10
"""Boxes drawn until one fits into the image; if none does, the image's center is taken."""
JITTER_PROBABILITY = 0.8
GRAY_PROBABILITY = 0.2

Boxes = NDArray[np.int64]


def simclr(images: Tensor, flip: bool, random: np.random.Generator) -> Tensor:
    """One SimCLR view of each image: ``[B, C, H, W]`` of values 0..255 (any type) -> float, 0..255, not rounded.

    ``flip`` says whether half of the views are mirrored. Images of one channel are jittered in brightness and contrast
    alone; what concerns color leaves them as they are. Images of other than 1 or 3 channels are taken for gray ones.
    """
    batch, channels, height, width = images.shape
    boxes = draw_boxes(batch, height, width, random)
    mirrored = random.random(batch) < (0.5 if flip else 0.0)
    out = crop_and_resize(images.float() / 255, boxes, mirrored)
    jitter(out, random)
    colored = (random.random(batch) >= GRAY_PROBABILITY).astype(np.int64)
    if channels == 3:
        apply_drawn(out, colored, np.zeros(batch), (lambda group, _: luma(group).expand_as(group),))
    return out.mul_(255)


# ---- crop


def draw_boxes(batch: int, height: int, width: int, random: np.random.Generator) -> Boxes:
    """Crops ``[B, 4]`` as top, left, height, width, inside an image of ``height`` x ``width``."""
    area = height * width * random.uniform(*AREA, (batch, ATTEMPTS))
    aspect = np.exp(random.uniform(math.log(ASPECT[0]), math.log(ASPECT[1]), (batch, ATTEMPTS)))
    heights = np.rint(np.sqrt(area / aspect)).astype(np.int64)
    widths = np.rint(np.sqrt(area * aspect)).astype(np.int64)
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    first, sample = fits.argmax(1), np.arange(batch)
    tall, wide = heights[sample, first], widths[sample, first]
    top = random.integers(0, np.maximum(height - tall, 0) + 1)
    left = random.integers(0, np.maximum(width - wide, 0) + 1)
    boxes = np.stack([top, left, tall, wide], axis=1)
    return np.where(fits.any(1, keepdims=True), boxes, _center_box(height, width))


def _center_box(height: int, width: int) -> Boxes:
    tall = min(height, round(width / ASPECT[0]))
    wide = min(width, round(height * ASPECT[1]))
    return np.array([(height - tall) // 2, (width - wide) // 2, tall, wide])


def crop_and_resize(images: Tensor, boxes: Boxes, mirrored: NDArray[np.bool_]) -> Tensor:
    """The ``boxes [B, 4]`` of float images ``[B, C, H, W]``, bilinearly resized to H x W; mirrored where said."""
    height, width = images.shape[2:]
    top, left, tall, wide = on_device(boxes.T, torch.float32, images.device)
    rows = _sampled_at(top, tall, height)
    columns = _sampled_at(left, wide, width)
    flips = on_device(mirrored, torch.bool, images.device)
    columns = torch.where(flips[:, None], columns.flip(1), columns)
    grid = torch.stack(
        [
            (columns * (2 / max(width - 1, 1)) - 1)[:, None, :].expand(-1, height, -1),
            (rows * (2 / max(height - 1, 1)) - 1)[:, :, None].expand(-1, -1, width),
        ],
        dim=-1,
    )
    return torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=True)


def _sampled_at(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Pixel coordinates ``[B, size]`` that a crop ``[start, start + length)`` is read at; never outside of it."""
    centers = (torch.arange(size, device=start.device) + 0.5) / size
    inside = (centers * length[:, None] - 0.5).clamp(min=0).minimum(length[:, None] - 1)
    return start[:, None] + inside


# ---- color


def jitter(images: Tensor, random: np.random.Generator) -> None:
    """Color jitter, in place, of float images ``[B, C, H, W]`` in [0, 1]."""
    operations: tuple[Operation, ...] = (brightness, contrast, saturation, hue)
    drawn, strength = draw_jitter(len(images), random)
    if images.shape[1] != 3:
        operations = operations[:2]
        drawn = np.minimum(drawn, len(operations))
    for turn in range(4):
        apply_drawn(images, drawn[:, turn], strength[:, turn], operations)


def draw_jitter(batch: int, random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Turn by turn ``[B, 4]`` the operation of each sample and its strength.

    0 to 3 are brightness, contrast, saturation (factors in 0.6..1.4) and hue (-0.1..0.1 of a circle), in an order of
    each sample's own; 4 is none: a fifth of the samples are not jittered.
    """
    jittered = random.random((batch, 1)) < JITTER_PROBABILITY
    order = random.permuted(np.tile(np.arange(4), (batch, 1)), axis=1)
    strength = random.uniform((0.6, 0.6, 0.6, -0.1), (1.4, 1.4, 1.4, 0.1), (batch, 4))
    return np.where(jittered, order, 4), np.take_along_axis(strength, order, axis=1)


def blend(images: Tensor, other: Tensor, ratio: Tensor) -> Tensor:
    """``ratio [B]`` of the images, the rest of the other ones; kept within [0, 1]."""
    return torch.lerp(other, images, ratio[:, None, None, None]).clamp_(0, 1)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black."""
    return (images * factor[:, None, None, None]).clamp_(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean luma."""
    return blend(images, luma(images).mean((1, 2, 3), keepdim=True).expand_as(images), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's luma."""
    return blend(images, luma(images).expand_as(images), factor)


def hue(images: Tensor, turn: Tensor) -> Tensor:
    """Hue turned by ``turn [B]`` of a full circle, saturation and value kept (HSV)."""
    value, chroma = images.amax(1), images.amax(1) - images.amin(1)
    red, green, blue = images.unbind(1)
    divisor = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    sector = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    turned = sector + 6 * turn[:, None, None]
    position = torch.stack([(turned + offset).remainder(6) for offset in (5, 3, 1)], dim=1)
    return value[:, None] - chroma[:, None] * torch.minimum(position, 4 - position).clamp_(0, 1)
