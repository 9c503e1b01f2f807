"""Decoupling against a slow loop: who learns, and by how much where few disagree."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch.nn.functional import cross_entropy

from sanm.methods.decoupling import Decoupling
from sanm.network import Network
from sanm.step import Batch, Forward
from tests.methods.conftest import a_batch, a_step, a_task, networks, same_gradients, settings_of

B = 12


def method(**changes: object) -> Decoupling:
    return Decoupling(settings_of("decoupling", **changes), a_task(40, B))


def alike() -> list[Network]:
    """Two networks that say the same of many images."""
    first = networks(1)[0]
    second = deepcopy(first)
    with torch.no_grad():
        second.classifier.bias.add_(torch.tensor([0.05, 0.0, -0.05, 0.0]))
    return [first, second]


def shares(made: Decoupling, pair: list[Network], batch: Batch, epoch: int = 5) -> list[torch.Tensor]:
    losses = [made.losses(Forward(network), batch, a_step(epoch, k)) for k, network in enumerate(pair)]
    return made.share(losses, [batch, batch], a_step(epoch))


@pytest.mark.parametrize("least", [0.1, 1.0])
def test_both_learn_where_they_say_different_classes(least: float) -> None:
    pair, batch = alike(), a_batch(B, seed=1)
    said = [network(batch.x[0]).argmax(-1).tolist() for network in pair]
    apart = [row for row in range(B) if said[0][row] != said[1][row]]
    assert 1 <= len(apart) < B
    found = shares(method(least_share=least), pair, batch)
    for k, network in enumerate(pair):
        logits = network(batch.x[0])
        slow = sum(cross_entropy(logits[row], batch.given[row]) for row in apart) / max(least * B, len(apart))
        assert isinstance(slow, torch.Tensor)
        assert float(found[k].detach()) == pytest.approx(float(slow.detach()), abs=1e-6)
        same_gradients(network, found[k], slow)


def test_equal_networks_learn_nothing() -> None:
    first = networks(1)[0]
    for loss in shares(method(), [first, first], a_batch(B)):
        assert float(loss.detach()) == 0
        assert not any(gradient.any() for gradient in torch.autograd.grad(loss, list(first.parameters())))


def test_both_learn_from_all_at_first() -> None:
    pair, batch = networks(2), a_batch(B)
    for network, loss in zip(pair, shares(method(), pair, batch, epoch=1), strict=True):
        expected = cross_entropy(network(batch.x[0]), batch.given)
        assert float(loss.detach()) == pytest.approx(float(expected.detach()), abs=1e-6)


def test_masked_views_are_learned_from_and_do_not_choose() -> None:
    pair, batch = alike(), a_batch(B, views=2, seed=1)
    own = Batch(**{**vars(batch), "own": 1})
    found = shares(method(), pair, own)
    said = [network(batch.x[0]).argmax(-1) for network in pair]
    apart = said[0] != said[1]
    rows = [cross_entropy(pair[0](view), batch.given, reduction="none") for view in batch.x]
    expected = sum(each[apart].sum() for each in rows) / (2 * int(apart.sum()))
    assert float(found[0].detach()) == pytest.approx(float(expected), abs=1e-6)
