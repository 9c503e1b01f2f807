"""The image bank and its pools: weak is what it always was, every view is its own, equal generators repeat."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sanm.config.limits import limits
from sanm.data import Images, TrainingSet
from sanm.data.augment import POOLS, ImageBank, center_crop, images_at_once, normalise
from sanm.step import Random
from tests.conftest import ROOT

CPU = torch.device("cpu")
SHAPES = [(1, 8, 8), (3, 8, 8), (3, 32, 32), (1, 33, 40), (3, 33, 40)]
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)


def bank_of(shape: tuple[int, int, int], same: bool = False, flip: bool = True, padding: int = 4) -> ImageBank:
    images = torch.randint(0, 256, (1 if same else 24, *shape), generator=torch.Generator().manual_seed(0))
    train = TrainingSet(
        images=images.to(torch.uint8).expand(24, -1, -1, -1),
        given_labels=torch.zeros(24, dtype=torch.int64),
        index=torch.arange(24),
        keys=tuple(map(str, range(24))),
        num_classes=2,
        class_names=("a", "b"),
        mean=MEAN[: shape[0]],
        std=STD[: shape[0]],
    )
    return ImageBank(train, {"crop_padding": padding, "flip": flip}, CPU)


def test_the_pools_are_those_a_config_may_name() -> None:
    known = limits("base_method")
    assert set(known["learn_from"].choices) == set(known["guess_on"].choices) == set(POOLS)
    for file in Path(ROOT / "conf/base_method").glob("*.yaml"):
        line = next(line for line in file.read_text().splitlines() if line.startswith("learn_from:"))
        assert line.rpartition(": ")[2].rpartition("# ")[2] == " | ".join(limits("base_method")["guess_on"].choices), (
            file.name
        )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pool", sorted(POOLS))
def test_views_have_the_images_shape_and_range_and_repeat(pool: str, shape: tuple[int, int, int]) -> None:
    bank, index = bank_of(shape), torch.arange(24).flip(0)
    views = bank.views(pool, 2, bank.find(index), Random(3, CPU))
    assert views.shape == (2, 24, *shape)
    assert views.dtype == torch.float32
    assert views.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    mean, std = (torch.tensor(values[: shape[0]])[:, None, None] for values in (MEAN, STD))
    assert bool((views >= -mean / std - 1e-4).all())
    assert bool((views <= (1 - mean) / std + 1e-4).all())
    assert torch.equal(views, bank.views(pool, 2, bank.find(index), Random(3, CPU)))
    assert (pool == "none") == torch.equal(views, bank.views(pool, 2, bank.find(index), Random(4, CPU)))


@pytest.mark.parametrize("pool", ["weak", "autoaugment", "randaugment", "simclr"])
def test_every_view_of_every_sample_draws_its_own(pool: str) -> None:
    bank = bank_of((3, 32, 32), same=True)
    views = bank.views(pool, 2, bank.find(torch.arange(24)), Random(0, CPU))
    assert len(views.flatten(0, 1).flatten(1).unique(dim=0)) > 36  # 162 crops can coincide, and an operation do nothing


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 9, 7)])
def test_weak_is_a_crop_and_a_flip_drawn_in_the_same_order_as_ever(shape: tuple[int, int, int], flip: bool) -> None:
    bank, index = bank_of(shape, flip=flip), torch.arange(24)
    generator = Random(7, CPU).device
    top, left = torch.randint(0, 9, (2, 24, 1), generator=generator)
    mirrored = torch.rand(24, 1, generator=generator) < 0.5 if flip else torch.zeros(24, 1, dtype=torch.bool)
    expected = []
    for image, y, x, mirror in zip(bank.pixels(index), top, left, mirrored, strict=True):
        padded = torch.nn.functional.pad(image, (4, 4, 4, 4))
        crop = padded[:, y : y + shape[1], x : x + shape[2]]
        expected.append(crop.flip(2) if mirror else crop)
    scale, shift = 1 / (255 * bank.std), -bank.mean / bank.std
    stacked = torch.stack(expected).float() * scale[:, None, None] + shift[:, None, None]
    assert torch.equal(bank.views("weak", 1, bank.find(index), Random(7, CPU))[0], stacked)


def test_weak_draws_from_the_device_alone_and_none_draws_nothing() -> None:
    bank, random, untouched = bank_of((3, 8, 8)), Random(1, CPU), Random(1, CPU)
    views = bank.views("none", 2, bank.find(torch.arange(24)), random)
    assert torch.equal(views[0], views[1])
    assert torch.equal(random.device.get_state(), untouched.device.get_state())
    bank.views("weak", 2, bank.find(torch.arange(24)), random)
    assert random.host.bit_generator.state == untouched.host.bit_generator.state
    assert not torch.equal(random.device.get_state(), untouched.device.get_state())


def test_the_bank_is_not_changed_by_what_is_drawn_from_it() -> None:
    bank, index = bank_of((1, 8, 8), padding=0, flip=False), torch.arange(24)
    before = bank.pixels(index).clone()
    for pool in POOLS:
        bank.views(pool, 2, bank.find(index), Random(0, CPU))
    assert torch.equal(bank.pixels(index), before)


def test_normalise_leaves_its_input() -> None:
    images = torch.full((2, 1, 2, 2), 51.0)
    assert torch.allclose(normalise(images, torch.tensor([0.1]), torch.tensor([0.5])), torch.full((2, 1, 2, 2), 0.2))
    assert bool((images == 51).all())


def test_a_crop_is_taken_anywhere_in_training_and_in_the_middle_otherwise() -> None:
    images = torch.arange(8)[:, None] * 16 + torch.arange(8)  # every pixel says where it was
    images = images.to(torch.uint8).expand(24, 3, 8, 8)
    bank = ImageBank(Images(images, MEAN, STD), {"crop_padding": 0, "flip": False, "crop": 4}, CPU)
    assert bank.size == (4, 4)
    assert torch.equal(bank.pixels(torch.arange(2)), images[:2, :, 2:6, 2:6])
    assert torch.equal(center_crop(images, (4, 4)), images[:, :, 2:6, 2:6])
    generator, corners = torch.Generator().manual_seed(0), set()
    for _ in range(20):
        found = bank.find(torch.arange(24))
        for view in found.images.cropped_pixels(found.places, generator):
            top, left = divmod(int(view[0, 0, 0]), 16)
            assert torch.equal(view, images[0, :, top : top + 4, left : left + 4])
            corners.add((top, left))
    assert corners == {(top, left) for top in range(5) for left in range(5)}


@pytest.mark.parametrize("pool", sorted(POOLS))
def test_every_pool_gives_the_cropped_size(pool: str) -> None:
    images = torch.randint(0, 256, (6, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    bank = ImageBank(Images(images, MEAN, STD), {"crop_padding": 2, "flip": True, "crop": 12}, CPU)
    assert bank.views(pool, 2, bank.find(torch.arange(6)), Random(0, CPU)).shape == (2, 6, 3, 12, 12)


@pytest.mark.parametrize(("side", "expected"), [(8, 500), (32, 500), (64, 500), (65, 484), (224, 40), (4000, 1)])
def test_larger_images_are_looked_at_fewer_at_once(side: int, expected: int) -> None:
    assert images_at_once((side, side)) == expected
