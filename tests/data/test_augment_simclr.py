"""SimCLR's views: every operation is torchvision's, every sample draws its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F  # noqa: N812

from sanm.data.augment import simclr

SHAPES = [(3, 32, 32), (1, 8, 8), (3, 33, 40)]


def images_of(batch: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, 256, (batch, *shape), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


@pytest.mark.parametrize("shape", SHAPES)
def test_crop_is_torchvisions_resized_crop(shape: tuple[int, int, int]) -> None:
    images, random = images_of(40, *shape).float() / 255, np.random.default_rng(0)
    boxes, mirrored = simclr.draw_boxes(40, *shape[1:], random), random.random(40) < 0.5
    found = simclr.crop_and_resize(images, boxes, mirrored)
    for image, box, flipped, own in zip(images, boxes.tolist(), mirrored, found, strict=True):
        expected = F.resized_crop(image, *box, list(shape[1:]), antialias=True)
        torch.testing.assert_close(own, expected.flip(2) if flipped else expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("ours", "theirs", "low", "high"),
    [
        (simclr.brightness, F.adjust_brightness, 0.6, 1.4),
        (simclr.contrast, F.adjust_contrast, 0.6, 1.4),
        (simclr.saturation, F.adjust_saturation, 0.6, 1.4),
        (simclr.hue, F.adjust_hue, -0.1, 0.1),
    ],
)
def test_color_operations_are_torchvisions(ours, theirs, low: float, high: float, channels: int) -> None:  # type: ignore[no-untyped-def]
    if channels == 1 and ours is simclr.hue:
        return
    images = torch.cat([images_of(20, channels, 8, 8), torch.full((1, channels, 8, 8), 90, dtype=torch.uint8)]) / 255
    factors = torch.linspace(low, high, 21)
    expected = torch.stack([theirs(image, float(factor)) for image, factor in zip(images, factors, strict=True)])
    torch.testing.assert_close(ours(images, factors), expected, atol=1e-5, rtol=0)


def test_boxes_have_torchvisions_areas_aspects_and_places() -> None:
    top, left, height, width = simclr.draw_boxes(20_000, 96, 96, np.random.default_rng(0)).T
    area, aspect = height * width / 96**2, np.log(width / height)
    assert (top + height).max() == (left + width).max() == 96
    assert top.min() == left.min() == 0
    assert 0.19 < area.min() < 0.21
    assert area.max() == 1
    assert abs(aspect).max() < np.log(4 / 3) + 0.05
    inner = area < 0.7  # no such box is ever refused: areas are uniform there
    assert np.quantile(area[inner], [0.25, 0.5, 0.75]) == pytest.approx([0.325, 0.45, 0.575], abs=0.01)
    assert np.quantile(aspect[inner], [0.25, 0.75]) == pytest.approx(np.log(4 / 3) * np.array([-0.5, 0.5]), abs=0.01)


def test_a_box_that_never_fits_is_the_center() -> None:
    boxes = simclr.draw_boxes(50, 8, 80, np.random.default_rng(0))
    assert (boxes[:, 2:] <= (8, 80)).all()
    assert (boxes == (0, 34, 8, 11)).all(1).any()


def test_jitter_is_drawn_in_every_order_alike_and_within_its_ranges() -> None:
    drawn, strength = simclr.draw_jitter(24_000, np.random.default_rng(0))
    jittered = drawn[:, 0] < 4
    assert jittered.mean() == pytest.approx(0.8, abs=0.02)
    assert (drawn[~jittered] == 4).all()
    orders, counts = np.unique(drawn[jittered], axis=0, return_counts=True)
    assert len(orders) == 24
    assert (abs(counts - 800) < 5 * 800**0.5).all()
    for operation, (low, high) in enumerate([(0.6, 1.4)] * 3 + [(-0.1, 0.1)]):
        own = (strength[drawn == operation] - low) / (high - low)
        assert np.quantile(own, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=0.02)


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_is_torchvisions_operations_in_the_order_drawn(channels: int) -> None:
    images = images_of(20, channels, 8, 8) / 255
    drawn, strength = simclr.draw_jitter(20, np.random.default_rng(3))
    theirs = [F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue]
    expected = images.clone()
    for place in range(20):
        for operation, own in zip(drawn[place], strength[place], strict=True):
            if operation < (4 if channels == 3 else 2):
                expected[place] = theirs[operation](expected[place], float(own))
    simclr.jitter(images, np.random.default_rng(3))
    torch.testing.assert_close(images, expected, atol=2e-5, rtol=0)


def test_shares_of_jittered_and_of_gray_views() -> None:
    images = torch.rand(4000, 3, 2, 2, generator=torch.Generator().manual_seed(0)) / 2 + 0.25
    jittered = images.clone()
    simclr.jitter(jittered, np.random.default_rng(0))
    assert float((jittered != images).flatten(1).any(1).float().mean()) == pytest.approx(0.8, abs=0.03)
    views = simclr.simclr((255 * images).to(torch.uint8), True, np.random.default_rng(0))
    colorless = (views.amax(1) - views.amin(1)).flatten(1).amax(1) < 1e-2
    assert float(colorless.float().mean()) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("flip", [True, False])
def test_flips_only_where_the_data_allow_it(flip: bool) -> None:
    ramp = torch.arange(0, 256, 8).to(torch.uint8).expand(200, 1, 32, 32)
    views = simclr.simclr(ramp, flip, np.random.default_rng(0))
    mirrored = (views[:, 0, 16, 0] > views[:, 0, 16, -1]).float().mean()
    assert float(mirrored) == (pytest.approx(0.5, abs=0.12) if flip else 0)


@pytest.mark.parametrize("shape", [*SHAPES, (3, 8, 8), (1, 33, 40)])
def test_views_are_their_own_and_repeat_under_equal_generators(shape: tuple[int, int, int]) -> None:
    images = images_of(1, *shape).expand(30, -1, -1, -1)
    views = simclr.simclr(images, True, np.random.default_rng(5))
    assert views.shape == images.shape
    assert views.dtype == torch.float32
    assert float(views.min()) >= 0
    assert float(views.max()) <= 255.001
    assert len(views.flatten(1).unique(dim=0)) == 30
    assert torch.equal(views, simclr.simclr(images, True, np.random.default_rng(5)))
    assert torch.equal(images, images_of(1, *shape).expand(30, -1, -1, -1))
