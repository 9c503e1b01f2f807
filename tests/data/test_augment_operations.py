"""Batched operations with strengths of their own against torchvision, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from sanm.data.augment import operations
from sanm.data.augment.policies import (
    CIFAR10_BINS,
    CIFAR10_POLICY,
    FUNCTIONS,
    RANDAUGMENT,
    RANDAUGMENT_BINS,
    RANDAUGMENT_MAGNITUDE,
    magnitude,
    numbers_for,
)

SHAPES = [(3, 32, 32), (1, 8, 8), (3, 8, 8), (1, 33, 40), (3, 33, 40)]
USED = sorted(
    {(name, level, CIFAR10_BINS) for policy in CIFAR10_POLICY for name, _, level in policy}
    | {(name, RANDAUGMENT_MAGNITUDE, RANDAUGMENT_BINS) for name in RANDAUGMENT if name != "Identity"}
)
SUMS = ("Contrast", "Color", "Brightness", "Sharpness")
"""Sums of products, which another processor may round in another order: a gray level may differ."""


def images_of(shape: tuple[int, int, int]) -> torch.Tensor:
    """Noise, noise of low contrast, and images of one value."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randint(0, 256, (10, *shape), generator=generator)
    faint = 90 + torch.randint(0, 60, (10, *shape), generator=generator)
    flat = torch.tensor([0, 1, 128, 255])[:, None, None, None].expand(-1, *shape)
    return torch.cat([noise, faint, flat]).to(torch.uint8)


def by_torchvision(images: torch.Tensor, name: str, level: int, bins: int, sign: int) -> torch.Tensor:
    reference = v2.RandAugment()
    magnitudes, signed = v2.AutoAugment._AUGMENTATION_SPACE[name]
    table = magnitudes(bins, *images.shape[2:])
    strength = 0.0 if table is None else float(table[level]) * (sign if signed else 1)
    settings = {"interpolation": reference.interpolation, "fill": reference._fill}
    each = [reference._apply_image_or_video_transform(image, name, strength, **settings) for image in images]
    return torch.stack(each)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "level", "bins"), USED)
def test_operation_is_torchvisions(name: str, level: int, bins: int, shape: tuple[int, int, int]) -> None:
    images, size = images_of(shape), shape[1:]
    signs = np.tile([-1, 1], len(images) // 2)
    given = [numbers_for(name, sign * magnitude(name, level, bins, size), size) for sign in signs.tolist()]
    numbers = torch.zeros(len(images), 6)
    numbers[:, : len(given[0])] = torch.tensor(given)
    found = FUNCTIONS[name](images, numbers)
    both = {sign: by_torchvision(images, name, level, bins, sign) for sign in (-1, 1)}
    expected = torch.where(torch.tensor(signs > 0)[:, None, None, None], both[1], both[-1])
    assert found.dtype == torch.uint8
    apart = (found.int() - expected.int()).abs()
    assert int(apart.max()) <= (1 if name in SUMS else 0)
    assert float((apart > 0).float().mean()) < 1e-3


def test_strengths_are_each_images_own() -> None:
    images = torch.full((2, 1, 4, 4), 100, dtype=torch.uint8)
    found = operations.brightness(images, torch.tensor([[0.5, 0.5], [1.5, -0.5]]))
    assert found.unique().tolist() == [50, 150]


def test_equalize_and_autocontrast_treat_channels_on_their_own() -> None:
    channels = [torch.randint(0, high, (8, 8), generator=torch.Generator().manual_seed(high)) for high in (20, 90, 256)]
    image = torch.stack(channels).to(torch.uint8)[None]
    for operation in (operations.equalize, operations.autocontrast):
        alone = [operation(image[:, k : k + 1], torch.zeros(1, 6)) for k in range(3)]
        assert torch.equal(operation(image, torch.zeros(1, 6)), torch.cat(alone, dim=1))


def test_gray_images_have_no_color_to_change() -> None:
    images = images_of((1, 8, 8))
    assert torch.equal(operations.color(images, torch.tensor([[1.9, -0.9]]).expand(len(images), -1)), images)
