"""The operations of AutoAugment and RandAugment on batches of uint8 images, at a strength of each image's own.

What they compute is torchvision's (transforms.v2.functional on uint8 tensors), image by image; blends may differ from
it by one gray level where a sum is rounded in another order. Each function takes images ``[B, C, H, W]`` and a row of
numbers for each, of which it reads the first few, and returns images of the same shape.
"""

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)


def luma(images: Tensor) -> Tensor:
    """Float gray values ``[B, 1, H, W]`` (ITU-R 601) of images; only those of three channels have any color to lose."""
    if images.shape[1] != 3:
        return images.float()
    red, green, blue = images.unbind(1)
    return red.mul(LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])[:, None]


def warp(images: Tensor, matrix: Tensor) -> Tensor:
    """Each pixel from where ``matrix [B, 6]`` says, nearest; black from outside.

    Row by row of a 2 x 3 matrix: source x, source y of an output place x, y, all in pixels from the image's center.
    """
    height, width = images.shape[2:]
    y = torch.arange(height, device=images.device)[:, None] - (height - 1) / 2
    x = torch.arange(width, device=images.device)[None, :] - (width - 1) / 2
    a, b, c, d, e, f = matrix[:, :, None, None].unbind(1)
    columns = (a * x + b * y + (c + (width - 1) / 2)).round_().long()
    rows = (d * x + e * y + (f + (height - 1) / 2)).round_().long()
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    source = (rows * width + columns).mul_(inside).flatten(1)[:, None]
    pixels = images.flatten(2).gather(2, source.expand(-1, images.shape[1], -1))
    return pixels.view_as(images).mul_(inside[:, None])


def brightness(images: Tensor, shares: Tensor) -> Tensor:
    """Blend with black; ``shares [B, 2]`` of image and black, as in all blends."""
    return _uint8(images.float().mul_(_each(shares[:, 0])))


def color(images: Tensor, shares: Tensor) -> Tensor:
    """Blend with the gray image; gray images stay as they are."""
    return _blend(images, luma(images).floor_(), shares) if images.shape[1] == 3 else images


def contrast(images: Tensor, shares: Tensor) -> Tensor:
    """Blend with the mean gray value."""
    return _blend(images, luma(images).floor_().mean((1, 2, 3), keepdim=True), shares)


def sharpness(images: Tensor, shares: Tensor) -> Tensor:
    """Blend with the image smoothed by a 3 x 3 kernel, its center weighing five times; the outermost pixels stay."""
    out = images.float()
    rows = out[:, :, :-2] + out[:, :, 1:-1] + out[:, :, 2:]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    inner = out[:, :, 1:-1, 1:-1]
    smooth = box.add_(inner, alpha=4).div_(13).round_()
    inner.addcmul_(smooth.sub_(inner), _each(shares[:, 1]))
    return _uint8(out)


def posterize(images: Tensor, mask: Tensor) -> Tensor:
    """Keep the bits of ``mask [B, 1]``."""
    return images & _each(mask[:, 0]).to(torch.uint8)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the pixels that are not below ``threshold [B, 1]``."""
    above = images >= _each(threshold[:, 0]).ceil().to(torch.uint8)
    return images ^ above.to(torch.uint8).neg_()  # 255 where above; torch.where is ten times slower on bytes


def autocontrast(images: Tensor, _: Tensor) -> Tensor:
    """Stretch each channel to 0..255; a channel of one value stays."""
    out = images.float()
    low, high = out.amin((2, 3), keepdim=True), out.amax((2, 3), keepdim=True)
    flat = low == high
    return _uint8(out.sub_(low.masked_fill(flat, 0)).div_(((high - low) * (1 / 255)).masked_fill_(flat, 1)))


def equalize(images: Tensor, _: Tensor) -> Tensor:
    """Spread each channel's histogram evenly, by Pillow's integer rule."""
    pixels = images.flatten(2).long()
    counts = pixels.new_zeros((*images.shape[:2], 256)).scatter_add_(2, pixels, torch.ones_like(pixels))
    brightest = counts.gather(2, pixels.amax(2, keepdim=True))
    step = (pixels.shape[2] - brightest) // 255
    below = counts.cumsum(2) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(max=255).to(torch.uint8)
    return torch.where(step[..., None] > 0, table.gather(2, pixels).view_as(images), images)


def _blend(images: Tensor, other: Tensor, shares: Tensor) -> Tensor:
    return _uint8(images.float().mul_(_each(shares[:, 0])).addcmul_(other, _each(shares[:, 1])))


def _each(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _uint8(values: Tensor) -> Tensor:
    return values.clamp_(0, 255).to(torch.uint8)
