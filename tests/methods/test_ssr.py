"""SSR+ against slow, obvious implementations of its formulas."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sanm.methods.ssr import SelectionAndRelabelling
from sanm.network import Network
from sanm.parts.batches import endless, evened, whole_batches
from sanm.parts.mixup import draw_mix
from sanm.step import Batch, Forward, Look
from sanm.survey import Survey
from sanm.training.schedule import learning_rate
from tests.conftest import config_of
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of

N, B = 40, 6


def method(**changes: Any) -> tuple[SelectionAndRelabelling, Network]:
    torch.manual_seed(1)
    network = networks(1)[0]
    made = SelectionAndRelabelling(settings_of("ssr", **{"neighbours": 4, **changes}), a_task(N, B))
    made.attach([network], torch.zeros(2, 3, 8, 8))
    network.eval()
    return made, network


# ---- labels and selection


def slow_selection(features: Any, p: Any, y: list[int], above: float, k: int) -> tuple[list[int], list[float]]:
    labels = [int(row.argmax()) if float(row.max()) > above else y[i] for i, row in enumerate(p)]
    size = Counter(labels)
    ratios = []
    for i in range(len(y)):
        cosine = {j: float(torch.cosine_similarity(features[i], features[j], dim=0)) for j in range(len(y)) if j != i}
        voters = [i, *sorted(cosine, key=lambda j: -cosine[j])[: k - 1]]
        score = {c: sum(labels[j] == c for j in voters) / (size[c] / len(y)) for c in size}
        ratios.append(score[labels[i]] / max(score.values()))
    return labels, ratios


@pytest.mark.parametrize("above", [0.3, 0.9, 2.0])
def test_relabels_and_selects_as_published(above: float) -> None:
    """Twice from the given labels: the second time does not know of the first."""
    made, network = method(relabel_above=above)
    for seed in (0, 1):
        survey: Survey = a_survey([network], N, seed)
        with torch.no_grad():
            network.classifier.weight.mul_(20)
        trust = made.trust(survey, 0, a_step(3))
        features = survey.features(0)
        labels, ratios = slow_selection(features, survey.probs(0).detach(), survey.given.tolist(), above, 4)
        assert made.labels.tolist() == labels
        assert trust.tolist() == pytest.approx(ratios, abs=1e-5)
        assert made.keeps_label(trust, 3).tolist() == [ratio > 1 - 1e-6 for ratio in ratios]
    if above > 1:
        assert torch.equal(made.labels, survey.given)


def test_votes_are_divided_by_the_size_of_their_class() -> None:
    """120 and 80 votes among classes of three quarters and one: 160 to 320."""
    made, _ = method(neighbours=200)
    made.num_classes = 2
    labels = torch.cat([torch.zeros(300), torch.ones(100)]).long()
    group = torch.cat([torch.arange(300) < 120, torch.arange(100) < 80])
    embeddings = torch.nn.functional.one_hot(group.long(), 2).float()
    embeddings = torch.cat([embeddings, -torch.ones(400, 2)])  # as many elsewhere, so that 200 vote
    scores = made._votes(embeddings, torch.cat([labels, labels]))[:400][group]
    assert torch.allclose(scores, torch.tensor([0.8, 1.6]))
    assert torch.equal(scores.argmax(1) == labels[group], labels[group] == 1)


def test_where_nobody_is_selected_the_most_trusted_are() -> None:
    made, _ = method()
    assert made.keeps_label(torch.tensor([0.2, 0.9, 0.9, 0.3]), 0).tolist() == [False, True, True, False]


def test_an_epoch_of_some_samples_relabels_these() -> None:
    made, network = method(relabel_above=0.01)
    survey: Survey = a_survey([network], 8)
    survey.index = torch.arange(8) + 10
    made.trust(survey, 0, a_step(3))
    assert torch.equal(made.labels[10:18], survey.probs(0).argmax(1))
    assert torch.equal(made.labels[:10], torch.arange(10) % CLASSES)
    step = replace(a_step(3), drawn=torch.arange(8) + 10)
    drawn = made.batches(torch.ones(8), step)
    assert len(drawn) == 1  # of six, and two are left out
    assert int(torch.cat([draw.positions for draw in drawn]).max()) < 8


# ---- batches


def test_selected_samples_are_drawn_as_many_of_each_class() -> None:
    labels = torch.tensor([2, 0, 0, 0, 0, 2, 0, 2, 0, 0])  # seven, none, three
    positions = evened(labels, CLASSES, a_step(0).random)
    assert Counter(labels[positions].tolist()) == {0: 7, 2: 7}
    assert set(Counter(positions[labels[positions] == 0].tolist()).values()) == {1}
    assert sorted(Counter(positions[labels[positions] == 2].tolist()).values()) == [2, 2, 3]


def test_batches_without_smaller_ones() -> None:
    assert [len(each) for each in whole_batches(20, 6, a_step(0).random)] == [6, 6, 6]
    assert [len(each) for each in whole_batches(4, 6, a_step(0).random)] == [4]
    drawn = endless(torch.arange(9), 4, a_step(0).random, whole=True)
    assert [len(next(drawn)) for _ in range(3)] == [4, 5, 4]  # a single left-over stays


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_steps_are_those_of_a_pass_over_all(weight: float) -> None:
    made, _ = method(consistency_weight=weight)
    clean = torch.where(torch.arange(N) % CLASSES < 3, 1.0, 0.5)
    draws = made.batches(clean, a_step(0))
    assert len(draws) == N // B
    assert all(draw.num_labeled == B for draw in draws)
    assert bool(torch.cat([draw.positions[:B] for draw in draws]).remainder(CLASSES).lt(3).all())
    others = torch.cat([draw.positions[B:] for draw in draws])
    assert len(others.unique()) == len(others) == (B * (N // B) if weight else 0)


# ---- one step


def slow_step(network: Network, batch: Batch, labels: Tensor, weight: float) -> Tensor:
    """Cross-entropy of the pool of both strong views, and cosines, an image at a time."""
    n, rows = batch.num_labeled, len(batch.index)
    views = [0, 1, *range(batch.own, len(batch.x))]
    images = [batch.x[v, i] for v in views for i in range(n)]
    wanted = [int(labels[batch.index[i]]) for _ in views for i in range(n)]
    mix = draw_mix(replace(batch, x=batch.x[views, :n]), 4.0, a_step(0).random)  # the same draws again
    lam, total = mix.coefficient, torch.zeros(())
    for i, image in enumerate(images):
        j = int(mix.partner[i])
        logp = network((lam * image + (1 - lam) * images[j])[None])[0].log_softmax(0)
        total = total - (lam * logp[wanted[i]] + (1 - lam) * logp[wanted[j]]) / len(images)

    def projected(x: Tensor) -> Tensor:
        out: Tensor = network.heads["projection"](network.features(x).mean((2, 3)))
        return out

    for i in range(n, rows):
        z = projected(batch.x[2, i][None]).detach()[0]
        p = network.heads["prediction"](projected(batch.x[0, i][None]))[0]
        total = total - weight * torch.dot(p, z) / (p.norm() * z.norm()) / (rows - n)
    return total


@pytest.mark.parametrize("masked", [0, 1])
def test_a_step_is_the_published_one(masked: int) -> None:
    """Value and gradients, with a masked view that has no part in the consistency."""
    made, network = method(consistency_weight=0.7)
    made.labels = (made.labels + torch.arange(N) // 20) % CLASSES
    batch = replace(a_batch(B + 3, views=4 + masked, num_labeled=4), own=4)
    own = batch.believing(made.believe(batch, Look([network], batch.x, "eval"), a_step(0)))
    found = made.losses(Forward(network), own, a_step(0))
    assert found.shape == (4 + masked, B + 3)
    slow = slow_step(network, batch, made.labels, 0.7)
    assert float(found.mean().detach()) == pytest.approx(float(slow.detach()), rel=1e-5)
    same_gradients(network, found.mean(), slow)


def test_consistency_has_no_gradient_through_the_weak_view_and_lies_between_bounds() -> None:
    made, network = method()
    network.train()
    batch = a_batch(B, views=4, num_labeled=2)
    x = batch.x.clone().requires_grad_(True)
    found = made._inconsistency(Forward(network), replace(batch, x=x))
    assert found.shape == (4,)
    assert bool((found.abs() <= 1 + 1e-6).all())
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert gradient[0, 2:].any()
    assert not gradient[1:].any()
    assert not gradient[:, :2].any()


def test_without_consistency_both_heads_have_no_gradient() -> None:
    made, network = method(consistency_weight=0.0)
    batch = a_batch(B, views=4)
    made.losses(Forward(network), batch, a_step(0)).mean().backward()
    assert all(parameter.grad is None for parameter in network.heads.parameters())
    assert network.classifier.weight.grad is not None


def test_masked_views_may_stand_in_the_place_of_all() -> None:
    made, network = method()
    batch = replace(a_batch(B, views=2, num_labeled=3), own=0)
    found = made.losses(Forward(network), batch, a_step(0))
    assert found.shape == (2, B)
    assert not found[:, 3:].any()


@pytest.mark.parametrize(
    ("where", "relabel_above", "alpha", "epochs", "last_rate"),
    [
        (("data=cifar10",), 0.9, 4.0, 300, 4e-4),
        (("data=cifar100", "noise.rate=0.2"), 0.9, 4.0, 300, 4e-4),
        (("data=cifar100", "noise.rate=0.9"), 0.8, 4.0, 300, 4e-4),
        (("data=animal10n",), 0.95, 0.5, 150, 2e-4),
        (("data=clothing1m",), 0.99, 0.5, 150, 2e-5),
        (("data=webvision",), 0.95, 0.5, 150, 1e-4),
    ],
)
def test_published_settings(
    where: tuple[str, ...], relabel_above: float, alpha: float, epochs: int, last_rate: float
) -> None:
    config = config_of("base_method=ssr", "trainer=ssr", "data.root=/nowhere", *where)
    own, trainer = config["base_method"], config["trainer"]
    assert (own["relabel_above"], own["alpha"], trainer["epochs"]) == (relabel_above, alpha, epochs)
    assert learning_rate(epochs - 1, trainer) == pytest.approx(last_rate, rel=2e-3)
