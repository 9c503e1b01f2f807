"""Co-teaching+ against a slow, obvious implementation: who learns from which samples of disagreement."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from sanm.methods.coteaching import CoTeaching
from sanm.methods.coteaching_plus import CoTeachingPlus, kept_among
from sanm.network import Network
from sanm.step import Batch, Forward
from tests.methods.conftest import CLASSES, a_batch, a_step, a_task, networks, same_gradients, settings_of

B = 16


def method(**changes: object) -> CoTeachingPlus:
    return CoTeachingPlus(settings_of("coteaching_plus", **{"plus_from": 3, **changes}), a_task(40, B))


def shares(made: CoTeaching, pair: list[Network], batch: Batch, epoch: int) -> list[torch.Tensor]:
    losses = [made.losses(Forward(network), batch, a_step(epoch, k)) for k, network in enumerate(pair)]
    return made.share(losses, [batch, batch], a_step(epoch))


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
def test_each_learns_what_the_other_finds_easy_where_both_disagree(rate: float) -> None:
    pair, batch = networks(2), a_batch(B, seed=2)
    found = shares(method(noise_rate=rate), pair, batch, 20)
    logits = [network(batch.x[0]) for network in pair]
    losses = [cross_entropy(each, batch.given, reduction="none") for each in logits]
    apart = [row for row in range(B) if int(logits[0][row].argmax()) != int(logits[1][row].argmax())]
    assert len(apart) > 3
    count = int((1 - rate) * len(apart)) or len(apart)
    for k in range(2):
        easiest = sorted(apart, key=lambda row: float(losses[1 - k][row].detach()))[:count]
        slow = torch.stack([losses[k][row] for row in easiest]).mean()
        assert float(found[k].detach()) == pytest.approx(float(slow.detach()), abs=1e-6)
        same_gradients(pair[k], found[k], slow)


@pytest.mark.parametrize(
    ("among", "forget", "kept"), [(10, 0.5, 5), (1, 0.5, 1), (3, 0.9, 3), (0, 0.5, 0), (7, 0.0, 7)]
)
def test_how_many_are_kept(among: int, forget: float, kept: int) -> None:
    losses = torch.rand(12, generator=torch.Generator().manual_seed(0))
    candidates = torch.arange(12) < among
    chosen = kept_among(candidates, losses, forget)
    assert int(chosen.sum()) == kept
    assert not chosen[~candidates].any()
    assert chosen[losses.masked_fill(~candidates, 9).argmin()] == (kept > 0)


def test_before_it_is_co_teaching() -> None:
    pair, batch = networks(2), a_batch(B)
    plain = CoTeaching(settings_of("coteaching"), a_task(40, B))
    for ours, theirs in zip(shares(method(), pair, batch, 2), shares(plain, pair, batch, 2), strict=True):
        assert torch.equal(ours, theirs)


def test_where_both_agree_nothing_is_learned() -> None:
    first = networks(1)[0]
    for loss in shares(method(), [first, first], a_batch(B), 20):
        assert float(loss.detach()) == 0
        assert not any(gradient.any() for gradient in torch.autograd.grad(loss, list(first.parameters())))


def test_the_released_code_takes_probabilities_for_logits() -> None:
    network, batch = networks(1)[0], a_batch(B)
    made = method(plus_loss="of_probabilities")
    low = math.log(1 + (CLASSES - 1) / math.e)
    after = made.losses(Forward(network), batch, a_step(20))
    assert low <= float(after.min())
    assert float(after.max()) <= low + 1
    assert torch.equal(
        made.losses(Forward(network), batch, a_step(2)), method().losses(Forward(network), batch, a_step(2))
    )


def test_from_when_on_it_is_about_disagreement() -> None:
    assert [settings_of("coteaching_plus")["plus_from"]] == [0.1]
