"""Co-teaching against a slow, obvious implementation: who learns from which samples, and how many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from sanm.errors import InputError
from sanm.methods.coteaching import CoTeaching
from sanm.step import Forward
from tests.methods.conftest import a_batch, a_step, a_task, networks, settings_of


def method(**changes: object) -> CoTeaching:
    return CoTeaching(settings_of("coteaching", **changes), a_task(40, 8))


@pytest.mark.parametrize("epoch", [0, 4, 30])
@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
def test_each_learns_the_small_losses_of_the_other(epoch: int, rate: float) -> None:
    pair, batch, made = networks(2), a_batch(8), method(noise_rate=rate)
    losses = [made.losses(Forward(network), batch, a_step(epoch)) for network in pair]
    found = made.share(losses, [batch, batch], a_step(epoch))

    plan = np.ones(200) * rate
    plan[:10] = np.linspace(0, rate, 10)
    kept = int((1 - plan[epoch + 1]) * 8)
    logits, labels = [network(batch.x[0]) for network in pair], batch.y[0].argmax(1)
    every = [cross_entropy(each, labels, reduction="none") for each in logits]
    for k in range(2):
        easiest = np.argsort(every[1 - k].detach().numpy())[: max(1, kept)]
        slow = torch.stack([every[k][row] for row in easiest.tolist()]).mean()
        assert float(found[k].detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
        for one, other in zip(
            torch.autograd.grad(found[k], list(pair[k].parameters()), retain_graph=True),
            torch.autograd.grad(slow, list(pair[k].parameters()), retain_graph=True),
            strict=True,
        ):
            assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("exponent", [1.0, 2.0, 0.5])
def test_forgets_by_the_published_plan(exponent: float) -> None:
    made, plan = method(noise_rate=0.4, exponent=exponent), np.ones(50) * 0.4
    plan[:10] = np.linspace(0, 0.4**exponent, 10)
    assert [made.forget(epoch) for epoch in range(40)] == pytest.approx(plan[1:41].tolist())


def test_masked_views_are_learned_from_and_do_not_choose() -> None:
    made = method(noise_rate=0.5)
    losses = [torch.rand(3, 8), torch.rand(3, 8)]
    found = made.share(losses, [replace(a_batch(8, views=3), own=1)] * 2, a_step(20))
    for k in range(2):
        chosen = losses[1 - k][0].argsort()[:4]
        assert torch.allclose(found[k], losses[k][:, chosen].mean())


def test_full_batches_alone_unless_there_is_none() -> None:
    draws = CoTeaching(settings_of("coteaching"), a_task(43, 8)).batches(torch.ones(43), a_step(0))
    assert [len(draw.positions) for draw in draws] == [8] * 5
    assert len(torch.cat([draw.positions for draw in draws]).unique()) == 40
    small = CoTeaching(settings_of("coteaching"), a_task(5, 8)).batches(torch.ones(5), a_step(0))
    assert [len(draw.positions) for draw in small] == [5]


def test_estimates_what_it_is_not_told() -> None:
    made = method(forget_rate="estimated", noise_rate=None)
    clean = torch.tensor([0.1] * 12 + [0.9] * 28)
    made.batches(clean, a_step(20))
    assert made.forget(20) == pytest.approx(0.3)
    assert made.needs_clean_probability(1)
    assert not method().needs_clean_probability(1)


def test_asks_for_the_rate_that_it_must_know() -> None:
    with pytest.raises(InputError, match=r"base_method\.noise_rate"):
        method(noise_rate=None)


def test_first_network_predicts_unless_asked_otherwise() -> None:
    pair, x = networks(2), torch.randn(3, 3, 8, 8)
    assert torch.equal(method().predict(pair, x), pair[0](x))
    assert torch.allclose(method(ensemble=True).predict(pair, x), pair[0](x) + pair[1](x))
