"""DivideMix against a slow, obvious implementation of its formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from sanm.methods.dividemix import DivideMix, sharpen
from sanm.parts.batches import endless
from sanm.record.identity import identity
from sanm.step import Forward, Look
from tests.conftest import config_of
from tests.methods.conftest import CLASSES, a_batch, a_step, a_task, networks, settings_of


def method(num_samples: int = 60, batch_size: int = 8, **changes: Any) -> DivideMix:
    own = {"lambda_u": 25, "confidence_penalty": False, **changes}
    return DivideMix(settings_of("dividemix", **own), a_task(num_samples, batch_size))


@pytest.mark.parametrize("network", [0, 1])
def test_targets_are_co_refined_and_co_guessed(network: int) -> None:
    pair, batch = networks(2), a_batch(9, views=2, num_labeled=5)
    look = Look(pair, batch.x, "eval")
    found = method().believe(batch, look, a_step(5, network))
    with torch.no_grad():
        probs = [[net(view).softmax(-1) for view in batch.x] for net in pair]
    for i in range(9):
        if i < 5:
            own = (probs[network][0][i] + probs[network][1][i]) / 2
            target = batch.clean[i] * batch.y[0, i] + (1 - batch.clean[i]) * own
        else:
            target = (probs[0][0][i] + probs[0][1][i] + probs[1][0][i] + probs[1][1][i]) / 4
        target = target**2 / (target**2).sum()
        assert torch.allclose(found[i], target, atol=1e-5)


@pytest.mark.parametrize("num_labeled", [5, 9])
@pytest.mark.parametrize("views", [2, 3])
def test_loss_is_the_published_one(num_labeled: int, views: int) -> None:
    """Value and gradient, for as many views as SANM makes of it, with and without unlabeled rows."""
    network, batch = networks(2)[0], a_batch(9, views, num_labeled)
    targets = torch.rand(9, CLASSES).softmax(-1)
    batch = batch.believing(targets)
    now = a_step(7, progress=7.5)
    made = method()
    total = made.share([made.losses(Forward(network), batch, now)], [batch], now)[0]

    random = a_step(7).random  # the same draws again
    coefficient = float(random.host.beta(4.0, 4.0))
    coefficient = max(coefficient, 1 - coefficient)
    order = torch.randperm(views * 9, generator=random.device)
    images, pool = batch.x.flatten(0, 1), targets.repeat(views, 1)
    mixed_x = coefficient * images + (1 - coefficient) * images[order]
    mixed_y = coefficient * pool + (1 - coefficient) * pool[order]
    logits = network(mixed_x)
    labeled = [row for row in range(views * 9) if row % 9 < num_labeled]
    unlabeled = [row for row in range(views * 9) if row % 9 >= num_labeled]
    log_probs, probs = logits.log_softmax(-1), logits.softmax(-1)
    supervised = -torch.stack([(mixed_y[row] * log_probs[row]).sum() for row in labeled]).mean()
    squared = [((probs[row] - mixed_y[row]) ** 2).mean() for row in unlabeled]
    unsupervised = torch.stack(squared).mean() if squared else torch.zeros(())
    mean = probs.mean(0)
    prior = sum((1 / CLASSES) * torch.log((1 / CLASSES) / mean[c]) for c in range(CLASSES))
    ramp = 25 * (7.5 - 2) / 16
    slow = supervised + ramp * unsupervised + prior
    assert float(total.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)

    parameters = list(network.parameters())
    for fast_gradient, slow_gradient in zip(
        torch.autograd.grad(total, parameters), torch.autograd.grad(slow, parameters), strict=True
    ):
        assert torch.allclose(fast_gradient, slow_gradient, atol=1e-5)


def test_one_view_in_the_warm_up() -> None:
    assert [method().num_views(epoch) for epoch in (0, 1, 2)] == [1, 1, 2]


def test_ramp_stays_between_nothing_and_lambda_u() -> None:
    made = method()
    assert [made._ramp(a_step(0, progress=at)) for at in (2.0, 10.0, 18.0, 100.0)] == [0.0, 12.5, 25.0, 25.0]


def test_warm_up_is_cross_entropy_with_a_penalty_on_confidence_where_asked() -> None:
    network, batch = networks(2)[0], a_batch(9, views=2)
    batch = batch.believing(batch.y[0])
    logits = network(batch.x.flatten(0, 1))
    plain = torch.nn.functional.cross_entropy(logits, batch.y.flatten(0, 1))
    entropy = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1).mean()
    for penalty, expected in ((False, plain), (True, plain - entropy)):
        losses = method(confidence_penalty=penalty).losses(Forward(network), batch, a_step(1))
        assert float(losses.mean().detach()) == pytest.approx(float(expected.detach()), abs=1e-5)


def test_an_epoch_passes_once_over_the_labeled_beside_unlabeled_batches() -> None:
    clean = torch.zeros(60)
    clean[10:31] = 0.9  # 21 labeled, 39 not; batches of 8
    draws = method().batches(clean, a_step(5))
    labeled = torch.cat([draw.positions[: draw.num_labeled] for draw in draws])
    assert sorted(labeled.tolist()) == list(range(10, 31))
    assert [draw.num_labeled for draw in draws] == [8, 8, 5]
    unlabeled = torch.cat([draw.positions[draw.num_labeled :] for draw in draws])
    assert len(unlabeled.unique()) == len(unlabeled) == 24
    assert not set(unlabeled.tolist()) & set(range(10, 31))
    warm = method().batches(clean, a_step(0))
    assert sorted(torch.cat([draw.positions for draw in warm]).tolist()) == list(range(60))
    assert len(warm[0].positions) == 16


@pytest.mark.parametrize("certain", [0, 1, 7])
def test_too_few_labeled_takes_the_most_trusted(certain: int) -> None:
    clean = torch.linspace(0.0, 0.4, 60)
    clean[:certain] = 0.9
    kept = method().keeps_label(clean, 5)
    assert int(kept.sum()) == 8
    assert kept[:certain].all()
    assert kept[-(8 - certain) :].all()


@pytest.mark.parametrize("unlabeled", [0, 1, 3])
def test_few_or_no_unlabeled_samples(unlabeled: int) -> None:
    clean = torch.ones(60)
    clean[:unlabeled] = 0.0
    draws = method().batches(clean, a_step(5))
    assert all(len(draw.positions) - draw.num_labeled == unlabeled for draw in draws)
    assert all(draw.num_labeled > 1 for draw in draws), "no batch of a single sample"


def test_unlabeled_batches_start_again_reshuffled() -> None:
    stream = endless(torch.arange(5), 2, a_step(0).random)
    seen = [next(stream).tolist() for _ in range(4)]
    assert sorted(seen[0] + seen[1]) == list(range(5)), "a left-over of one joins its neighbour"
    assert sorted(seen[2] + seen[3]) == list(range(5))


def test_sharpen() -> None:
    assert torch.allclose(sharpen(torch.tensor([0.6, 0.4]), 0.5), torch.tensor([0.36, 0.16]) / 0.52)
    assert torch.allclose(sharpen(torch.tensor([0.6, 0.4]), 1.0), torch.tensor([0.6, 0.4]))


@pytest.mark.parametrize(
    ("overrides", "lambda_u", "threshold", "warm_up", "penalty"),
    [
        (("data=cifar10", "noise.rate=0.2"), 0, 0.5, 10, False),
        (("data=cifar10", "noise.rate=0.5"), 25, 0.5, 10, False),
        (("data=cifar10", "noise.rate=0.8"), 25, 0.5, 10, False),
        (("data=cifar10", "noise.rate=0.9"), 50, 0.6, 10, False),
        (("data=cifar10", "noise=asymmetric", "noise.rate=0.4"), 0, 0.5, 10, True),
        (("data=cifar100", "noise.rate=0.2"), 25, 0.5, 30, False),
        (("data=cifar100", "noise.rate=0.5"), 150, 0.5, 30, False),
        (("data=cifar100", "noise.rate=0.9"), 150, 0.6, 30, False),
    ],
)
def test_settings_of_the_paper(
    overrides: tuple[str, ...], lambda_u: float, threshold: float, warm_up: int, penalty: bool
) -> None:
    config = config_of(*overrides)
    own = config["base_method"]
    assert (own["lambda_u"], own["threshold"], own["warm_up"]) == (lambda_u, threshold, warm_up)
    assert own["confidence_penalty"] is penalty
    assert config["quality"]["window"] == (5 if math.isclose(config["noise"]["rate"], 0.9) else 1)


def test_on_web_images_unlabeled_rows_are_partners_alone() -> None:
    batch = a_batch(9, views=2, num_labeled=5)
    batch = batch.believing(torch.rand(9, CLASSES).softmax(-1))
    whole = method().mixed(batch, a_step(5))
    labeled = method(unlabeled_rows=False).mixed(batch, a_step(5))
    assert whole.x.shape[:2] == (2, 9)
    assert torch.equal(labeled.x, whole.x[:, :5])
    assert torch.equal(labeled.y, whole.y[:, :5])
    for data, expected in (("cifar10", True), ("clothing1m", False), ("webvision", False)):
        assert (
            config_of("base_method=dividemix", f"data={data}", "noise=none")["base_method"]["unlabeled_rows"]
            is expected
        )
    assert "unlabeled_rows" not in identity(config_of())["base_method"], "runs of earlier versions keep their names"
    assert identity(config_of("base_method.unlabeled_rows=false"))["base_method"]["unlabeled_rows"] is False
