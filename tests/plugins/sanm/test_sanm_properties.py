"""SANM's core for any image, any trust and any setting: where boxes lie, what is painted, what the label pays."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from sanm.config.limits import limits
from sanm.network import Network
from sanm.plugins.sanm.amg import Masks
from sanm.plugins.sanm.nlr import soften
from sanm.step import Look, Random, Step
from tests.conftest import config_of

MEAN, STD = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])
BATCH = 3
SIDE = st.integers(8, 224)
SHARE = st.floats(0, 1)
ASPECT = st.floats(0, 1, exclude_min=True)
SEED = st.integers(0, 2**31)
STRATEGY = st.sampled_from(("adaptive", "fixed", "random"))
HALF = 1e-3
"""How near to a half a side may be for either rounding to be right: float32 knows sides below 224 better than that."""


@cache
def preset(name: str) -> dict[str, Any]:
    return config_of(f"variant={name}")["variant"]


PRESET = st.sampled_from(("paper", "released")).map(preset)
VARIANT = PRESET | st.fixed_dictionaries(
    {key: st.sampled_from(limit.choices) for key, limit in limits("variant").items() if limit.choices}
    | {"painted_part": st.floats(0, 1, exclude_min=True)}
).map(lambda chosen: {**preset("paper"), **chosen})


class GivenMaps(Network):
    """A network that has the same maps for whatever images."""

    def __init__(self, maps: Tensor, num_classes: int) -> None:
        super().__init__()
        self.given = maps
        self.classifier = torch.nn.Linear(maps.shape[1], num_classes)
        torch.nn.init.normal_(self.classifier.weight, generator=generator(0))

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        yield self.given


class Watched(Masks):
    """Masks that keep the ratios and boxes they have made and the boxes they have painted."""

    nominal: Tensor
    made: Tensor
    painted: Tensor

    def ratios(self, clean: Tensor, source: torch.Generator) -> Tensor:
        self.nominal = super().ratios(clean, source)
        return self.nominal

    def boxes(self, *arguments: Any) -> Tensor:
        self.made = super().boxes(*arguments)
        return self.made

    def paint(self, images: Tensor, boxes: Tensor, source: torch.Generator) -> Tensor:
        self.painted = boxes
        return super().paint(images, boxes, source)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def masks(tau: float, strategy: str, aspect: float, variant: dict[str, Any]) -> Watched:
    return Watched({"value": tau}, {"name": strategy, "aspect": aspect}, variant, MEAN, STD)


def sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Height and width of boxes ``[..., H, W]``, asserting that each is one full rectangle."""
    rows, columns = boxes.any(-1), boxes.any(-2)
    assert torch.equal(boxes, rows[..., :, None] & columns[..., None, :]), "full"
    for line in (rows, columns):
        starts = line[..., :1].sum(-1) + (line[..., 1:] & ~line[..., :-1]).sum(-1)
        assert (starts == line.any(-1)).all(), "in one piece"
    return rows.sum(-1), columns.sum(-1)


def first(line: Tensor) -> Tensor:
    return line.to(torch.uint8).argmax(-1)


def roundings(side: NDArray[np.float64], limit: int) -> list[NDArray[np.float64]]:
    return [np.minimum(np.rint(np.maximum(side + shift, 0)), limit) for shift in (-HALF, HALF)]


@settings(max_examples=150, deadline=None)
@given(
    height=SIDE, width=SIDE, clean=SHARE, tau=SHARE, aspect=ASPECT, strategy=STRATEGY, variant=VARIANT, seed=SEED
)  # fmt: skip
def test_boxes_are_whole_rectangles_of_the_size_and_at_the_place_asked_for(
    height: int, width: int, clean: float, tau: float, aspect: float, strategy: str, variant: dict[str, Any], seed: int
) -> None:
    made, random = masks(tau, strategy, aspect, variant), generator(seed)
    nominal = made.ratios(torch.full((BATCH,), clean), random)
    peaks = torch.randint(0, height * width, (2, BATCH), generator=random)
    drawn = torch.rand(BATCH, generator=generator(0).set_state(random.get_state())).double().numpy()
    boxes = made.boxes(peaks, nominal, torch.Size((height, width)), random)
    assert boxes.shape == (2, BATCH, height, width), "so every box lies inside"
    tall, wide = sides(boxes)

    shape = aspect + (1 / aspect - aspect) * drawn
    area = nominal.double().numpy() * variant["painted_part"] * height * width
    with np.errstate(invalid="ignore", over="ignore"):  # nothing of something endless is nothing
        sizes = np.nan_to_num(np.sqrt(area * shape), posinf=np.inf), np.nan_to_num(np.sqrt(area / shape), posinf=np.inf)
    expected = [roundings(sizes[0], height), roundings(sizes[1], width)]
    empty = (tall == 0) | (wide == 0)  # such a box shows neither of its sides
    for found, (low, high) in zip((tall, wide), expected, strict=True):
        assert ((found.numpy() >= low) & (found.numpy() <= high))[~empty.numpy()].all()
    assert (np.minimum(expected[0][0], expected[1][0]) == 0)[empty.numpy()].all()

    centered = variant["anchor"] == "center"
    for point, start, length, limit in (
        (peaks // width, first(boxes.any(3)), tall, height),
        (peaks % width, first(boxes.any(2)), wide, width),
    ):
        wanted = point - length // 2 if centered else point
        fits = (wanted >= 0) & (wanted + length <= limit) & ~empty
        assert torch.equal(start[fits], wanted[fits]), "exact where it fits"
        shifted = wanted.clamp(min=0).minimum(limit - length)
        assert torch.equal(start[~empty], shifted[~empty]), "moved by as little as it takes where it does not"


@settings(max_examples=80, deadline=None)
@given(
    height=SIDE, width=SIDE, clean=SHARE, tau=SHARE, aspect=ASPECT, strategy=STRATEGY, variant=VARIANT, seed=SEED
)  # fmt: skip
def test_masked_views_differ_inside_the_boxes_alone(
    height: int, width: int, clean: float, tau: float, aspect: float, strategy: str, variant: dict[str, Any], seed: int
) -> None:
    made, random = masks(tau, strategy, aspect, variant), Random(seed, torch.device("cpu"))
    images = torch.randn(1, BATCH, 3, height, width, generator=random.device)
    network = GivenMaps(torch.randn(BATCH, 4, 3, 5, generator=random.device), 7)
    masked = made(Look([network], images, "eval"), network, torch.full((BATCH,), clean), Step(0, 5, 5.0, random))

    sides(made.made)
    joint = variant["masked_views"] == "joint"
    union = (made.made[0] | made.made[1])[None]
    one_by_one = not joint or variant["fill"] == "box_color"
    assert torch.equal(made.painted, made.made if one_by_one else union)
    assert masked.x.shape == (1 if joint else 2, *images.shape[1:])

    painted_over = union if joint else made.made
    share = painted_over.double().mean((-1, -2))
    assert masked.ratio.shape == share.shape
    assert (share <= 1).all()
    if variant["label_ratio"] == "realised":
        assert torch.allclose(masked.ratio.double(), share, atol=1e-6), "the label pays what is painted"
    else:
        assert torch.equal(masked.ratio, made.nominal.sum(0, keepdim=True) if joint else made.nominal)

    inside = painted_over[:, :, None].expand_as(masked.x)
    assert torch.equal(masked.x[~inside], images.expand_as(masked.x)[~inside]), "untouched"
    in_image_space = masked.x * STD[:, None, None] + MEAN[:, None, None]
    painted = (in_image_space if variant["fill"] == "pixel_uniform" else masked.x)[inside]
    assert ((painted >= -1e-6) & (painted <= 1 + 1e-6)).all()
    if variant["fill"] == "pixel_uniform" and len(painted) > 1000:
        assert painted.min() < 0.05, "the whole range of pixels"
        assert painted.max() > 0.95


@settings(max_examples=150, deadline=None)
@given(
    height=SIDE, width=SIDE, trust=st.tuples(SHARE, SHARE), tau=SHARE, aspect=ASPECT, strategy=STRATEGY,
    variant=VARIANT, seed=SEED,
)  # fmt: skip
def test_what_is_trusted_more_is_never_masked_more(
    height: int,
    width: int,
    trust: tuple[float, float],
    tau: float,
    aspect: float,
    strategy: str,
    variant: dict[str, Any],
    seed: int,
) -> None:
    made, ratios, areas = masks(tau, strategy, aspect, variant), [], []
    for clean in sorted(trust):
        random = generator(seed)  # the same draws for both
        nominal = made.ratios(torch.full((BATCH,), clean), random)
        peaks = torch.randint(0, height * width, (2, BATCH), generator=random)
        ratios.append(nominal)
        areas.append(made.boxes(peaks, nominal, torch.Size((height, width)), random).sum((-1, -2)))
    assert (ratios[0] >= ratios[1]).all()
    assert (ratios[1] >= 0).all()
    assert (areas[0] >= areas[1]).all()


@settings(max_examples=60, deadline=None)
@given(tau=SHARE, strategy=STRATEGY, name=st.sampled_from(("paper", "released")), seed=SEED)
def test_the_least_activated_point_is_never_masked_more_than_the_most(
    tau: float, strategy: str, name: str, seed: int
) -> None:
    clean = torch.rand(50, generator=generator(seed))
    at_maximum, at_minimum = masks(tau, strategy, 0.8, preset(name)).ratios(clean, generator(seed))
    assert (at_minimum <= at_maximum).all()
    assert torch.equal(at_minimum, at_maximum) or (name, strategy) == ("paper", "adaptive")


# ---- Eq. 7


def beliefs(classes: int, peaked: float, seed: int) -> Tensor:
    """Targets ``[2, 4, K]``: two as networks guess them, a certain one, one that favours no class."""
    guessed = (torch.randn(2, 2, classes, generator=generator(seed)) * peaked).softmax(-1)
    certain = torch.eye(classes)[seed % classes].expand(2, 1, -1)
    return torch.cat([guessed, certain, torch.full((2, 1, classes), 1 / classes)], 1)


@settings(max_examples=300, deadline=None)
@given(
    classes=st.integers(2, 1000), ratio=st.floats(0, 3), peaked=st.floats(0, 20), seed=SEED, bounded=st.booleans()
)  # fmt: skip
def test_softened_targets(classes: int, ratio: float, peaked: float, seed: int, bounded: bool) -> None:
    targets = beliefs(classes, peaked, seed)
    pays = ratio * torch.rand(2, 4, generator=generator(seed))
    softened = soften(targets, pays, bounded)
    assert torch.allclose(softened.sum(-1), torch.ones(2, 4), atol=1e-5), "sums are kept"
    top_value, top = targets.max(-1, keepdim=True)
    moved = pays[..., None].minimum(top_value) if bounded else pays[..., None]
    assert torch.equal(softened.gather(-1, top), top_value - moved), "all that is moved, and no more"
    if bounded:
        assert (softened >= 0).all()

    others = torch.ones_like(targets, dtype=torch.bool).scatter(-1, top, False)
    before, after = (values[others].unflatten(0, (2, 4, classes - 1)) for values in (targets, softened))
    assert torch.allclose(after, before + moved / (classes - 1), atol=1e-6)
    ordered = after.gather(-1, before.argsort(-1))
    assert (ordered.diff(dim=-1) >= 0).all(), "the others stay in their order"
