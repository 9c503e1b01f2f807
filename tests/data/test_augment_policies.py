"""AutoAugment and RandAugment draw what torchvision draws, for each sample on its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from torchvision.transforms import v2

from sanm.data.augment import operations, policies
from sanm.data.augment.groups import apply_drawn

SIZE = (32, 32)
MANY = 60_000


def test_the_policy_is_torchvisions() -> None:
    theirs = torchvision.transforms.AutoAugment(torchvision.transforms.AutoAugmentPolicy.CIFAR10).policies
    ours = [[(name, chance, level) for name, chance, level in policy] for policy in policies.CIFAR10_POLICY]
    assert [[(name, chance, level or 0) for name, chance, level in policy] for policy in theirs] == ours
    assert tuple(v2.RandAugment._AUGMENTATION_SPACE) == policies.RANDAUGMENT


@pytest.mark.parametrize("size", [(8, 8), SIZE, (33, 40)])
def test_magnitudes_are_torchvisions(size: tuple[int, int]) -> None:
    for bins in (policies.CIFAR10_BINS, policies.RANDAUGMENT_BINS):
        for name, (magnitudes, _) in v2.AutoAugment._AUGMENTATION_SPACE.items():
            table = magnitudes(bins, *size)
            scale = 255 if name == "Solarize" else 1
            theirs = [0.0] * bins if table is None else [scale * float(value) for value in table]
            assert [policies.magnitude(name, level, bins, size) for level in range(bins)] == theirs


def test_sub_policies_are_drawn_as_often_as_they_should() -> None:
    first, second = policies.draw_autoaugment(MANY, SIZE, np.random.default_rng(0))
    nothing, position = len(policies.DISTINCT), policies.DISTINCT.index
    expected = np.zeros((nothing + 1, nothing + 1))
    for (one, p, _), (two, q, _) in policies.CIFAR10_POLICY:
        rows = ((position(policies.FUNCTIONS[one]), p), (nothing, 1 - p))
        columns = ((position(policies.FUNCTIONS[two]), q), (nothing, 1 - q))
        for row, a in rows:
            for column, b in columns:
                expected[row, column] += a * b / 25
    found = np.zeros_like(expected)
    np.add.at(found, (first.operation, second.operation), 1 / MANY)
    deviation = np.sqrt(expected * (1 - expected) / MANY)
    assert (abs(found - expected) <= 5 * deviation).all()  # where nothing is expected, nothing is drawn


def test_randaugment_draws_every_operation_equally_and_turns_independently() -> None:
    first, second = policies.draw_randaugment(MANY, SIZE, np.random.default_rng(0))
    counts = dict.fromkeys(range(len(policies.DISTINCT) + 1), 0)
    for name in policies.RANDAUGMENT:
        own = policies.FUNCTIONS.get(name)
        counts[policies.DISTINCT.index(own) if own else len(policies.DISTINCT)] += 1
    expected = np.array(list(counts.values())) / 14
    found = np.zeros((len(expected), len(expected)))
    np.add.at(found, (first.operation, second.operation), 1 / MANY)
    assert abs(found - np.outer(expected, expected)).max() < 0.005


def test_signs_are_fair_coins() -> None:
    first, second = policies.draw_randaugment(MANY, SIZE, np.random.default_rng(0))
    for drawn in (first, second):
        brighter = drawn.numbers[drawn.operation == policies.DISTINCT.index(operations.brightness), 0]
        assert set(np.round(brighter, 6)) == {0.7, 1.3}
        assert (brighter > 1).mean() == pytest.approx(0.5, abs=0.03)
    moved = first.numbers[first.operation == policies.DISTINCT.index(operations.warp)]
    assert {tuple(row) for row in np.round(moved, 3)[:, [0, 2, 5]]} >= {(1, 4, 0), (1, -4, 0), (1, 0, 4), (1, 0, -4)}


def test_samples_of_one_batch_get_different_operations() -> None:
    for draw in (policies.draw_autoaugment, policies.draw_randaugment):
        for drawn in draw(64, SIZE, np.random.default_rng(0)):
            assert len(set(drawn.operation)) > 5


@pytest.mark.parametrize("policy", [policies.autoaugment, policies.randaugment])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_its_samples_one_by_one(policy, channels: int) -> None:  # type: ignore[no-untyped-def]
    images = torch.randint(0, 256, (64, channels, 33, 40), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    before, draw = images.clone(), getattr(policies, f"draw_{policy.__name__}")
    together = policy(images, np.random.default_rng(2))
    assert torch.equal(images, before)
    turns = draw(64, (33, 40), np.random.default_rng(2))
    for place in range(64):
        alone = images[place : place + 1].clone()
        for drawn in turns:
            one = slice(place, place + 1)
            apply_drawn(alone, drawn.operation[one], drawn.numbers[one], policies.DISTINCT)
        assert torch.equal(alone[0], together[place])


def test_equal_generators_repeat_and_others_do_not() -> None:
    images = torch.randint(0, 256, (16, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    for policy in (policies.autoaugment, policies.randaugment):
        assert torch.equal(policy(images, np.random.default_rng(1)), policy(images, np.random.default_rng(1)))
        assert not torch.equal(policy(images, np.random.default_rng(1)), policy(images, np.random.default_rng(2)))
