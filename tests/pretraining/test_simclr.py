"""SimCLR: its loss against the definition, its schedule, its checkpoint."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from sanm.data import Images, TrainingSet
from sanm.errors import DivergedError
from sanm.parts.contrast import nt_xent
from sanm.pretraining.simclr import SimCLR, encoder_tensors, learning_rate
from tests.conftest import config_of

CPU = torch.device("cpu")
TINY = (
    "pretrain=simclr", "pretrain.epochs=4", "pretrain.batch_size=64", "pretrain.warm_up=1", "model.widths=[8,16]",
    "model.blocks=[1,1]",
)  # fmt: skip


def simclr(training_set: TrainingSet, *overrides: str) -> SimCLR:
    images = Images(training_set.images, training_set.mean, training_set.std)
    return SimCLR(config_of(*TINY, *overrides), images, training_set.num_classes, CPU)


def train(made: SimCLR, epochs: int) -> list[float]:
    return [made.train_epoch(lambda step, steps: None)["loss"] for _ in range(epochs)]


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    return bool(first == second)


@pytest.mark.parametrize("temperature", [0.07, 0.5, 2.0])
def test_loss_is_the_definition_term_by_term(temperature: float) -> None:
    views = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0))
    rows = [row.tolist() for view in views for row in view]

    def likeness(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b) * temperature)

    terms = []
    for i, row in enumerate(rows):
        partner = rows[(i + 7) % 14]
        others = sum(math.exp(likeness(row, other)) for j, other in enumerate(rows) if j != i)
        terms.append(math.log(others) - likeness(row, partner))
    assert float(nt_xent(views, temperature)) == pytest.approx(sum(terms) / len(terms), abs=1e-5)


def test_loss_is_small_where_views_agree_and_images_differ() -> None:
    apart = torch.eye(8)[None].expand(2, 8, 8)
    assert float(nt_xent(apart, 0.05)) < 1e-6
    alike = torch.ones(2, 8, 8)
    assert float(nt_xent(alike, 0.05)) == pytest.approx(math.log(15), abs=1e-5)


def test_learning_rate_warms_up_to_the_cosine_and_ends_at_a_thousandth() -> None:
    settings = {"lr": 0.5, "epochs": 100, "warm_up": 10}
    assert learning_rate(settings, 0) == pytest.approx(0.01)
    at_ten = 0.5e-3 + (0.5 - 0.5e-3) * (1 + math.cos(math.pi * 0.1)) / 2
    assert learning_rate(settings, 5) == pytest.approx((0.01 + at_ten) / 2)
    assert learning_rate(settings, 10) == pytest.approx(at_ten)
    assert learning_rate(settings, 100) == pytest.approx(0.5e-3)
    assert learning_rate({**settings, "warm_up": 0}, 50) == pytest.approx((0.5 + 0.5e-3) / 2)


def test_learns_to_tell_images_apart(training_set: TrainingSet) -> None:
    losses = train(simclr(training_set, "pretrain.epochs=15", "pretrain.pool=weak"), 15)
    assert losses[-1] < 0.9 * losses[0]


def test_loss_scale_multiplies_the_loss(training_set: TrainingSet) -> None:
    still = ("pretrain.lr=1e-20", "pretrain.epochs=1")
    (one,) = train(simclr(training_set, "pretrain.loss_scale=1", *still), 1)
    (seven,) = train(simclr(training_set, "pretrain.loss_scale=7", *still), 1)
    assert seven == pytest.approx(7 * one, rel=1e-5)


def test_resumed_is_uninterrupted_bit_for_bit(training_set: TrainingSet) -> None:
    whole, half, resumed = simclr(training_set), simclr(training_set), simclr(training_set)
    losses = train(whole, 4)
    first = train(half, 2)
    resumed.load(half.state())
    assert first + train(resumed, 2) == losses
    assert same(whole.state(), resumed.state())


def test_seed_is_its_own(training_set: TrainingSet) -> None:
    first, other, twin = (simclr(training_set, f"pretrain.seed={seed}") for seed in (1, 2, 1))
    for made in (first, other, twin):
        train(made, 1)
    assert same(first.encoder(), twin.encoder())
    assert not same(first.encoder(), other.encoder())
    assert same(first.encoder(), simclr_after(training_set, "seed=5").encoder()), "the run's seed has no part in it"


def simclr_after(training_set: TrainingSet, *overrides: str) -> SimCLR:
    made = simclr(training_set, *overrides)
    train(made, 1)
    return made


def test_encoder_has_everything_but_the_classifier(training_set: TrainingSet) -> None:
    made = simclr(training_set)
    before = made.network.classifier.weight.clone()
    train(made, 1)
    assert torch.equal(before, made.network.classifier.weight), "nothing trains it"
    left_out = set(made.network.state_dict()) - set(made.encoder())
    assert left_out == {"classifier.weight", "classifier.bias"}
    assert set(encoder_tensors(made.network)) == set(made.encoder())


def test_features_are_of_plain_images_in_eval_mode(training_set: TrainingSet) -> None:
    made = simclr_after(training_set)
    x = (training_set.images.float() / 255 - 0.25) / 0.2
    expected = made.network.eval().features(x).mean((2, 3))
    assert torch.allclose(made.features(training_set.images), expected, atol=1e-5)


def test_bf16_trains(training_set: TrainingSet) -> None:
    assert train(simclr(training_set, "pretrain.precision=bf16"), 1)[0] > 0


def test_a_loss_that_is_not_finite_is_told(training_set: TrainingSet) -> None:
    with pytest.raises(DivergedError, match=r"epoch 1, step [23]"):
        train(simclr(training_set, "pretrain.lr=1e30", "pretrain.warm_up=0"), 1)


def test_images_it_sees_have_no_labels() -> None:
    assert {field.name for field in dataclasses.fields(Images)} == {"images", "mean", "std"}
