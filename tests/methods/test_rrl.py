"""RRL and its parts against slow, obvious implementations of their formulas."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sanm.config.phases import phases_of
from sanm.methods.rrl import RobustRepresentation
from sanm.network import Network
from sanm.parts.contrast import unit_length
from sanm.parts.mixup import draw_mix_within
from sanm.step import Batch, Forward, Look, Step
from sanm.survey import Survey
from tests.conftest import config_of
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, settings_of

N, B, WIDTH, TAU = 40, 6, 5, 0.3


def method(**changes: Any) -> tuple[RobustRepresentation, Network]:
    torch.manual_seed(1)
    network = networks(1)[0]
    small = {"width": WIDTH, "neighbours": 4, "low": 0.35, "high": 0.6, "prototype_ramp": 8}
    made = RobustRepresentation(settings_of("rrl", **{**small, **changes}), a_task(N, B))
    made.attach([network], torch.zeros(2, 3, 8, 8))
    made.prototypes.copy_(unit_length(torch.randn(CLASSES, WIDTH)))
    made.soft.copy_((3 * torch.randn(N, CLASSES)).softmax(1))
    return made, network


def at(phase: int, epoch: int = 2, begin: int = 0) -> Step:
    return replace(a_step(epoch), phase=phase, begin=begin)


def believed(made: RobustRepresentation, batch: Batch, step: Step, network: Network) -> Batch:
    return batch.believing(made.believe(batch, Look([network], batch.x, "eval"), step))


# ---- one step


def slow_step(made: RobustRepresentation, network: Network, batch: Batch, phase: int) -> Tensor:
    rows = [made.soft[int(i)].tolist() for i in batch.index]
    labels = [row.index(max(row)) for row in rows] if phase == 2 else batch.given.tolist()
    sure = [max(row) > 0.6 for row in rows] if phase == 2 else [True] * B
    clean = [i for i in range(B) if sure[i]]

    def embedded(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = network.features(image[None]).mean((2, 3))
        e = network.heads["embedding"](features)
        error = ((torch.relu(network.heads["feature_decoder"][0](e)) - features) ** 2).mean()  # type: ignore[index]
        return e[0] / e[0].norm(), network.classifier(features)[0].log_softmax(0), error

    weak, strong = ([embedded(batch.x[view, i]) for i in range(B)] for view in (0, 1))
    total = sum(-weak[i][1][labels[i]] for i in clean) / max(1, len(clean))
    total = total + sum(weak[i][2] for i in range(B)) / B
    if not phase:
        return torch.as_tensor(total)
    total = total + sum(strong[i][2] for i in range(B)) / B
    for i in range(B):
        own = torch.dot(weak[i][0], strong[i][0]) / TAU
        others = [torch.dot(weak[i][0], view[j][0]) / TAU for view in (weak, strong) for j in range(B) if j != i]
        total = total + (torch.logsumexp(torch.stack([own, *others]), 0) - own) / B

    mix = draw_mix_within(torch.tensor(sure).expand(2, -1), 8.0, a_step(0).random)  # the same draws again
    lam, images = mix.coefficient, batch.x.flatten(0, 1)
    proto = torch.zeros(())
    for row in (view * B + i for view in (0, 1) for i in clean):
        other = int(mix.partner[row])
        v = embedded(lam * images[row] + (1 - lam) * images[other])[0]
        logp = (made.prototypes @ v / TAU).log_softmax(0)
        proto = proto - (lam * logp[labels[row % B]] + (1 - lam) * logp[labels[other % B]]) / (2 * max(1, len(clean)))
    return torch.as_tensor(total + (1 + 2 * 4 / 8) * proto)


@pytest.mark.parametrize("phase", [0, 1, 2])
def test_a_step_is_the_published_one(phase: int) -> None:
    """Value and gradients: before there are prototypes, with them, and with labels that were cleaned."""
    made, network = method()
    batch = replace(a_batch(B, views=2), index=torch.tensor([7, 3, 30, 11, 2, 19]))
    own = believed(made, batch, at(phase), network)
    found = made.losses(Forward(network), own, at(phase))
    assert found.shape == (2, B)
    slow = slow_step(made, network, batch, phase)
    assert float(found.mean().detach()) == pytest.approx(float(slow.detach()), rel=1e-5)
    parameters = list(network.parameters())
    fast, plain = (torch.autograd.grad(each, parameters, allow_unused=True) for each in (found.mean(), slow))
    for one, other in zip(fast, plain, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other, atol=1e-5)


def test_nobody_sure_is_finite_and_reconstruction_alone_reaches_the_decoder() -> None:
    made, network = method(reconstruction_weight=0.0)
    made.soft.fill_(1 / CLASSES)
    batch = a_batch(B, views=2)
    loss = made.losses(Forward(network), believed(made, batch, at(2), network), at(2)).mean()
    assert bool(loss.isfinite())
    loss.backward()
    assert not any(each.grad.any() for each in network.heads["feature_decoder"].parameters())  # type: ignore[union-attr]
    assert network.heads["embedding"].weight.grad.any()  # type: ignore[union-attr, operator]


def test_masked_views_have_losses_of_their_own() -> None:
    """Behind the two views, and in their place."""
    made, network = method()
    for own in (2, 0):
        batch = replace(a_batch(B, views=own + 1), own=own)
        found = made.losses(Forward(network), believed(made, batch, at(2), network), at(2))
        assert found.shape == (own + 1, B)
        assert bool(found.isfinite().all())


def test_on_the_first_view_alone_mixing_leaves_the_others() -> None:
    made, network = method(mixed_views="first")
    batch = a_batch(B, views=2)
    other = replace(batch, x=torch.cat([batch.x[:1], torch.randn(1, B, 3, 8, 8)]))
    found = [made._of_prototypes(network, each, torch.ones(B).bool(), at(1)) for each in (batch, other)]
    assert found[0].shape == (1, B)
    assert torch.equal(*found)


def test_rows_are_mixed_within_their_group() -> None:
    groups = torch.tensor([[True, False, True, True, False], [False, False, True, True, True]])
    mix = draw_mix_within(groups, 8.0, a_step(0).random)
    assert sorted(mix.partner.tolist()) == list(range(10))
    assert torch.equal(groups.flatten()[mix.partner], groups.flatten())
    assert not torch.equal(mix.partner, torch.arange(10))
    assert 0 < mix.coefficient < 1


# ---- labels


class Known:
    """A survey whose embeddings and predictions are given."""

    def __init__(self, embeddings: Tensor, probs: Tensor, given: Tensor) -> None:
        self.embeddings, self.seen, self.given, self.index = embeddings, probs, given, torch.arange(len(given))

    def features(self, k: int, head: str) -> Tensor:
        assert head == "embedding"
        return self.embeddings

    def probs(self, k: int) -> Tensor:
        return self.seen


def slow_cleaning(soft: list[list[float]] | None, z: Any, p: Any, y: list[int], k: int) -> list[list[float]]:
    def confirmed(rows: list[list[float]]) -> list[list[float]]:
        return [
            [float(c == y[i]) for c in range(CLASSES)] if row[y[i]] > 0.35 else list(row) for i, row in enumerate(rows)
        ]

    old = confirmed(p.tolist()) if soft is None else soft
    new = []
    for i in range(len(y)):
        nearest = sorted((j for j in range(len(y)) if j != i), key=lambda j: -float(z[i] @ z[j]))[:k]
        weights = [math.exp(float(z[i] @ z[j]) / TAU) for j in nearest]
        vote = [sum(w * old[j][c] for w, j in zip(weights, nearest, strict=True)) / sum(weights) for c in range(4)]
        new.append([(vote[c] + float(p[i, c])) / 2 for c in range(CLASSES)])
    return confirmed(new)


def test_labels_are_cleaned_as_published() -> None:
    """Twice: first from predictions, then from what the first time left."""
    made, _ = method()
    generator = torch.Generator().manual_seed(0)
    truth = torch.arange(N) % CLASSES
    given = torch.where(torch.rand(N, generator=generator) < 0.3, (truth + 1) % CLASSES, truth)
    soft = None
    for epoch in (5, 6):
        z = unit_length(torch.eye(CLASSES, WIDTH)[truth] + 0.4 * torch.randn(N, WIDTH, generator=generator))
        p = (2 * torch.eye(CLASSES)[truth] + torch.randn(N, CLASSES, generator=generator)).softmax(1)
        survey: Any = Known(2 * z, p, given)
        trust = made.trust(survey, 0, at(2, epoch, begin=5))
        soft = slow_cleaning(soft, z, p, given.tolist(), 4)
        assert torch.allclose(made.soft, torch.tensor(soft), atol=1e-5)
        assert trust is not None
        assert trust.tolist() == pytest.approx([soft[i][int(given[i])] for i in range(N)], abs=1e-5)
        for c in range(CLASSES):
            members = [z[i] for i in range(N) if max(soft[i]) > 0.6 and soft[i].index(max(soft[i])) == c]
            mean = torch.stack(members).mean(0)
            assert torch.allclose(made.prototypes[c], mean / mean.norm(), atol=1e-5)
    hard = torch.tensor([row.index(max(row)) for row in soft or []])
    assert int((hard == truth).sum()) > int((given == truth).sum())
    batch = replace(a_batch(B), index=torch.arange(B), given=given[:B])
    assert torch.equal(made.believe(batch, Look([], batch.x, "eval"), at(2)).argmax(1), hard[:B])
    assert torch.equal(made.keeps_label(torch.tensor([0.5, 0.7]), 6), torch.tensor([False, True]))


def test_before_labels_are_cleaned_prototypes_are_of_the_given_ones() -> None:
    made, network = method()
    survey = a_survey([network], N)
    assert made.trust(survey, 0, at(1)) is None
    z = unit_length(survey.features(0, "embedding"))
    for c in range(CLASSES):
        mean = z[survey.given == c].mean(0)
        assert torch.allclose(made.prototypes[c], mean / mean.norm(), atol=1e-5)


def test_a_class_without_a_sure_sample_keeps_its_prototype() -> None:
    made, _ = method()
    before = made.prototypes.clone()
    made._take_prototypes(torch.eye(CLASSES, WIDTH), torch.arange(CLASSES), torch.arange(CLASSES) < 2)
    assert torch.equal(made.prototypes[2:], before[2:])
    assert torch.allclose(made.prototypes[:2], torch.eye(CLASSES, WIDTH)[:2])


def test_other_samples_begin_anew() -> None:
    """An epoch of some samples has no soft labels of before to go on with."""
    made, _ = method()
    z, p = unit_length(torch.randn(8, WIDTH)), torch.rand(8, CLASSES).softmax(1)
    survey: Any = Known(z, p, torch.arange(8) % CLASSES)
    survey.index = torch.arange(8) + 10
    before = made.soft.clone()
    made.trust(survey, 0, at(2, 7, begin=5))
    expected = slow_cleaning(None, z, p, survey.given.tolist(), 1)
    assert torch.allclose(made.soft[10:18], torch.tensor(expected), atol=1e-5)
    assert torch.equal(made.soft[:10], before[:10])


def test_prototypes_are_asked_for_from_the_second_phase_on() -> None:
    made, network = method()
    survey: Survey = a_survey([network], N)
    assert not made.needs_clean_probability(0)
    made.enter(1, survey)
    again, _ = method()
    again.load_state_dict(made.state_dict())
    assert again.needs_clean_probability(1)


def test_published_lengths_are_the_published_phases() -> None:
    published = ("base_method=rrl", "trainer=rrl", "data=cifar10", "data.root=/nowhere", "base_method.clean_from=0.025")
    assert [phase.begin for phase in phases_of(config_of(*published))] == [0, 1, 5]
