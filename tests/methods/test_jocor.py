"""JoCoR against a slow, obvious implementation of its joint loss, one backward pass through both networks."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div

from sanm.methods.jocor import JoCoR, divergence
from sanm.network import Network
from sanm.step import Batch, Forward
from tests.methods.conftest import a_batch, a_step, a_task, networks, same_gradients, settings_of

B = 10


def method(**changes: object) -> JoCoR:
    return JoCoR(settings_of("jocor", **changes), a_task(40, B))


def shares(made: JoCoR, pair: list[Network], batch: Batch) -> list[torch.Tensor]:
    losses = [made.losses(Forward(network), batch, a_step(20, k)) for k, network in enumerate(pair)]
    return made.share(losses, [batch, batch], a_step(20))


def joint(pair: list[Network], batch: Batch, weight: float) -> torch.Tensor:
    """``[B]``, with both networks' gradients."""
    logits = [network(batch.x[0]) for network in pair]
    first, second = [each.log_softmax(-1) for each in logits]
    apart = kl_div(first, second, log_target=True, reduction="none") + kl_div(
        second, first, log_target=True, reduction="none"
    )
    supervised = sum(cross_entropy(each, batch.given, reduction="none") for each in logits)
    return (1 - weight) * supervised + weight * apart.sum(-1)


@pytest.mark.parametrize(("weight", "rate"), [(0.9, 0.5), (0.65, 0.8), (0.0, 0.2), (1.0, 0.5)])
def test_each_has_its_gradient_of_the_joint_loss_of_the_easiest(weight: float, rate: float) -> None:
    pair, batch = networks(2), a_batch(B)
    found = shares(method(agreement=weight, noise_rate=rate), pair, batch)
    each = joint(pair, batch, weight)
    easiest = each.detach().argsort()[: max(1, int((1 - rate) * B))]
    slow = each[easiest].mean()
    for network, loss in zip(pair, found, strict=True):
        assert float(loss.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
        same_gradients(network, loss, slow)


def test_the_divergence_by_hand() -> None:
    first, second = torch.tensor([0.8, 0.2]).log(), torch.tensor([0.5, 0.5]).log()
    assert float(divergence(first, second)) == pytest.approx(0.41589, abs=1e-5)
    supervised = -(float(first[0]) + float(second[0]))
    assert supervised == pytest.approx(0.91629, abs=1e-5)
    assert 0.1 * supervised + 0.9 * float(divergence(first, second)) == pytest.approx(0.46593, abs=1e-5)
    assert torch.equal(divergence(first, second), divergence(second, first))
    assert float(divergence(first, first)) == 0
    far = torch.tensor([[50.0, -50.0]]).log_softmax(-1)
    assert divergence(far, -far.flip(-1).neg()).isfinite().all()


def test_masked_views_have_cross_entropy_alone() -> None:
    pair, batch = networks(2), a_batch(B, views=2)
    own = replace(batch, own=1)
    found = shares(method(agreement=1.0), pair, own)
    alone = shares(method(agreement=1.0), pair, replace(batch, x=batch.x[:1], y=batch.y[:1], own=1))
    for both, one in zip(found, alone, strict=True):
        assert float(both.detach()) == pytest.approx(float(one.detach()) / 2, abs=1e-6)


@pytest.mark.parametrize(("noise", "rate", "forgotten"), [("symmetric", 0.4, 0.4), ("asymmetric", 0.4, 0.2)])
def test_of_asymmetric_noise_half_is_left_out(noise: str, rate: float, forgotten: float) -> None:
    from tests.conftest import config_of

    settings = config_of("base_method=jocor", f"noise={noise}", f"noise.rate={rate}")["base_method"]
    assert math.isclose(JoCoR(settings, a_task(40, B)).forget(50), forgotten)
