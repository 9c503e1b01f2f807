"""Epsilon-softmax against its formulas, a sample at a time, and against what its paper says of them."""

from __future__ import annotations

import math

import pytest
import torch

from sanm.methods.epsilon_softmax import EpsilonSoftmax, near_one_hot
from sanm.step import Forward
from tests.conftest import config_of
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of

B = 6


def method(**changes: object) -> EpsilonSoftmax:
    return EpsilonSoftmax(settings_of("epsilon_softmax", **changes), a_task(20, B))


@pytest.mark.parametrize("raised_by", [0.0, 1.0, 1e5])
def test_a_step_is_the_published_one(raised_by: float) -> None:
    network, batch = networks(1)[0], a_batch(B, views=2)
    found = method(raised_by=raised_by, alpha=0.3, beta=2.0).losses(Forward(network), batch, a_step(0)).mean()
    slow = torch.zeros(())
    for view in batch.x:
        for logits, label in zip(network(view), batch.given.tolist(), strict=True):
            probs = logits.exp() / logits.exp().sum()
            fitted = (probs[label] + raised_by * (int(probs.argmax()) == label)) / (raised_by + 1)
            slow = slow - 0.3 * torch.log(torch.maximum(fitted, torch.tensor(1e-8)))
            slow = slow + 2.0 * (probs - torch.eye(CLASSES)[label]).abs().sum()
    slow = slow / (2 * B)
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-4)
    same_gradients(network, found, slow)


def test_by_hand() -> None:
    raised = near_one_hot(torch.tensor([0.6, 0.3, 0.1]), 1.0)
    assert torch.allclose(raised, torch.tensor([0.8, 0.15, 0.05]))
    probs = torch.rand(50, 7, generator=torch.Generator().manual_seed(0)).softmax(-1)
    one_hot = torch.eye(7)[probs.argmax(-1)]
    for m in (0.0, 3.0, 100.0):
        assert (near_one_hot(probs, m) - one_hot).norm(dim=-1).max() <= math.sqrt(1 - 1 / 7) / (m + 1) + 1e-6


def test_without_what_is_raised_it_is_cross_entropy() -> None:
    network, batch = networks(1)[0], a_batch(B)
    found = method(raised_by=0, alpha=1, beta=0).losses(Forward(network), batch, a_step(0)).mean()
    slow = torch.nn.functional.cross_entropy(network(batch.x[0]), batch.given)
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-6)
    same_gradients(network, found, slow)


def test_a_fitted_sample_teaches_less() -> None:
    """Its gradient by the probability is ``-1 / (p + m)``, that of one that is not ``-1 / p``."""
    for probs, expected in (([0.6, 0.3, 0.1], 1 / (0.6 + 4)), ([0.3, 0.6, 0.1], 1 / 0.3)):
        p = torch.tensor(probs, requires_grad=True)
        (-near_one_hot(p, 4.0)[0].log()).backward()
        assert p.grad is not None
        assert float(-p.grad[0]) == pytest.approx(expected, rel=1e-5)


def test_gradients_are_clipped_and_trust_is_the_labels_probability() -> None:
    network = networks(1)[0]
    (100 * network(torch.randn(4, 3, 8, 8)).square().sum()).backward()
    method(clip_norm=0.5).after_backward(network, a_step(0))
    norm = torch.stack([each.grad.norm() for each in network.parameters() if each.grad is not None]).norm()
    assert float(norm) == pytest.approx(0.5, rel=1e-4)
    survey = a_survey([network], 8)
    found = method().trust(survey, 0, a_step(0))
    assert torch.equal(found, torch.stack([survey.probs(0)[row, row % CLASSES] for row in range(8)]))


@pytest.mark.parametrize(
    ("overrides", "published"),
    [
        (("data=cifar10",), (1e5, 0.01, 5)),
        (("data=cifar10", "noise=asymmetric", "noise.rate=0.4"), (1e3, 0.02, 5)),
        (("data=cifar10", "noise=instance", "noise.rate=0.4"), (1e5, 0.045, 10)),
        (("data=cifar100", "noise.rate=0.8"), (1e4, 0.0075, 1)),
        (("data=cifar100", "noise=asymmetric", "noise.rate=0.4"), (1e2, 0.004, 1)),
    ],
)
def test_published_settings(overrides: tuple[str, ...], published: tuple[float, float, float]) -> None:
    config = config_of("base_method=epsilon_softmax", "trainer=epsilon_softmax", *overrides)
    settings, trainer = config["base_method"], config["trainer"]
    assert (settings["raised_by"], settings["alpha"], settings["beta"]) == published
    assert trainer["restart_every"] == trainer["epochs"] == (200 if "data=cifar100" in overrides else 120)
