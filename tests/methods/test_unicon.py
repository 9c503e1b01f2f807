"""UNICON against slow, obvious implementations of its formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sanm.methods.unicon import PROJECTION, Unicon
from sanm.network import Network
from sanm.parts.divergence import FARTHEST, label_divergence
from sanm.step import Batch, Forward, Look, Task
from sanm.training.schedule import learning_rate
from tests.conftest import config_of
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of

B, N = 9, 5


def method(samples: int = 60, batch_size: int = 8, **changes: Any) -> tuple[Unicon, list[Network]]:
    pair = networks(2)
    made = Unicon(settings_of("unicon", **{"lambda_u": 25, **changes}), a_task(samples, batch_size))
    made.attach(pair, torch.zeros(2, 3, 8, 8))
    for network in pair:
        network.eval()
    return made, pair


# ---- selection


def test_trust_is_what_the_mean_of_both_networks_leaves_of_the_farthest() -> None:
    made, pair = method()
    survey = a_survey(pair, 60)
    found = made.trust(survey, 0, a_step(3))
    for sample in range(60):
        mean = (survey.probs(0)[sample] + survey.probs(1)[sample]) / 2
        assert float(found[sample]) == pytest.approx(1 - float(label_divergence(mean[sample % CLASSES])) / FARTHEST)
    assert torch.equal(found, made.trust(survey, 1, a_step(3, 1)))


@pytest.mark.parametrize("near", [32, 30, 41])
def test_as_many_of_each_class_are_kept(near: int) -> None:
    """Those nearest to their label, of each given class; all of one that has fewer."""
    generator = torch.Generator().manual_seed(near)
    given = torch.cat([torch.arange(54) % (CLASSES - 1), torch.full((6,), CLASSES - 1)])
    made = Unicon(settings_of("unicon"), Task(given, CLASSES, 8, 60))
    clean = torch.cat(
        [0.8 + torch.rand(near, generator=generator) / 10, torch.rand(60 - near, generator=generator) / 10]
    )
    clean = clean[torch.randperm(60, generator=generator)]
    keeps = made.keeps_label(clean, 5).tolist()
    for c in range(CLASSES):
        own = sorted((i for i in range(60) if given[i] == c), key=lambda i: -float(clean[i]))
        assert sorted(i for i in own if keeps[i]) == sorted(own[: near // CLASSES])
    assert made.keeps_label(clean, 0).all(), "in the warm-up all are"


def test_of_an_epoch_of_some_samples_classes_are_those_of_the_samples() -> None:
    made, pair = method()
    survey = a_survey(pair, 60)
    survey.index, survey.given = torch.arange(1, 60, 2), torch.arange(1, 60, 2) % CLASSES  # classes 1 and 3 alone
    made.trust(survey, 0, a_step(3))
    keeps = made.keeps_label(torch.linspace(0, 1, 30), 3)
    assert [int(keeps[survey.given == c].sum()) for c in (1, 3)] == [15 // CLASSES] * 2


@pytest.mark.parametrize(("near", "wanted", "guessed"), [(32, 0.5, 7), (32, 1.0, 15), (16, 0.5, 15), (16, 1.0, 30)])
def test_the_fewer_are_selected_the_more_unlabeled_ones_are_in_a_batch(near: int, wanted: float, guessed: int) -> None:
    clean = torch.where(torch.arange(60) < near, 0.9, 0.1) + torch.rand(60) / 100
    made, _ = method(unlabeled_batch=wanted)
    draws, keeps = made.batches(clean, a_step(5)), made.keeps_label(clean, 5)
    assert len(draws) == near // 8
    labeled = torch.cat([draw.positions[: draw.num_labeled] for draw in draws])
    assert len(labeled.unique()) == len(labeled) == near // 8 * 8
    assert keeps[labeled].all()
    for positions, known in draws:
        assert (known, len(positions) - known) == (8, guessed)
        assert not keeps[positions[known:]].any()


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_samples_that_do_not_differ(value: float) -> None:
    """A batch is selected, and all others stand beside it."""
    made, _ = method()
    draws = made.batches(torch.full((60,), value), a_step(5))
    assert [(draw.num_labeled, len(draw.positions)) for draw in draws] == [(8, 8 + 60 // 2)]


# ---- a step


def slow_targets(pair: list[Network], batch: Batch, weak: Tensor, network: int) -> list[Tensor]:
    targets = []
    for row in range(B):
        said = [[net(weak[view, row][None])[0].softmax(0).detach() for view in range(2)] for net in pair]
        divergence = math.log(2) * (1 - float(batch.clean[row]))
        weight = 1 if divergence < 0.5 else 1 - divergence
        own, all_said = sum(said[network]) / 2, sum(said[0] + said[1]) / 4
        given = torch.eye(CLASSES)[batch.given[row]]
        target = weight * given + (1 - weight) * own if row < N else all_said
        targets.append(target**2 / (target**2).sum())
    return targets


def slow_loss(network: Network, batch: Batch, targets: list[Tensor]) -> Tensor:
    random = a_step(7).random
    share = float(random.host.beta(4.0, 4.0))
    share, order = max(share, 1 - share), torch.randperm(2 * B, generator=random.device).tolist()
    images = [batch.x[row // B, row % B] for row in range(2 * B)]
    labeled, unlabeled, probs = [], [], []
    for row, other in enumerate(order):
        logits = network((share * images[row] + (1 - share) * images[other])[None])[0]
        target = share * targets[row % B] + (1 - share) * targets[other % B]
        probs.append(logits.softmax(0))
        if row % B < N:
            labeled.append(-(target * logits.log_softmax(0)).sum())
        else:
            unlabeled.append((probs[-1] - target).square().mean())
    mean = torch.stack(probs).mean(0)
    prior = sum((1 / CLASSES / mean[c]).log() / CLASSES for c in range(CLASSES))
    return torch.stack(labeled).mean() + 25 * 5.5 / 16 * torch.stack(unlabeled).mean() + prior


def slow_contrast(network: Network, views: Tensor) -> Tensor:
    drawn = [network.heads[PROJECTION](network.features(view).mean((2, 3))) for view in views]
    rows = [row / row.norm() for view in drawn for row in view]
    terms, count = [], len(rows) // 2
    for i, row in enumerate(rows):
        others = [torch.exp(row @ other / 0.05) for j, other in enumerate(rows) if j != i]
        terms.append(torch.stack(others).sum().log() - row @ rows[(i + count) % (2 * count)] / 0.05)
    return torch.stack(terms).mean()


@pytest.mark.parametrize("network", [0, 1])
def test_the_loss_of_a_step(network: int) -> None:
    """What weak views say is learned of strong ones, mixed; strong views of unlabeled images are drawn together."""
    made, pair = method(contrast_weight=0.5)
    weak, strong, now = a_batch(B, 2, N, seed=1), a_batch(B, 2, N), a_step(7, network, progress=7.5)
    batch = strong.believing(made.believe(strong, Look(pair, weak.x, "eval", N), now))
    targets = slow_targets(pair, strong, weak.x, network)
    assert torch.allclose(batch.y[0], torch.stack(targets), atol=1e-5)
    found = made.losses(Forward(pair[network]), batch, now).mean()
    slow = slow_loss(pair[network], batch, targets) + 0.5 * slow_contrast(pair[network], batch.x[:, N:])
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
    same_gradients(pair[network], found, slow)


def test_the_projection_learns_from_the_contrast_alone() -> None:
    made, pair = method(contrast_weight=0)
    batch = a_batch(B, 2, N)
    made.losses(Forward(pair[0]), batch, a_step(7)).mean().backward()
    assert all(not each.grad.any() for each in pair[0].heads[PROJECTION].parameters() if each.grad is not None)


@pytest.mark.parametrize(("own", "labeled"), [(0, N), (2, B), (2, B - 1)])
def test_no_contrast_without_two_rows_of_its_own_views(own: int, labeled: int) -> None:
    made, pair = method()
    batch = a_batch(B, 2, labeled)
    batch = Batch(**{**vars(batch), "own": own})
    assert float(made._contrast(Forward(pair[0]), batch)) == 0


def test_the_warm_up_is_plain_and_weak() -> None:
    made, pair = method()
    batch = a_batch(B)
    found = made.losses(Forward(pair[0]), batch, a_step(1)).mean()
    slow = torch.nn.functional.cross_entropy(pair[0](batch.x[0]), batch.given)
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-6)
    assert [(made.num_views(epoch), *made.learns_from(epoch)) for epoch in (1, 2)] == [(1, "weak"), (2, "autoaugment")]
    assert len(made.batches(torch.ones(60), a_step(1))[0].positions) == 16


# ---- settings


@pytest.mark.parametrize(
    ("noise", "unlabeled_batch", "penalty"),
    [
        (("data=cifar10", "noise.rate=0.2"), 0.5, False),
        (("data=cifar10", "noise.rate=0.9"), 1.0, False),
        (("data=cifar10", "noise=asymmetric", "noise.rate=0.4"), 0.5, True),
        (("data=cifar100", "noise.rate=0.5"), 0.5, False),
    ],
)
def test_published_settings(noise: tuple[str, ...], unlabeled_batch: float, penalty: bool) -> None:
    config = config_of("base_method=unicon", "trainer=unicon", *noise)
    own, trainer = config["base_method"], config["trainer"]
    assert (own["lambda_u"], own["unlabeled_batch"], own["confidence_penalty"]) == (30, unlabeled_batch, penalty)
    assert (own["warm_up"], own["alpha"]) == (30 if "data=cifar100" in noise else 10, 4)
    assert (trainer["epochs"], trainer["batch_size"], trainer["weight_decay"]) == (350, 64, 5e-4)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.02)
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 280, 2e-4)
    for epoch in range(350):
        assert learning_rate(epoch, trainer) == pytest.approx(torchs.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        torchs.step()


@pytest.mark.parametrize("data", ["clothing1m", "webvision"])
def test_on_web_images_unlabeled_rows_are_contrasted_alone(data: str) -> None:
    config = config_of("base_method=unicon", "trainer=unicon", f"data={data}", "noise=none")
    assert (config["base_method"]["unlabeled_rows"], config["base_method"]["alpha"]) == (False, 0.5)
    made, pair = method(unlabeled_rows=False, contrast_weight=1)
    batch, now = a_batch(B, 2, N), a_step(7)
    found = made.losses(Forward(pair[0]), batch, now)
    without = method(unlabeled_rows=False, contrast_weight=0)[0].losses(Forward(pair[0]), batch, a_step(7))
    assert found.shape == (2, N)
    contrast = float(slow_contrast(pair[0], batch.x[:, N:]).detach())
    assert float((found - without).mean().detach()) == pytest.approx(contrast, abs=1e-4)
