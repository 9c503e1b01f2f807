"""SOP and SOP+ against a slow implementation: losses, gradients, and what is learned of each sample's noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sanm.data import TrainingSet
from sanm.errors import InputError
from sanm.methods.sop import SparseOverParameterisation
from sanm.step import Batch, Forward
from tests.conftest import config_of
from tests.every import tiny_trainer
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of

N, B = 20, 6
CONSISTENCY, BALANCE = 0.9, 0.1
PLAIN: dict[str, Any] = {"consistency_weight": 0.0, "balance_weight": 0.0, "learn_from": "weak"}
PLUS: dict[str, Any] = {}
KINDS = pytest.mark.parametrize(("kind", "views"), [(PLAIN, 1), (PLUS, 2)])


def method(spread: float = 0.4, **changes: Any) -> SparseOverParameterisation:
    """With noise of a spread, so that some of it is clamped at 1."""
    made = SparseOverParameterisation(settings_of("sop", **changes), a_task(N, B))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for each in (made.u, made.v):
            each += spread * torch.randn(each.shape, generator=generator)
    return made


def loss_of(made: SparseOverParameterisation, batch: Batch, logits: Tensor) -> Tensor:
    """Of logits ``[V, B, K]``."""
    return made.losses(lambda x: logits, batch, a_step(0)).mean()  # type: ignore[arg-type]


def slow_corrected(p: Tensor, u: Tensor, v: Tensor, given: int) -> list[Tensor]:
    """Of a sample's probabilities ``[K]``, a number at a time."""
    explained = []
    for c in range(CLASSES):
        value = p[c] + torch.clamp(u * u, 0, 1) if c == given else p[c] - torch.clamp(v[c] * v[c], 0, 1).detach()
        explained.append(torch.clamp(value, min=1e-4))
    total = sum(explained[1:], explained[0])
    return [torch.clamp(each / total, 1e-4, 1.0) for each in explained]


def slow_loss(u: Tensor, v: Tensor, weak: Tensor, strong: Tensor | None, given: list[int]) -> Tensor:
    """Of ``u [B, 1]``, ``v [B, K]`` and logits ``[B, K]``."""
    count, total = len(given), torch.zeros(())
    sums = [torch.zeros(()) for _ in range(CLASSES)]
    for row, label in enumerate(given):
        p = weak[row].exp() / weak[row].exp().sum()
        corrected = slow_corrected(p, u[row, 0], v[row], label)
        total = total - corrected[label].log() / count
        sums = [one + other for one, other in zip(sums, corrected, strict=True)]
        for c in range(CLASSES):
            predicted, truth = float(c == int(p.argmax())), float(c == label)
            u2, v2 = torch.clamp(u[row, 0] ** 2, 0, 1) * truth, torch.clamp(v[row, c] ** 2, 0, 1) * (1 - truth)
            total = total + (predicted + u2 - v2 - truth) ** 2 / count
            if strong is not None:
                q = strong[row].exp() / strong[row].exp().sum()
                total = total + CONSISTENCY * p[c].detach() * (p[c].detach() / q[c]).log() / count
    if strong is not None:
        for each in sums:
            total = total - BALANCE / CLASSES * (each / count).log()
    return total


@KINDS
@pytest.mark.parametrize("spread", [1e-8, 0.7])
def test_a_step_is_the_published_one(kind: dict[str, Any], views: int, spread: float) -> None:
    """Value, gradient of the network, and noise after a step of its own; other samples keep theirs bit for bit."""
    network, batch, made = networks(1)[0], a_batch(B, views), method(spread, **kind, lr_u=3.0, lr_v=2.0)
    before = (made.u.detach().clone(), made.v.detach().clone())
    found = made.losses(Forward(network), batch, a_step(0)).mean()
    u, v = (each[batch.index].requires_grad_() for each in before)
    strong = network(batch.x[1]) if views == 2 else None
    slow = slow_loss(u, v, network(batch.x[0]), strong, batch.given.tolist())
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
    same_gradients(network, found, slow)
    (optimizer,) = made.optimizers()
    found.backward()
    optimizer.step()
    others = [sample for sample in range(N) if sample not in batch.index.tolist()]
    gradients = torch.autograd.grad(slow, (u, v))
    for learned, start, rate, gradient in zip((made.u, made.v), before, (3.0, 2.0), gradients, strict=True):
        expected = start.clone()
        expected[batch.index] -= rate * B / 128 * gradient
        assert torch.allclose(learned, expected, rtol=1e-4, atol=1e-12 if spread < 1e-6 else 1e-6)
        assert torch.equal(learned[others], start[others])
    rows = torch.arange(B)
    assert torch.equal(made.v[batch.index][rows, batch.given], before[1][batch.index][rows, batch.given])


def test_without_noise_it_is_cross_entropy_and_the_error_of_predictions() -> None:
    network, batch = networks(1)[0], a_batch(B)
    logits = network(batch.x[0])
    wrong = float((logits.argmax(1) != batch.given).float().mean())
    found = method(0.0, **PLAIN).losses(Forward(network), batch, a_step(0)).mean()
    slow = cross_entropy(logits, batch.given)
    assert float(found.detach()) == pytest.approx(float(slow.detach()) + 2 * wrong, abs=1e-5)
    same_gradients(network, found, slow)


def test_cross_entropy_moves_nothing_that_is_removed() -> None:
    """Of samples predicted as labeled the squared error has its own gradient there, ``4 v^3``, and nothing else."""
    made, batch = method(0.3, **PLAIN), a_batch(B)
    loss_of(made, batch, 5 * torch.eye(CLASSES)[batch.given][None]).backward()
    others = 1 - torch.eye(CLASSES)[batch.given]
    assert made.v.grad is not None
    v = made.v.detach()[batch.index]
    assert torch.allclose(made.v.grad[batch.index], 4 * v**3 * others / B, atol=1e-6)


def test_corrected_probabilities_sum_to_one() -> None:
    made, batch = method(0.7), a_batch(B)
    probs = torch.randn(3, B, CLASSES, generator=torch.Generator().manual_seed(1)).softmax(-1)
    sums = made._noise(batch).corrected(probs).sum(-1)
    assert torch.allclose(sums, torch.ones(3, B), atol=CLASSES * 1e-4)


def test_a_label_that_the_network_denies_is_explained_and_stops_teaching() -> None:
    made, batch = method(0.0, **PLAIN, lr_u=10.0, lr_v=10.0, rates_for_batch=B), a_batch(B)
    made.attach([], batch.x)
    denied = torch.full((1, B, CLASSES), 0.01 / (CLASSES - 1))
    denied[0, torch.arange(B), (batch.given + 1) % CLASSES] = 0.98
    denied[0, torch.arange(B), batch.given] = 0.01
    (optimizer,) = made.optimizers()
    trusts, slopes = [], []
    survey = a_survey(networks(1), N)
    for _ in range(12):
        logits = denied.log().requires_grad_()
        optimizer.zero_grad()
        loss_of(made, batch, logits).backward()
        assert logits.grad is not None
        slopes.append(float(logits.grad.norm()))
        trusts.append(made.trust(survey, 0, a_step(0)))
        optimizer.step()
    rows, others = batch.index, [sample for sample in range(N) if sample not in batch.index.tolist()]
    assert bool((trusts[0][rows] > 0.999).all())
    assert bool((trusts[-1][rows] < 0.5).all()), "wrong labels are trusted less"
    assert bool((trusts[-1][others] > 0.999).all())
    assert slopes[-1] < 0.1 * slopes[0]


@KINDS
@pytest.mark.parametrize("replaced", [False, True])
def test_masked_views_do_not_move_noise(kind: dict[str, Any], views: int, replaced: bool) -> None:
    """Whether they are beside the method's own views or in their place; they see the noise in their own loss."""
    logits, masked = torch.randn(2, B, CLASSES), torch.randn(3, B, CLASSES)
    own, batch = logits[:views], a_batch(B, views)
    plain, made = method(**kind), method(**kind)
    loss_of(plain, batch, own).backward()
    softened = torch.rand(B, CLASSES).softmax(-1).expand(3, -1, -1)
    seen = own[0].softmax(-1) if replaced else None
    y = softened if replaced else torch.cat([batch.y, softened])
    both = replace(batch, y=y, own=0 if replaced else views, seen=seen, x=torch.zeros(len(y), B, 1, 1, 1))
    all_logits = (masked if replaced else torch.cat([own, masked])).clone().requires_grad_()
    rows = made.losses(lambda x: all_logits, both, a_step(0))  # type: ignore[arg-type]
    rows.mean().backward()
    for one, other in ((plain.u, made.u), (plain.v, made.v)):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad, other.grad, atol=1e-7)
    if kind is PLAIN:
        for row, label in enumerate(batch.given.tolist()):
            u, v = made.u.detach()[batch.index[row], 0], made.v.detach()[batch.index[row]]
            corrected = slow_corrected(masked[0, row].softmax(-1), u, v, label)
            first = rows[0 if replaced else views, row] - _error(u, v, own[0, row], label)
            expected = -sum(float(softened[0, row, c]) * float(corrected[c].log()) for c in range(CLASSES))
            assert float(first.detach()) == pytest.approx(expected, abs=1e-5)


def _error(u: Tensor, v: Tensor, logits: Tensor, label: int) -> float:
    """The squared error of a predicted class, which every row of a sample counts."""
    total = 0.0
    for c in range(CLASSES):
        s = min(float(u) ** 2, 1.0) if c == label else -min(float(v[c]) ** 2, 1.0)
        total += (float(c == int(logits.argmax())) + s - float(c == label)) ** 2
    return total


def test_the_start_is_small_and_drawn_from_the_seed(training_set: TrainingSet) -> None:
    first, second = (tiny_trainer(training_set, "base_method=sop", "components=none").method for _ in range(2))
    assert isinstance(first, SparseOverParameterisation)
    assert isinstance(second, SparseOverParameterisation)
    assert torch.equal(first.v, second.v)
    assert float(first.v.detach().std()) == pytest.approx(1e-8, rel=0.2)
    assert bool((first.u != 0).all())


def test_wrong_labels_are_trusted_less(training_set: TrainingSet) -> None:
    overrides = ("base_method=sop", "base_method.plus=false", "components=none", "base_method.lr_u=60", "seed=2")
    made = tiny_trainer(training_set, *overrides, "trainer.epochs=16")
    for _ in range(16):
        made.train_epoch(lambda *_: None)
    assert isinstance(made.method, SparseOverParameterisation)
    trust = 1 - made.method.u.detach()[:, 0].square().clamp(max=1)
    right = training_set.given_labels == torch.arange(160) % 4
    assert float(trust[right].mean()) > float(trust[~right].mean()) + 0.3


def test_settings_follow_data_noise_and_kind() -> None:
    def settings(*overrides: str) -> dict[str, Any]:
        found: dict[str, Any] = config_of("base_method=sop", *overrides)["base_method"]
        return found

    plus, plain = settings("data=cifar100", "noise=asymmetric"), settings("data=cifar10", "base_method.plus=false")
    assert (plus["lr_u"], plus["lr_v"], plus["learn_from"]) == (0.1, 100.0, ["weak", "autoaugment"])
    assert (plain["lr_u"], plain["lr_v"], plain["learn_from"]) == (10.0, 10.0, "weak")
    assert (plus["consistency_weight"], plus["balance_weight"]) == (CONSISTENCY, BALANCE)
    assert (plain["consistency_weight"], plain["balance_weight"]) == (0.0, 0.0)


@pytest.mark.parametrize("wrong", ["lr_u=-1", "start=0", "rates_for_batch=0", "balance_weight=-1"])
def test_what_cannot_be_is_refused(wrong: str) -> None:
    with pytest.raises(InputError, match=rf"base_method\.{wrong}"):
        config_of("base_method=sop", f"base_method.{wrong}")


def test_agreement_without_a_strong_view_is_refused() -> None:
    with pytest.raises(InputError, match=r"base_method\.consistency_weight.*base_method\.learn_from"):
        method(learn_from="weak")
