"""Masks: where they lie, how large they are, what is painted."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sanm.network import Network
from sanm.plugins.sanm.amg import Masks, activation_map, inside
from sanm.step import Look, Random, Step
from tests.conftest import config_of

MEAN, STD = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])


class OneHotMap(Network):
    """A network whose feature maps are given, so that a test knows where the peaks are."""

    def __init__(self, features: torch.Tensor, num_classes: int) -> None:
        super().__init__()
        self.given = features
        self.classifier = torch.nn.Linear(features.shape[1], num_classes)

    def maps(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        yield self.given


def masks(*overrides: str) -> Masks:
    config = config_of(*overrides)
    return Masks(config["tau"], config["mask_strategy"], config["variant"], MEAN, STD)


@cache
def composed() -> dict[str, Any]:
    return config_of()


def looked(network: Network, size: int, batch: int) -> Look:
    return Look([network], torch.zeros(1, batch, 3, size, size), "eval")


def step(seed: int = 0) -> Step:
    return Step(0, 5, 5.0, Random(seed, torch.device("cpu")))


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(8, 224),
    clean=st.floats(0, 1),
    tau=st.floats(0.01, 0.5),
    aspect=st.floats(0.3, 1.0),
    seed=st.integers(0, 1000),
)
def test_boxes_lie_inside_and_have_the_size_asked_for(
    size: int, clean: float, tau: float, aspect: float, seed: int
) -> None:
    config = composed()
    strategy = {**config["mask_strategy"], "aspect": aspect}
    made = Masks({"value": tau}, strategy, config["variant"], MEAN, STD)
    random = step(seed).random.device
    batch = 6
    w = torch.full((batch,), clean)
    nominal = made.ratios(w, random)
    assert torch.allclose(nominal[0], tau * (2 - w))
    assert torch.allclose(nominal[1], tau * (1 - w))
    peaks = torch.randint(0, size * size, (2, batch), generator=random)
    boxes = made.boxes(peaks, nominal, torch.Size((size, size)), random)
    rows, columns = boxes.any(3).sum(2), boxes.any(2).sum(2)
    assert torch.equal(boxes.flatten(2).sum(2), rows * columns), "a box is a full rectangle"
    # rounding moves each side by at most half a pixel; a side never exceeds the image
    area = nominal * size * size
    longest = (area / aspect).sqrt().clamp(max=size)
    assert (rows <= longest + 0.51).all()
    assert (columns <= longest + 0.51).all()
    free = (rows < size) & (columns < size) & (rows > 0) & (columns > 0)
    slack = 0.5 * (rows + columns) + 0.51
    assert ((rows * columns - area).abs() <= slack)[free].all()


@pytest.mark.parametrize("anchor", ["center", "corner"])
def test_anchor(anchor: str) -> None:
    made = masks(f"variant.anchor={anchor}", "mask_strategy.aspect=1")
    peaks = torch.tensor([[16 * 32 + 10], [0]])
    boxes = made.boxes(peaks, torch.full((2, 1), 36 / 1024), torch.Size((32, 32)), step().random.device)
    rows, columns = boxes[0, 0].any(1).nonzero()[:, 0], boxes[0, 0].any(0).nonzero()[:, 0]
    first = (13, 7) if anchor == "center" else (16, 10)
    assert (int(rows[0]), int(columns[0])) == first
    assert len(rows) == len(columns) == 6
    assert boxes[1, 0, :6, :6].all(), "a box at the border is shifted inside, not cut"


def test_peaks_of_the_class_activation_map_are_covered() -> None:
    features = torch.zeros(1, 2, 4, 4)
    features[0, 0, 1, 2], features[0, 0, 3, 0] = 5.0, -5.0
    features[0, 1, 0, 0] = 100.0  # energy that the predicted class does not use
    network = OneHotMap(features, 2)
    with torch.no_grad():
        network.classifier.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
        network.classifier.bias.zero_()
    look = looked(network, 16, 1)
    by_class = activation_map(look, network, 0, "class")[0]
    assert divmod(int(by_class.argmax()), 16) in [(y, x) for y in range(4, 8) for x in range(8, 12)]
    assert divmod(int(by_class.argmin()), 16) in [(y, x) for y in range(12, 16) for x in range(4)]
    by_energy = activation_map(look, network, 0, "energy")[0]
    assert int(by_energy.argmax()) == 0
    made = masks("mask_strategy.aspect=1")
    masked = made(look, network, torch.zeros(1), step())
    painted = (masked.x[0, 0] != look.x[0, 0]).any(0)
    assert painted[5, 9]
    assert painted[14, 1]
    assert masked.ratio[0, 0] == painted.float().mean(), "the label pays the realised share"


@pytest.mark.parametrize("kind", ["class", "energy"])
def test_the_map_is_as_exact_in_a_pass_of_half_precision(kind: str) -> None:
    network = OneHotMap(torch.randn(4, 16, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16(), 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        look = looked(network, 16, 4)
        mixed = activation_map(look, network, 0, kind)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, activation_map(look, network, 0, kind))


def test_fill_is_uniform_in_image_space_before_normalisation() -> None:
    made = masks()
    boxes = torch.ones(1, 50, 16, 16, dtype=torch.bool)
    painted = made.paint(torch.zeros(50, 3, 16, 16), boxes, step().random.device)[0]
    pixels = painted * STD[:, None, None] + MEAN[:, None, None]
    assert float(pixels.min()) >= -1e-6
    assert float(pixels.max()) <= 1 + 1e-6
    assert torch.allclose(pixels.mean((0, 2, 3)), torch.full((3,), 0.5), atol=0.02)
    assert painted[0, 0].unique().numel() > 200, "each pixel is drawn on its own"


def test_released_variant() -> None:
    """Painted share 2.2 to 3.7 % on average, corner anchored, one normalised color a box, nominal ratio paid."""
    made = masks("variant=released")
    network = OneHotMap(torch.rand(4000, 8, 4, 4), 10)
    look = looked(network, 32, 4000)
    shares = {}
    for clean in (1.0, 0.0):
        masked = made(look, network, torch.full((4000,), clean), step())
        assert masked.x.shape[0] == 2, "a view for each region"
        painted = (masked.x != 0).any(2)
        shares[clean] = float(painted.float().mean())
        assert torch.equal(masked.ratio[0], masked.ratio[1])
        low, high = 0.02 + 0.03 * (1 - clean), 0.07 + 0.03 * (1 - clean)
        assert float(masked.ratio.min()) >= low - 1e-6
        assert float(masked.ratio.max()) <= high + 1e-6
        assert all(masked.x[0, 0, c][painted[0, 0]].unique().numel() == 1 for c in range(3))
        assert float(masked.x.min()) >= 0
        assert float(masked.x.max()) <= 1
    assert shares[1.0] == pytest.approx(0.022, abs=0.002)
    assert shares[0.0] == pytest.approx(0.037, abs=0.003)


def test_each_box_of_a_joint_view_has_a_color_of_its_own() -> None:
    features = torch.zeros(1, 1, 4, 4)
    features[0, 0, 0, 0], features[0, 0, 3, 3] = 5.0, -5.0
    network = OneHotMap(features, 2)
    made = masks("variant.fill=box_color", "tau.value=0.05", "mask_strategy.aspect=1")
    masked = made(looked(network, 16, 1), network, torch.zeros(1), step())
    assert masked.x.shape[:2] == (1, 1)
    most, least = (masked.x[0, 0][:, box[0]] for box in masked.boxes)
    assert all(len(colors.unique(dim=1)[0]) == 1 for colors in (most, least))
    assert not torch.equal(most[:, 0], least[:, 0])
    assert bool((masked.x[0, 0][:, ~masked.boxes.any(0)[0]] == 0).all())


@pytest.mark.parametrize("strategy", ["fixed", "random"])
def test_strategies_that_ignore_trust(strategy: str) -> None:
    ratios = masks(f"mask_strategy={strategy}").ratios(torch.linspace(0, 1, 5000), step().random.device)
    assert torch.equal(ratios[0], ratios[1])
    assert float(ratios.mean()) == pytest.approx(0.2, abs=0.005)
    if strategy == "fixed":
        assert ratios.unique().numel() == 1
    else:
        assert 0 <= float(ratios.min()) < 0.01 < 0.39 < float(ratios.max()) <= 0.4


def test_an_interval_longer_than_allowed_starts_at_zero() -> None:
    assert inside(torch.tensor([3.0]), torch.tensor([5.0]), 5).all()
    assert not inside(torch.tensor([3.0]), torch.tensor([0.0]), 5).any()


@pytest.mark.parametrize(
    ("maximum", "minimum", "expected"),
    [
        ("one_minus_half_w", "half_one_minus_w", ([0.2, 0.15, 0.1], [0.1, 0.05, 0.0])),
        ("two_minus_w", "none", ([0.4, 0.3, 0.2], [0.0, 0.0, 0.0])),
        ("one_minus_w", "two_minus_w", ([0.2, 0.1, 0.0], [0.4, 0.3, 0.2])),
    ],
)
def test_ratios_of_eq_2(maximum: str, minimum: str, expected: tuple[list[float], list[float]]) -> None:
    made = masks(f"variant.ratio_at_maximum={maximum}", f"variant.ratio_at_minimum={minimum}", "tau.value=0.2")
    found = made.ratios(torch.tensor([0.0, 0.5, 1.0]), torch.Generator())
    assert torch.allclose(found, torch.tensor(expected))


def test_without_a_ratio_at_the_minimum_there_is_one_box() -> None:
    features = torch.zeros(2, 1, 16, 16)
    features[:, 0, 3, 3], features[:, 0, 12, 12] = 1, -1
    network = OneHotMap(features, 2)
    network.classifier.weight.data.fill_(1)
    found = masks("variant.ratio_at_minimum=none", "mask_strategy.aspect=1")(
        looked(network, 16, 2), network, torch.ones(2), step()
    )
    assert found.boxes[0].flatten(1).float().mean(1).tolist() == pytest.approx([0.2, 0.2], abs=0.03)
    assert not found.boxes[1].any()


def test_masks_grow_over_the_ramp_from_the_epoch_in_which_they_begin() -> None:
    made = masks("variant.tau_ramp=4", "components.start=10")
    made.start = 10
    assert [made.grown(progress) for progress in (10.0, 11.0, 12.5, 14.0, 90.0)] == [0, 0.25, 0.625, 1, 1]
    assert masks().grown(0.0) == 1


def test_a_part_of_the_samples_is_masked_and_the_others_views_are_as_they_were() -> None:
    network = OneHotMap(torch.rand(400, 1, 8, 8, generator=torch.Generator().manual_seed(0)), 2)
    look = looked(network, 8, 400)
    found = masks("variant.masked_part=0.25")(look, network, torch.zeros(400), step())
    masked = found.boxes.any(0).flatten(1).any(1)
    assert 60 < int(masked.sum()) < 140
    assert torch.equal(found.x[0, ~masked], look.x[0, ~masked])
    assert not found.ratio[0, ~masked].any()
    assert (found.ratio[0, masked] > 0).all()


def test_boxes_at_random_places_are_of_the_same_size_and_know_no_map() -> None:
    features = torch.zeros(300, 1, 16, 16)
    features[:, 0, 3, 3], features[:, 0, 12, 12] = 1, -1
    network = OneHotMap(features, 2)
    found = masks("variant.activation=random")(looked(network, 16, 300), network, torch.full((300,), 0.5), step())
    by_map = masks()(looked(network, 16, 300), network, torch.full((300,), 0.5), step())
    assert abs(float(found.boxes.float().mean() - by_map.boxes.float().mean())) < 0.005
    covered = found.boxes[0].float().mean(0)
    assert float(covered.min()) > 0.05, "every place is covered now and then"
    assert float(by_map.boxes[0].float().mean(0).min()) == 0
