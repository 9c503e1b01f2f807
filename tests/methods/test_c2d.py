"""C2D: what its code does otherwise than DivideMix, against slow, obvious versions."""

from __future__ import annotations

import pytest
import torch

from sanm.methods.c2d import ContrastToDivide
from sanm.methods.dividemix import DivideMix
from sanm.step import Forward
from tests.methods.conftest import CLASSES, a_batch, a_step, a_task, networks, settings_of


def method(**changes: object) -> ContrastToDivide:
    return ContrastToDivide(settings_of("c2d", confidence_penalty=False, **changes), a_task(40, 4))


@pytest.mark.parametrize(
    ("clean", "threshold"), [([0.1, 0.4, 0.9], 0.5), ([0.6, 0.7, 0.9], 0.6 + 1e-5), ([0.1, 0.2, 0.3], 0.3 - 1e-5)]
)
def test_threshold_is_moved_inside_the_range(clean: list[float], threshold: float) -> None:
    made = method(threshold=0.5)
    assert float(made.threshold(torch.tensor(clean))) == pytest.approx(threshold, abs=1e-7)


def test_neither_side_is_empty() -> None:
    for low, high in ((0.6, 0.9), (0.1, 0.3), (0.2, 0.8)):
        clean = torch.linspace(low, high, 40)
        keeps = method(threshold=0.5).keeps_label(clean, 5)
        assert 0 < int(keeps.sum()) < 40


def test_a_probability_that_says_nothing_keeps_the_plain_threshold() -> None:
    assert method(threshold=0.5).keeps_label(torch.ones(40), 5).all()


def test_clips_the_gradient_in_the_warm_up_alone() -> None:
    for epoch, clipped in ((0, True), (1, True), (2, False)):
        network = networks(1)[0]
        (100 * network(torch.randn(4, 3, 8, 8)).square().sum()).backward()
        gradients = [each.grad.clone() for each in network.parameters() if each.grad is not None]
        norm = torch.sqrt(sum((each.square().sum() for each in gradients), torch.zeros(())))
        method().after_backward(network, a_step(epoch))
        scale = 1 / (float(norm) + 1e-6) if clipped else 1.0
        for found, before in zip(network.parameters(), gradients, strict=True):
            assert found.grad is not None
            assert torch.allclose(found.grad, before * scale, rtol=1e-4, atol=1e-7)
        assert float(norm) > 1


def test_without_lambda_u_unlabeled_rows_are_partners_alone() -> None:
    """The loss is the supervised one of the labeled rows, mixed with rows of the whole batch, and the uniform prior."""
    network, batch = networks(1)[0], a_batch(9, views=2, num_labeled=5)
    batch = batch.believing(torch.rand(9, CLASSES).softmax(-1))
    made = method(lambda_u=0.0)
    losses = made.losses(Forward(network), batch, a_step(7))
    assert losses.shape == (2, 5)

    random = a_step(7).random
    coefficient = float(random.host.beta(4.0, 4.0))
    coefficient = max(coefficient, 1 - coefficient)
    order = torch.randperm(18, generator=random.device)
    images, targets = batch.x.flatten(0, 1), batch.y.flatten(0, 1)
    rows = [row for row in range(18) if row % 9 < 5]
    mixed_x = torch.stack([coefficient * images[row] + (1 - coefficient) * images[order[row]] for row in rows])
    mixed_y = torch.stack([coefficient * targets[row] + (1 - coefficient) * targets[order[row]] for row in rows])
    logits = network(mixed_x)
    supervised = torch.stack([-(y * each.log_softmax(0)).sum() for y, each in zip(mixed_y, logits, strict=True)]).mean()
    mean = logits.softmax(1).mean(0)
    prior = sum((1 / CLASSES) * torch.log((1 / CLASSES) / mean[c]) for c in range(CLASSES))
    assert any(int(order[row]) % 9 >= 5 for row in rows), "some partner is unlabeled"
    assert float(losses.mean().detach()) == pytest.approx(float((supervised + prior).detach()), abs=1e-5)


def test_with_lambda_u_it_is_dividemix() -> None:
    network, batch = networks(1)[0], a_batch(9, views=2, num_labeled=5)
    settings = settings_of("c2d", confidence_penalty=False, lambda_u=25.0)
    found = ContrastToDivide(settings, a_task(40, 4)).losses(Forward(network), batch, a_step(7))
    plain = DivideMix({**settings, "unlabeled_rows": True}, a_task(40, 4)).losses(Forward(network), batch, a_step(7))
    assert torch.equal(found, plain)


def test_measures_from_the_second_epoch_and_before_each_turn() -> None:
    made = method()
    assert made.measures_each_turn
    assert [made.needs_clean_probability(epoch) for epoch in (0, 1, 2)] == [False, True, True]
    assert [made.remembers_losses(epoch) for epoch in (0, 1, 2)] == [False, True, True]
