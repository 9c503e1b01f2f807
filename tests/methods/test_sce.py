"""SCE against its formula with a clipped one-hot label, and by hand."""

from __future__ import annotations

import pytest
import torch

from sanm.methods.sce import LOG_OF_ZERO, SymmetricCrossEntropy
from sanm.step import Batch, Forward
from tests.conftest import config_of
from tests.methods.conftest import CLASSES, a_batch, a_step, a_task, networks, same_gradients, settings_of

B = 6


def method(**changes: object) -> SymmetricCrossEntropy:
    return SymmetricCrossEntropy(settings_of("sce", **changes), a_task(20, B))


def test_a_step_is_the_published_one() -> None:
    network, batch = networks(1)[0], a_batch(B)
    made = method(alpha=0.1, beta=1.0)
    found = made.share([made.losses(Forward(network), batch, a_step(0))], [batch], a_step(0))[0]
    probs = network(batch.x[0]).softmax(-1)
    one_hot = torch.eye(CLASSES)[batch.given]
    forwards = -(one_hot * probs.log()).sum(-1)
    reverse = -(probs * one_hot.clamp(1e-4, 1).log()).sum(-1)
    slow = (0.1 * forwards + 1.0 * reverse).mean()
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
    same_gradients(network, found, slow)


def test_by_hand() -> None:
    """``0.1 ln 2 + 9.21 / 2`` where half of the probability is on the label."""
    assert pytest.approx(9.21034, abs=1e-5) == -LOG_OF_ZERO
    network, batch = networks(1)[0], a_batch(2)
    network.classifier.weight.data.zero_()
    network.classifier.bias.data.copy_(torch.tensor([3.0, 0, 0, 0]).mul(0).add(torch.tensor([0.0, -50, -50, 0])))
    halves = Batch(**{**vars(batch), "y": torch.eye(CLASSES)[torch.zeros(2, dtype=torch.int64)][None]})
    found = method(alpha=0.1, beta=1.0).losses(Forward(network), halves, a_step(0))
    assert found.flatten().tolist() == pytest.approx([4.67448] * 2, abs=1e-4)


def test_reversed_it_is_the_same_over_all_labels_whatever_is_predicted() -> None:
    network, batch = networks(1)[0], a_batch(B)
    total = torch.zeros(B)
    for label in range(CLASSES):
        labels = torch.eye(CLASSES)[torch.full((B,), label)][None]
        total += (
            method(alpha=0.0).losses(Forward(network), Batch(**{**vars(batch), "y": labels}), a_step(0))[0].detach()
        )
    assert torch.allclose(total, torch.full((B,), 9.21034 * (CLASSES - 1)), atol=1e-3)


@pytest.mark.parametrize(("data", "weights"), [("cifar10", (0.1, 1)), ("cifar100", (6, 0.1)), ("digits", (0.1, 1))])
def test_weights_are_those_of_the_data(data: str, weights: tuple[float, float]) -> None:
    settings = config_of("base_method=sce", f"data={data}")["base_method"]
    assert (settings["alpha"], settings["beta"]) == weights
