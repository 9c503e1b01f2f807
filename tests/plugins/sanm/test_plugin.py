"""SANM as a plug-in: what it adds to a batch, and what it believes of it."""

from __future__ import annotations

import pytest
import torch

from sanm.network import Network
from sanm.plugins.sanm import SANM
from sanm.step import Batch, Look
from tests.conftest import config_of
from tests.methods.conftest import CLASSES, a_batch, a_step, a_task, networks

MEAN, STD = torch.zeros(3), torch.ones(3)


def added_to(batch: Batch, network: Network, *overrides: str) -> Batch:
    config = config_of("components.start=0", *overrides)
    plugin = SANM(config, a_task(20), MEAN, STD)
    return plugin.add_views(batch, Look([network], batch.x, "eval"), a_step(0))


@pytest.mark.parametrize(("variant", "views"), [("paper", 1), ("released", 2)])
def test_masked_views_come_behind_the_others(variant: str, views: int) -> None:
    network, batch = networks(1)[0], a_batch(6, views=2)
    found = added_to(batch, network, "components=amg", f"variant={variant}")
    assert found.x.shape == (2 + views, *batch.x.shape[1:])
    assert torch.equal(found.x[:2], batch.x)
    assert torch.equal(found.y, batch.y[:1].expand(2 + views, 6, CLASSES)), "without NLR the belief is the method's"
    assert not torch.equal(found.x[2], batch.x[0])


def test_what_is_softened_is_the_methods_belief_the_prediction_or_both() -> None:
    network, batch = networks(1)[0], a_batch(6)
    with torch.no_grad():
        predicted = network(batch.x[0]).softmax(-1)
    amg = added_to(batch, network, "components=amg", "variant.masked_target=prediction")
    assert torch.allclose(amg.y[1], predicted, atol=1e-6)
    assert torch.equal(amg.y[0], batch.y[0])
    refined = torch.stack([w * y + (1 - w) * p for w, y, p in zip(batch.clean, batch.y[0], predicted, strict=True)])
    for target, believed in (("method", batch.y[0]), ("prediction", predicted), ("refined", refined)):
        softened = added_to(batch, network, "components=amg_nlr", f"variant.masked_target={target}").y[1]
        top = believed.argmax(-1, keepdim=True)
        assert torch.allclose(softened.sum(-1), torch.ones(6), atol=1e-5)
        paid = (believed - softened).gather(-1, top)
        assert (paid > 0).all()
        others = torch.ones_like(softened).scatter(-1, top, 0).bool()
        expected = (believed + paid / (CLASSES - 1))[others]
        assert torch.allclose(softened[others], expected, atol=1e-5)


@pytest.mark.parametrize(("variant", "views"), [("paper", 1), ("released", 2)])
def test_masked_views_can_stand_alone(variant: str, views: int) -> None:
    network, batch = networks(1)[0], a_batch(6, views=2)
    overrides = ("components=amg_nlr", f"variant={variant}")
    beside = added_to(batch, network, *overrides)
    alone = added_to(batch, network, *overrides, "variant.unmasked_views=replaced")
    assert len(alone.x) == views
    assert torch.equal(alone.x, beside.x[2:])
    assert torch.equal(alone.y, beside.y[2:])


def test_it_has_a_part_from_its_start_on() -> None:
    plugin = SANM(config_of("components=full", "components.start=3"), a_task(20), MEAN, STD)
    assert [plugin.active(epoch) for epoch in (2, 3, 4)] == [False, True, True]
