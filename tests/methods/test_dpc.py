"""DPC and DPC* against slow, obvious implementations of their formulas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sanm.data import TrainingSet
from sanm.methods.dpc import SECOND, DirichletCalibration
from sanm.network import Network
from sanm.step import Batch, Draw, Forward, Look
from tests.conftest import config_of
from tests.every import tiny_trainer
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of
from tests.parts.test_evidence import slow as slow_evidential_loss

B, N = 9, 5


def method(**changes: Any) -> tuple[DirichletCalibration, list[Network]]:
    pair = networks(2)
    made = DirichletCalibration(settings_of("dpc", **{"lambda_u": 25, **changes}), a_task(60, 8))
    made.attach(pair, torch.zeros(2, 3, 8, 8))
    for network in pair:
        network.eval()
    return made, pair


def expected(logits: Tensor) -> Tensor:
    alpha = logits.exp() + 10 / CLASSES
    return alpha / alpha.sum()


@pytest.mark.parametrize("network", [0, 1])
def test_targets_are_of_expected_probabilities(network: int) -> None:
    (made, pair), batch = method(), a_batch(B, 2, N)
    found = made.believe(batch, Look(pair, batch.x, "eval", N), a_step(7, network))
    for row in range(B):
        said = [[expected(net(batch.x[view, row][None])[0].detach()) for view in range(2)] for net in pair]
        own, given = sum(said[network]) / 2, torch.eye(CLASSES)[batch.given[row]]
        target = batch.clean[row] * given + (1 - batch.clean[row]) * own if row < N else sum(said[0] + said[1]) / 4
        assert torch.allclose(found[row], target**2 / (target**2).sum(), atol=1e-5)


def test_samples_are_measured_by_the_margin_of_their_label() -> None:
    made, pair = method()
    survey = a_survey(pair, 60)
    found = made.measured(survey, 1)
    for sample, logits in enumerate(survey.logits(1)):
        others = [float(each) for c, each in enumerate(logits) if c != sample % CLASSES]
        assert float(found[sample]) == pytest.approx(max(others) - float(logits[sample % CLASSES]), abs=1e-5)
    assert torch.equal(found < 0, survey.logits(1).argmax(1) == survey.given)


def a_star_batch(masked: int) -> tuple[Batch, Tensor]:
    """Two weak views with soft beliefs, two strong ones, and ``masked`` ones of a plug-in with other beliefs."""
    generator = torch.Generator().manual_seed(3)
    batch = replace(a_batch(B, 4 + masked, N), own=4)
    y = torch.rand(4 + masked, B, CLASSES, generator=generator).softmax(-1)
    y[:4] = y[0]
    return replace(batch, y=y), batch.x


def slow_loss(network: Network, weak: Tensor, strong: Tensor | None, y: Tensor, own: int, weight: float) -> Tensor:
    views, random = len(weak), a_step(7).random
    share = float(random.host.beta(4.0, 4.0))
    share, order = max(share, 1 - share), torch.randperm(views * B, generator=random.device).tolist()

    def mixed(images: Tensor, row: int, other: int) -> Tensor:
        return share * images[row // B, row % B] + (1 - share) * images[other // B, other % B]

    def believed(row: int, hard: bool) -> Tensor:
        target = y[row // B, row % B]
        return torch.eye(CLASSES)[target.argmax()] if hard and row // B < own else target

    labeled, unlabeled, probs, apart = [], [], [], []
    for row, other in enumerate(order):
        image = mixed(weak, row, other)[None]
        logits = network(image)[0]
        probs.append(expected(logits))
        if row % B < N:
            target = share * believed(row, True) + (1 - share) * believed(other, True)
            labeled.append(sum(target[c] * slow_evidential_loss(logits, c) for c in range(CLASSES)))
        else:
            target = share * believed(row, False) + (1 - share) * believed(other, False)
            said = expected(network.heads[SECOND](network.features(image).mean((2, 3)))[0])
            unlabeled.append((said - target).square().mean())
        if strong is not None and row // B < own:
            wanted, found = expected(logits).detach(), expected(network(mixed(strong, row, other)[None])[0])
            apart.append((wanted * (wanted / found).log()).sum())
    mean = torch.stack(probs).mean(0)
    prior = sum((1 / CLASSES / mean[c]).log() / CLASSES for c in range(CLASSES))
    total = torch.stack(labeled).mean() + 25 * 5.5 / 16 * torch.stack(unlabeled).mean() + prior
    return total + weight * torch.stack(apart).mean() if apart else total


@pytest.mark.parametrize("masked", [0, 1])
@pytest.mark.parametrize("star", [False, True])
def test_the_loss_of_a_step(star: bool, masked: int) -> None:
    """Labels of likeliest classes, soft ones of masked views; a second head for unlabeled rows; strong views beside."""
    made, pair = method(star=star, consistency_weight=3.0)
    batch, images = a_star_batch(masked)
    kept = [0, 1, *range(4, 4 + masked)]
    weak, strong = images[kept], torch.cat([images[2:4], images[4:]]) if star else None
    if not star:
        batch = replace(batch, x=weak, y=batch.y[kept], own=2)
    found = made.losses(Forward(pair[0]), batch, a_step(7, progress=7.5)).mean()
    slow = slow_loss(pair[0], weak, strong, batch.y[: 2 + masked] if not star else batch.y[kept], 2, 3.0)
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=2e-5)
    same_gradients(pair[0], found, slow)


@pytest.mark.parametrize("star", [False, True])
def test_masked_views_in_the_place_of_the_methods_own(star: bool) -> None:
    made, pair = method(star=star)
    batch = replace(a_batch(B, 1, N), own=0)
    batch = batch.believing(torch.rand(B, CLASSES, generator=torch.Generator().manual_seed(4)).softmax(-1))
    found = made.losses(Forward(pair[0]), batch, a_step(7, progress=7.5)).mean()
    slow = slow_loss(pair[0], batch.x, None, batch.y, 0, 0)
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=2e-5)


@pytest.mark.parametrize("penalty", [False, True])
def test_the_warm_up_is_the_evidential_loss(penalty: bool) -> None:
    (made, pair), batch = method(confidence_penalty=penalty), a_batch(B)
    found = made.losses(Forward(pair[0]), batch, a_step(1)).mean()
    rows = []
    for row in range(B):
        logits = pair[0](batch.x[0, row][None])[0]
        rows.append(slow_evidential_loss(logits, int(batch.given[row])))
        if penalty:
            rows[-1] = rows[-1] + (expected(logits) * expected(logits).log()).sum()
    slow = torch.stack(rows).mean()
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad(found, pair[0].own_parameters(), retain_graph=True),
        torch.autograd.grad(slow, pair[0].own_parameters()),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_second_head_learns_from_unlabeled_rows_alone() -> None:
    made, pair = method()
    made.losses(Forward(pair[0]), a_batch(B, 2, B), a_step(7, progress=7.5)).mean().backward()
    assert all(not each.grad.any() for each in pair[0].heads[SECOND].parameters() if each.grad is not None)


@pytest.mark.parametrize("star", ["false", "true"])
def test_views_of_a_step(star: str, training_set: TrainingSet) -> None:
    """Guessed on the weak views that are learned from, as published; strong ones beside them where they are wanted."""
    made = tiny_trainer(training_set, "base_method=dpc", "components=none", f"base_method.star={star}")
    batch, look = made._draw_batch(Draw(torch.arange(8), 4), 1)
    assert (len(batch.x), len(look.x)) == (4 if star == "true" else 2, 2)
    assert torch.equal(look.x, batch.x[:2])
    assert len(made._draw_batch(Draw(torch.arange(8), 8), 0)[0].x) == 1


@pytest.mark.parametrize(
    ("overrides", "lambda_u", "warm_up", "weight"),
    [
        (("data=cifar10", "noise.rate=0.2"), 0, 10, 3),
        (("data=cifar10", "noise.rate=0.8"), 25, 10, 3),
        (("data=cifar100", "noise.rate=0.2"), 25, 30, 1),
        (("data=cifar100", "noise.rate=0.8"), 150, 30, 1),
        (("data=cifar100", "noise=asymmetric", "noise.rate=0.1"), 25, 30, 1),
        (("data=webvision", "noise=none"), 0, 1, 1),
    ],
)
def test_published_settings(overrides: tuple[str, ...], lambda_u: float, warm_up: int, weight: float) -> None:
    config = config_of("base_method=dpc", "trainer=dpc", *overrides)
    own, trainer, web = config["base_method"], config["trainer"], "data=webvision" in overrides
    assert (own["lambda_u"], own["warm_up"], own["consistency_weight"]) == (lambda_u, warm_up, weight)
    assert (trainer["epochs"], trainer["milestones"]) == ((100, [50]) if web else (300, [150]))
    assert own["unlabeled_rows"] is not web
