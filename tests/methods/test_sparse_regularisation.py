"""Sparse regularisation against slow formulas: sharp predictions, what bounds them, a penalty that grows."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from sanm.methods.sparse_regularisation import SparseRegularisation
from sanm.step import Forward
from tests.methods.conftest import CLASSES, a_batch, a_step, a_task, networks, same_gradients, settings_of

B = 6


def method(**changes: object) -> SparseRegularisation:
    return SparseRegularisation(settings_of("sparse_regularisation", **changes), a_task(20, B))


@pytest.mark.parametrize("loss", ["ce", "gce"])
def test_a_step_is_the_published_one(loss: str) -> None:
    network, batch = networks(1)[0], a_batch(B)
    made = method(loss=loss, q=0.3, temperature=0.5, power=0.1, weight=1.2, growth=1.03, grows_every=1)
    found = made.share([made.losses(Forward(network), batch, a_step(2))], [batch], a_step(2))[0]
    logits = network(batch.x[0])
    scaled = logits / logits.square().sum(1, keepdim=True).sqrt() / 0.5
    probs = scaled.softmax(-1)
    base = cross_entropy(scaled, batch.given, reduction="none")
    if loss == "gce":
        base = (1 - probs.gather(1, batch.given[:, None])[:, 0] ** 0.3) / 0.3
    slow = (base + 1.2 * 1.03**2 * (probs.clamp(1e-7, 1) ** 0.1).sum(-1)).mean()
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
    same_gradients(network, found, slow)


def test_the_length_of_logits_has_no_part() -> None:
    network, batch = networks(1)[0], a_batch(B)
    before = method().losses(Forward(network), batch, a_step(0)).detach()
    network.classifier.weight.data.mul_(3)
    network.classifier.bias.data.mul_(3)
    assert torch.allclose(method().losses(Forward(network), batch, a_step(0)), before, atol=1e-5)
    network.classifier.weight.data.zero_()
    network.classifier.bias.data.zero_()
    at_zero = method(power=0.5, weight=1.0, growth=1.0).losses(Forward(network), batch, a_step(0))
    assert at_zero.flatten().tolist() == pytest.approx([math.log(CLASSES) + CLASSES**0.5] * B, abs=1e-5)


def test_the_penalty_grows_by_steps() -> None:
    made = method(weight=1.2, growth=1.03, grows_every=1)
    assert [made.weight(epoch) for epoch in (0, 1)] == pytest.approx([1.2, 1.236])
    assert made.weight(119) == pytest.approx(40.44, abs=0.01)
    mnist = method(weight=4, growth=2, grows_every=5)
    assert [mnist.weight(epoch) for epoch in (4, 5, 9, 10)] == [4, 8, 8, 16]


def test_without_any_of_it_it_is_cross_entropy() -> None:
    network, batch = networks(1)[0], a_batch(B)
    plain = method(unit_length=False, temperature=1.0, weight=0.0).losses(Forward(network), batch, a_step(0))
    expected = cross_entropy(network(batch.x[0]), batch.given, reduction="none")
    assert torch.allclose(plain[0], expected, atol=1e-6)


def test_gradients_are_clipped() -> None:
    network, batch = networks(1)[0], a_batch(B)
    made = method(weight=1e4)
    made.losses(Forward(network), batch, a_step(0)).mean().backward()
    made.after_backward(network, a_step(0))
    norm = (
        torch.stack([each.grad.square().sum() for each in network.parameters() if each.grad is not None]).sum().sqrt()
    )
    assert float(norm) == pytest.approx(5.0, abs=1e-3)
