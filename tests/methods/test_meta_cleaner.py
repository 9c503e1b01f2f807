"""Meta-Cleaner against a slow loop over groups, and what has to hold of any reading of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sanm.methods import Method
from sanm.methods.meta_cleaner import SCORES, MetaCleaner, cleaned, groups_of_labels
from sanm.network import Network
from sanm.step import Batch, Forward
from tests.methods.conftest import CLASSES, a_batch, a_step, a_task, networks, same_gradients, settings_of

N, GROUPS, SIZE = 40, 3, 4


def method(network: Network, **changes: Any) -> MetaCleaner:
    made = MetaCleaner(settings_of("meta_cleaner", **{"images": SIZE, **changes}), a_task(N))
    torch.manual_seed(3)
    made.attach([network], torch.zeros(2, 3, 8, 8))
    return made


def grouped(views: int = 1) -> Batch:
    """Rows of three groups; the second view has soft labels that differ within a group."""
    batch = a_batch(GROUPS * SIZE, views, seed=4)
    labels = torch.arange(GROUPS).repeat_interleave(SIZE)
    y = torch.eye(CLASSES)[labels].repeat(views, 1, 1)
    y[1:] = torch.rand(views - 1, len(labels), CLASSES, generator=torch.Generator().manual_seed(1)).softmax(-1)
    return replace(batch, given=labels, y=y, own=1)


def slow_loss(network: Network, batch: Batch) -> Tensor:
    losses = []
    for view, targets in zip(batch.x, batch.y, strict=True):
        for first in range(0, len(view), SIZE):
            features = [network.features(view[i : i + 1]).mean((2, 3))[0] for i in range(first, first + SIZE)]
            context = sum(features[1:], start=features[0]) / SIZE
            scores = [network.heads[SCORES](torch.cat([each, context - each]))[0] for each in features]
            total = sum((each.exp() for each in scores[1:]), start=scores[0].exp())
            weights = [each.exp() / total for each in scores]
            mean = sum((w * each for w, each in zip(weights, features, strict=True)), start=torch.zeros(()))
            label = sum((float(w.detach()) * targets[first + i] for i, w in enumerate(weights)), start=torch.zeros(()))
            assert isinstance(mean, Tensor)
            losses.append(-(label * network.classifier(mean).log_softmax(-1)).sum())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("views", [1, 2])
def test_a_group_learns_by_its_weighted_mean(views: int) -> None:
    network, batch = networks(1)[0], grouped(views)
    losses = method(network).losses(Forward(network), batch, a_step(0))
    assert losses.shape == (views, GROUPS * SIZE)
    slow = slow_loss(network, batch)
    assert float(losses.mean().detach()) == pytest.approx(float(slow.detach()), rel=1e-5)
    same_gradients(network, losses.mean(), slow)


def test_of_one_image_it_is_cross_entropy_bit_for_bit() -> None:
    network, batch = networks(1)[0], a_batch(8)
    found = method(network, images=1).losses(Forward(network), batch, a_step(0))
    plain = Method(settings_of("ce"), a_task(N)).losses(Forward(network), batch, a_step(0))
    assert torch.equal(found, plain)
    own = list(network.own_parameters())
    for one, other in zip(torch.autograd.grad(found.mean(), own), torch.autograd.grad(plain.mean(), own), strict=True):
        assert torch.equal(one, other)


def test_weights_follow_their_images_and_equal_ones_weigh_the_same() -> None:
    network = networks(1)[0]
    method(network)
    scores, features = network.heads[SCORES], torch.randn(1, 2, SIZE, 8)
    weights, mean = cleaned(features, scores)
    assert torch.allclose(weights.sum(2), torch.ones(1, 2, 1))
    order = torch.tensor([2, 0, 3, 1])
    moved, same = cleaned(features[:, :, order], scores)
    assert torch.allclose(moved, weights[:, :, order], atol=1e-6)
    assert torch.allclose(same, mean, atol=1e-6)
    equal, _ = cleaned(features[:, :, :1].expand(-1, -1, SIZE, -1), scores)
    assert torch.allclose(equal, torch.full_like(equal, 1 / SIZE))


def test_every_sample_is_in_a_group_of_its_label() -> None:
    labels = torch.tensor([0] * 7 + [2] * 1 + [3] * 8)[torch.randperm(16, generator=torch.Generator().manual_seed(0))]
    found = groups_of_labels(labels, 4, a_step(0).random)
    assert found.shape == (2 + 1 + 2, 4)
    for group in found.tolist():
        assert len({int(labels[position]) for position in group}) == 1
    assert set(found.flatten().tolist()) == set(range(16))
    made = MetaCleaner(settings_of("meta_cleaner", images=4), a_task(N, 16))
    draws = made.batches(torch.ones(N), a_step(1))
    assert [len(draw.positions) for draw in draws] == [16, 16, 16]  # 10 samples of each of 4 labels: 3 groups each
    kinds = [sorted((draw.positions[::4] % CLASSES).tolist()) for draw in draws]
    assert any(len(set(kind)) > 1 for kind in kinds)
    drawn = replace(a_step(1), drawn=torch.tensor([0, 4, 8, 12, 1, 5, 9, 13]))
    assert sorted(torch.cat([d.positions for d in made.batches(torch.ones(8), drawn)]).tolist()) == list(range(8))


def test_a_wrong_image_of_five_comes_to_weigh_less() -> None:
    """Features of four classes with noise; each group has one of another class."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    centers = 2 * torch.eye(CLASSES)
    scores = nn.Sequential(nn.Linear(2 * CLASSES, 32), nn.ReLU(), nn.Linear(32, 1))
    classifier = nn.Linear(CLASSES, CLASSES)
    optimizer = torch.optim.Adam([*scores.parameters(), *classifier.parameters()], lr=0.01)

    def some() -> tuple[Tensor, Tensor]:
        labels = torch.randint(0, CLASSES, (64,), generator=generator)
        kinds = labels[:, None].repeat(1, 5)
        kinds[:, 0] = (labels + torch.randint(1, CLASSES, (64,), generator=generator)) % CLASSES
        return centers[kinds] + 0.5 * torch.randn(64, 5, CLASSES, generator=generator), labels

    for _ in range(100):
        features, labels = some()
        _, mean = cleaned(features[None], scores)
        optimizer.zero_grad()
        cross_entropy(classifier(mean[0]), labels).backward()
        optimizer.step()
    weights, _ = cleaned(some()[0][None], scores)
    assert float(weights[0, :, 0].mean().detach()) < 0.1


def test_the_classifier_that_predicts_has_no_more_weights() -> None:
    network = networks(1)[0]
    before = sum(each.numel() for each in network.parameters())
    method(network)
    assert sum(each.numel() for each in network.own_parameters()) == before
    assert network.predicting == ()
