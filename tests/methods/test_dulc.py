"""Our reading of DULC against slow formulas: doubt, what is believed, and what is learned."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sanm.errors import InputError
from sanm.methods.dulc import PROJECTION, WholeLabelCorrection
from sanm.network import Network
from sanm.parts.divergence import label_divergence, scaled_in_class
from sanm.parts.mixup import draw_mix
from sanm.step import Batch, Forward, Look, Step
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of

N, B, WARM_UP = 24, 6, 2


def method(**changes: Any) -> tuple[WholeLabelCorrection, Network]:
    network = networks(1)[0]
    made = WholeLabelCorrection(settings_of("dulc", **{"early_epochs": 10, **changes}), a_task(N, B))
    made.attach([network], torch.zeros(2, 3, 8, 8))
    network.eval()
    return made, network


def at(epoch: int) -> Step:
    return replace(a_step(epoch), epochs=40)


def slow_divergence(p: Tensor, label: int) -> float:
    """Of three entropies."""

    def entropy(q: list[float]) -> float:
        return -sum(each * math.log(each) for each in q if each)

    y = [float(c == label) for c in range(len(p))]
    return entropy([(a + b) / 2 for a, b in zip(p.tolist(), y, strict=True)]) - entropy(p.tolist()) / 2


def test_the_divergence_from_a_label() -> None:
    probs = (2 * torch.randn(50, CLASSES, dtype=torch.float64)).softmax(-1)
    slow = [slow_divergence(p, i % CLASSES) for i, p in enumerate(probs)]
    found = label_divergence(probs[torch.arange(50), torch.arange(50) % CLASSES])
    assert found.tolist() == pytest.approx(slow, abs=1e-9)
    figures = label_divergence(torch.tensor([0, 0.1, 0.5, 0.9, 1])).tolist()
    assert figures == pytest.approx([0.6931, 0.5256, 0.2158, 0.0360, 0], abs=1e-4)


def test_each_class_reaches_from_nothing_to_one() -> None:
    values, labels = torch.tensor([0.2, 0.6, 0.4, 0.3, 0.5, 0.1]), torch.tensor([0, 0, 0, 2, 3, 2])
    assert scaled_in_class(values, labels, CLASSES).tolist() == pytest.approx([0, 1, 0.5, 1, 0, 0])


@pytest.mark.parametrize(("epoch", "low", "high"), [(0, 0.2, 0.8), (WARM_UP, 0.2, 0.8), (7, 0.1, 0.9), (12, 0, 1)])
def test_doubt_begins_narrow_and_widens(epoch: int, low: float, high: float) -> None:
    made, network = method()
    survey = a_survey([network], N)
    doubt = 1 - made.trust(survey, 0, at(epoch))
    slow = torch.tensor([slow_divergence(p, i % CLASSES) for i, p in enumerate(survey.probs(0))])
    for c in range(CLASSES):
        own, scaled = doubt[c::CLASSES], slow[c::CLASSES]
        expected = (scaled - scaled.min()) / (scaled.max() - scaled.min()) * (high - low) + low
        assert torch.allclose(own, expected, atol=1e-4)
        assert int(own.argmin()) == int(survey.probs(0)[c::CLASSES, c].argmax()), "the surest is doubted least"


def test_a_label_gives_way_by_as_much_as_it_is_doubted() -> None:
    made, network = method()
    batch = a_batch(B, views=2)
    found = made.believe(batch, Look([network], batch.x, "eval"), at(5))
    for i in range(B):
        p = (network(batch.x[0, i][None])[0].softmax(0) + network(batch.x[1, i][None])[0].softmax(0)).detach() / 2
        said, doubt = p**2 / (p**2).sum(), 1 - float(batch.clean[i])
        assert torch.allclose(found[i], doubt * said + (1 - doubt) * batch.y[0, i], atol=1e-5)
    certain = replace(batch, clean=torch.ones(B))
    assert torch.allclose(made.believe(certain, Look([network], batch.x, "eval"), at(5)), batch.y[0])


def slow_loss(network: Network, batch: Batch, weight: float) -> Tensor:
    """A pair of images at a time, then a pair of views."""
    mix, pool = draw_mix(batch, 4.0, at(5).random), batch.x.flatten(0, 1)
    y, lam, total, probs = batch.y.flatten(0, 1), mix.coefficient, torch.zeros(()), []
    for i, j in enumerate(mix.partner.tolist()):
        logp = network((lam * pool[i] + (1 - lam) * pool[j])[None])[0].log_softmax(0)
        total = total - ((lam * y[i] + (1 - lam) * y[j]) * logp).sum() / len(pool)
        probs.append(logp.exp())
    mean = sum(probs[1:], probs[0]) / len(pool)
    total = total + sum((1 / CLASSES) * ((1 / CLASSES) / mean[c]).log() for c in range(CLASSES))
    views = [network.heads[PROJECTION](network.features(x[None]).mean((2, 3)))[0] for x in batch.x[:2].flatten(0, 1)]
    units = [view / view.norm() for view in views]
    for i, unit in enumerate(units):
        alike = [(torch.dot(unit, other) / 0.05).exp() for j, other in enumerate(units) if j != i]
        total = total - weight * (torch.dot(unit, units[(i + B) % (2 * B)]) / 0.05 - sum(alike).log()) / (2 * B)  # type: ignore[union-attr]
    return total


@pytest.mark.parametrize("masked", [0, 1])
def test_a_step_is_that_of_the_formulas(masked: int) -> None:
    """Value and gradients; a masked view is mixed and not contrasted."""
    made, network = method(contrast_weight=0.3)
    batch = replace(a_batch(B, views=2 + masked), own=2)
    found = made.losses(Forward(network), batch, at(5))
    assert found.shape == (2 + masked, B)
    slow = slow_loss(network, batch, 0.3)
    assert float(found.mean().detach()) == pytest.approx(float(slow.detach()), rel=1e-5)
    same_gradients(network, found.mean(), slow)


def test_the_warm_up_is_cross_entropy_of_one_weak_view() -> None:
    made, network = method()
    batch = a_batch(B)
    assert (made.num_views(1), made.learns_from(1)) == (1, ["weak"])
    assert (made.num_views(2), made.learns_from(2)) == (2, ["autoaugment"])
    own = batch.believing(made.believe(batch, Look([network], batch.x, "eval"), at(1)))
    slow = torch.nn.functional.cross_entropy(network(batch.x[0]), batch.given)
    same = made.losses(Forward(network), own, at(1)).mean()
    assert float(same.detach()) == pytest.approx(float(slow.detach()), rel=1e-6)


def test_a_contrast_of_one_view_is_refused() -> None:
    with pytest.raises(InputError, match=r"base_method\.contrast_weight.*base_method\.views"):
        method(views=1)
