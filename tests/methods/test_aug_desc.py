"""AugDesc: which images its opinions and its gradients are of; its loss is DivideMix's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sanm.data import TrainingSet
from sanm.methods.aug_desc import AugDesc
from sanm.step import Draw, Forward, Look, Random
from sanm.survey import Survey
from tests.conftest import config_of
from tests.every import tiny_trainer
from tests.methods.conftest import CLASSES, a_batch, a_step, a_task, networks, same_gradients, settings_of

B, N = 9, 5


def method(**changes: Any) -> AugDesc:
    return AugDesc(settings_of("aug_desc", lambda_u=25, **changes), a_task(60, 8))


def test_what_weak_views_say_is_learned_of_strong_ones() -> None:
    """A step against loops over images: refined and guessed on two views, mixed and learned of two others."""
    pair, weak, strong = networks(2), a_batch(B, 2, N, seed=1), a_batch(B, 2, N)
    made, now = method(), a_step(7, progress=7.5)
    batch = strong.believing(made.believe(strong, Look(pair, weak.x, "eval", N), now))
    found = made.losses(Forward(pair[0]), batch, now).mean()

    targets = []
    for row in range(B):
        said = [[net(weak.x[view, row][None])[0].softmax(0).detach() for view in range(2)] for net in pair]
        own, peer = sum(said[0]) / 2, sum(said[1]) / 2
        given = torch.eye(CLASSES)[strong.given[row]]
        target = strong.clean[row] * given + (1 - strong.clean[row]) * own if row < N else (own + peer) / 2
        targets.append(target**2 / (target**2).sum())
    random = a_step(7).random
    share = float(random.host.beta(4.0, 4.0))
    share, order = max(share, 1 - share), torch.randperm(2 * B, generator=random.device).tolist()
    images = [strong.x[row // B, row % B] for row in range(2 * B)]
    labeled, unlabeled, probs = [], [], []
    for row, other in enumerate(order):
        logits = pair[0]((share * images[row] + (1 - share) * images[other])[None])[0]
        target = share * targets[row % B] + (1 - share) * targets[other % B]
        probs.append(logits.softmax(0))
        if row % B < N:
            labeled.append(-(target * logits.log_softmax(0)).sum())
        else:
            unlabeled.append((probs[-1] - target).square().mean())
    mean = torch.stack(probs).mean(0)
    slow = torch.stack(labeled).mean() + 25 * 5.5 / 16 * torch.stack(unlabeled).mean()
    slow = slow + sum((1 / CLASSES / mean[c]).log() / CLASSES for c in range(CLASSES))
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
    same_gradients(pair[0], found, slow)


@pytest.mark.parametrize(
    ("strategy", "learned", "apart"),
    [
        ("guess_on=weak learn_from=autoaugment", "autoaugment", True),
        ("guess_on=autoaugment learn_from=autoaugment", "autoaugment", True),
        ("guess_on=autoaugment learn_from=autoaugment guess_apart=false", "autoaugment", False),
        ("guess_on=none learn_from=none guess_apart=false", "none", False),
    ],
)
def test_strategies_of_the_paper(strategy: str, learned: str, apart: bool, training_set: TrainingSet) -> None:
    words = (f"base_method.{each}" for each in strategy.split())
    made = tiny_trainer(training_set, "base_method=aug_desc", "components=none", *words)
    found = made.bank.find(torch.arange(8))
    state = made.random.state()
    batch, look = made._draw_batch(Draw(torch.arange(8), 8), 1)
    again = Random(0, torch.device("cpu"))
    again.load(state)
    assert torch.equal(batch.x, made.bank.views(learned, 2, found, again))
    guess_on = made.phase.method["guess_on"]
    expected = made.bank.views(guess_on, 2, found, again) if apart else batch.x
    assert torch.equal(look.x, expected)
    assert len(batch.x) == len(look.x) == 2


def test_the_warm_up_has_its_own_pool_and_batches() -> None:
    weak, strong = method(), method(warm_up_from="autoaugment", warm_up_batches=2)
    assert [weak.learns_from(epoch) for epoch in (0, 1, 2)] == [["weak"], ["weak"], ["autoaugment"]]
    assert strong.learns_from(0) == ["autoaugment"]
    clean = torch.ones(60)
    assert len(weak.batches(clean, a_step(0))[0].positions) == 8
    assert len(strong.batches(clean, a_step(0))[0].positions) == 16


@pytest.mark.parametrize("pool", ["none", "weak"])
def test_losses_are_measured_on_the_pool_asked_for(pool: str) -> None:
    seen = []

    def scan(pool: str, network: Any, answer: Any) -> torch.Tensor:
        seen.append(pool)
        return torch.zeros(6, CLASSES)

    method(measure_on=pool).measured(Survey(networks(1), torch.zeros(6).long(), torch.arange(6), scan), 0)
    assert seen == [pool]


@pytest.mark.parametrize(
    ("noise", "lambda_u", "threshold", "window", "epochs", "milestone"),
    [
        (("data=cifar10", "noise.rate=0.2"), 0, 0.5, 1, 300, 150),
        (("data=cifar10", "noise.rate=0.5"), 25, 0.5, 1, 300, 150),
        (("data=cifar10", "noise.rate=0.8"), 25, 0.5, 1, 350, 200),
        (("data=cifar10", "noise.rate=0.9"), 50, 0.6, 5, 350, 250),
        (("data=cifar10", "noise=asymmetric", "noise.rate=0.4"), 0, 0.5, 1, 350, 250),
        (("data=cifar100", "noise.rate=0.2"), 25, 0.5, 1, 400, 300),
        (("data=cifar100", "noise.rate=0.8"), 150, 0.5, 1, 400, 300),
        (("data=cifar100", "noise.rate=0.9"), 150, 0.6, 5, 400, 300),
    ],
)
def test_published_settings(
    noise: tuple[str, ...], lambda_u: float, threshold: float, window: int, epochs: int, milestone: int
) -> None:
    config = config_of("base_method=aug_desc", "trainer=aug_desc", *noise)
    own, trainer = config["base_method"], config["trainer"]
    assert (own["lambda_u"], own["threshold"], config["quality"]["window"]) == (lambda_u, threshold, window)
    assert (trainer["epochs"], trainer["milestones"], trainer["batch_size"]) == (epochs, [milestone], 128)
    assert own["warm_up"] == (30 if "data=cifar100" in noise else 10)
