"""MOIT, MOIT+ and their parts against slow, obvious implementations of their formulas."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sanm.config.phases import phases_of
from sanm.data import TrainingSet
from sanm.methods.moit import MultiObjectiveInterpolationTraining
from sanm.methods.moit_plus import FineTuned
from sanm.network import Network
from sanm.parts.contrast import mixed_contrast, unit_length
from sanm.parts.memory import Queue
from sanm.parts.mixup import draw_mix_of_each_view
from sanm.parts.neighbours import agreement, nearest, votes
from sanm.step import Batch, Forward, Look, Step
from tests.conftest import config_of
from tests.every import tiny_trainer
from tests.methods.conftest import CLASSES, a_batch, a_step, a_task, networks, settings_of

N, B = 20, 5


def method(made: type[Any] = MultiObjectiveInterpolationTraining, **changes: Any) -> tuple[Any, Network]:
    """The method with a memory of 20 rows, and its network."""
    name = "moit_plus" if made is FineTuned else "moit"
    torch.manual_seed(1)
    network = networks(1)[0]
    own = made(settings_of(name, **{"memory_per_class": 1, "memory_from": 0, **changes}), a_task(N, 4))
    own.attach([network], torch.zeros(2, 3, 8, 8))
    return own, network


# ---- one step


def slow_step(
    network: Network, batch: Batch, believed: Tensor, stored: list[tuple[Tensor, int]], settings: Any, gated: bool
) -> Tensor:
    """The mean loss over anchors; ``stored`` are the embeddings of earlier steps with their labels."""
    views, rows = batch.x.shape[:2]
    mix = draw_mix_of_each_view(batch, 1.0, a_step(0).random)  # the same draws again
    images, kept, partners = [], [], []
    for s in range(views):
        lam, pi = mix.coefficients[s], mix.partners[s].tolist()
        for i in range(rows):
            images.append(lam * batch.x[s, i] + (1 - lam) * batch.x[s, pi[i]])
            kept.append(lam)
            partners.append(pi[i])
    features = network.features(torch.stack(images)).mean((2, 3))
    logp = network.classifier(features).log_softmax(1)
    z = network.heads["projection"](features)
    z = z / z.norm(dim=1, keepdim=True)
    y = [int(label) for label in batch.given] * views
    anchors = [(z[a], y[a], ("now", a)) for a in range(len(y))]
    memory = [(each.detach(), label, place) for each, label, place in anchors]
    memory = [*((each, label, ("then", n)) for n, (each, label) in enumerate(stored)), *memory]

    total = torch.zeros(())
    for a in range(len(y)):
        i, j, lam = a % rows, partners[a], kept[a]
        target = lam * believed[i] + (1 - lam) * believed[j]
        if gated:
            trusted = [float(each >= 0.5) for each in batch.clean]
            guess = believed[j] if not trusted[j] else torch.zeros(CLASSES)
            target = lam * believed[i] + (1 - lam) * (trusted[i] * torch.eye(CLASSES)[y[j]] + (1 - trusted[j]) * guess)
        total = total - (target * logp[a]).sum()
        for compared in (anchors, memory):
            others = [(other, label, place) for other, label, place in compared if place != ("now", a)]
            scores = torch.stack([torch.dot(z[a], other) / settings["temperature"] for other, _, _ in others])
            log_probs = scores - torch.logsumexp(scores, 0)
            for weight, label in ((lam, y[a]), (1 - lam, y[j])):
                counts = torch.tensor([float(other == label) for _, other, _ in others])
                if label == y[j] and weight == 1 - lam:
                    for n, (_, _, (when, place)) in enumerate(others):
                        counts[n] += (settings["partner_weight"] - 1) * (when == "now" and place % rows == j)
                if counts.sum():
                    total = total - weight * (counts * log_probs).sum() / counts.sum()
    return total / len(y)


@pytest.mark.parametrize(("phase", "gate", "weight"), [(0, "partner", 1), (1, "partner", 2), (1, "image", 1)])
def test_two_steps_are_the_published_ones(phase: int, gate: str, weight: int) -> None:
    """Value and gradients; the second step is compared with the memory of the first."""
    made, network = method(partner_gate=gate, partner_weight=weight)
    stored: list[tuple[Tensor, int]] = []
    for seed in (0, 1):
        batch = a_batch(B, views=2, seed=seed)
        step = replace(a_step(6, seed=0), phase=phase)
        look = Look([network], a_batch(B, seed=9).x, "eval")
        own = batch.believing(made.believe(batch, look, step))
        found = made.losses(Forward(network), own, step)
        assert found.shape == (2, B)

        guessed = network(look.x[0]).softmax(1).detach()
        believed = batch.y[0] if not phase else torch.where(batch.clean[:, None] >= 0.5, batch.y[0], guessed)
        settings = made.settings
        slow = slow_step(network, batch, believed, stored, settings, gate == "image")
        assert float(found.mean().detach()) == pytest.approx(float(slow.detach()), rel=1e-5)
        parameters = list(network.parameters())
        for one, other in zip(
            torch.autograd.grad(found.mean(), parameters), torch.autograd.grad(slow, parameters), strict=True
        ):
            assert torch.allclose(one, other, atol=1e-5)
        rows, labels = made.memory.content()
        stored = list(zip(rows.clone(), labels.tolist(), strict=True))
        assert len(stored) == 2 * B * (seed + 1)


def test_the_memory_is_first_left_alone() -> None:
    made, network = method(memory_from=3)
    batch = a_batch(B, views=2)
    early = made.losses(Forward(network), batch, a_step(2))
    again, _ = method(memory_from=0)
    assert (again.losses(Forward(network), batch, a_step(2)) > early).all()
    assert len(made.memory.content()[0]) == 2 * B


@pytest.mark.parametrize("views", [1, 3])
def test_other_numbers_of_views_and_a_lonely_label_are_finite(views: int) -> None:
    made, network = method()
    batch = replace(a_batch(B, views=views), given=torch.tensor([0, 1, 1, 2, 3]))
    assert made.losses(Forward(network), batch, a_step(5)).isfinite().all()


# ---- parts


def test_the_queue_wraps_as_published() -> None:
    """Ten places, batches of four: the third takes the last places, the fourth begins anew."""
    queue, firsts = Queue(10, 2), []
    for batch in (1, 2, 3):
        firsts.append(queue.push(torch.full((4, 2), float(batch)), torch.full((4,), batch)))
        if batch == 1:
            assert queue.content()[1].tolist() == [1] * 4
    assert queue.content()[1].tolist() == [1, 1, 1, 1, 2, 2, 3, 3, 3, 3]
    assert firsts == [0, 4, 6]
    again = Queue(10, 2)
    again.load_state_dict(queue.state_dict())
    assert again.push(torch.full((4, 2), 4.0), torch.full((4,), 4)) == 0
    assert again.content()[1].tolist() == [4, 4, 4, 4, 2, 2, 3, 3, 3, 3]
    assert torch.equal(again.content()[0][:, 0], again.content()[1].float())


def test_with_all_of_itself_a_row_has_no_minor_label() -> None:
    z = unit_length(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
    itself, major = torch.eye(4).bool(), torch.ones(4, 4)
    some, other = ((major, torch.eye(4).roll(k, 0)) for k in (1, 2))
    found = [mixed_contrast(z, z, itself, each, torch.ones(4), 0.1) for each in (some, other)]
    assert torch.equal(*found)


def test_each_view_is_mixed_within_itself() -> None:
    batch = a_batch(B, views=3)
    mix = draw_mix_of_each_view(batch, 1.0, a_step(0).random)
    assert len(set(mix.coefficients)) == 3
    for view, (kept, partners) in enumerate(zip(mix.coefficients, mix.partners, strict=True)):
        assert 0.5 <= kept <= 1
        assert sorted(partners.tolist()) == list(range(B))
        expected = kept * batch.x[view] + (1 - kept) * batch.x[view][partners]
        assert torch.allclose(mix(batch.x)[view], expected, atol=1e-6)
        assert torch.equal(mix.kept()[view], torch.full((B,), kept))


def slow_agreement(z: Any, given: list[int], k: int, quantile: float) -> tuple[list[bool], list[float]]:
    def vote(labels: list[int]) -> list[list[float]]:
        rows = []
        for i in range(len(z)):
            others = sorted((j for j in range(len(z)) if j != i), key=lambda j: -float(z[i] @ z[j]))[:k]
            rows.append([sum(labels[j] == c for j in others) / k for c in range(CLASSES)])
        return rows

    corrected = [int(np.argmax(row)) for row in vote(given)]
    second = vote(corrected)
    p = [second[i][given[i]] for i in range(len(z))]
    agree = [int(np.argmax(second[i])) == given[i] for i in range(len(z))]
    counts = sorted(sum(agree[i] for i in range(len(z)) if given[i] == c) for c in range(CLASSES))
    quota = counts[math.floor(quantile * (CLASSES - 1))]
    selected = [False] * len(z)
    for c in range(CLASSES):
        own = [i for i in range(len(z)) if given[i] == c]
        for i in sorted(own, key=lambda i: -math.log(min(max(p[i], 0.01), 0.99)), reverse=False)[:quota]:
            selected[i] = True
    return selected, p


@pytest.mark.parametrize("quantile", [0.25, 0.5, 0.75])
def test_the_vote_is_the_published_one(quantile: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sanm.parts.neighbours.AT_ONCE", 400)  # several blocks
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, CLASSES, (60,), generator=generator)
    z = unit_length(torch.eye(CLASSES)[truth] + 0.5 * torch.randn(60, CLASSES, generator=generator))
    given = torch.where(torch.rand(60, generator=generator) < 0.3, (truth + 1) % CLASSES, truth)
    found = agreement(z, given, CLASSES, 7, quantile)
    selected, p = slow_agreement(z.double().numpy(), given.tolist(), 7, quantile)
    assert found.votes.tolist() == pytest.approx(p)
    for c in range(CLASSES):
        assert int(found.selected[given == c].sum()) == sum(
            s for s, y in zip(selected, given.tolist(), strict=True) if y == c
        )
    least = {
        c: min(p[i] for i in range(60) if selected[i] and given[i] == c)
        for c in set(given[torch.tensor(selected)].tolist())
    }
    assert all(float(found.votes[i]) >= least[int(given[i])] - 1e-6 for i in found.selected.nonzero()[:, 0].tolist())


def test_clustered_features_correct_labels_to_the_majority_and_a_lost_class_does_not_matter() -> None:
    clusters = torch.tensor([0] * 8 + [1] * 8)
    z, given = torch.eye(2)[clusters], clusters.clone()
    given[[0, 9]] = 1 - given[[0, 9]]
    assert torch.equal(votes(given, nearest(z, 7), 2).argmax(1), clusters)
    found = agreement(z, given, 3, 7, 0.9)  # nobody has the third label
    assert not found.selected[[0, 9]].any()
    assert bool(found.selected.any())


def test_no_sample_is_a_neighbour_of_its_own() -> None:
    z = unit_length(torch.ones(9, 3))
    assert not (nearest(z, 8) == torch.arange(9)[:, None]).any()


# ---- trust, and tuning


class Known:
    """A survey whose projections are clusters."""

    def __init__(self, embeddings: Tensor, given: Tensor) -> None:
        self.embeddings, self.given = embeddings, given

    def features(self, k: int, head: str) -> Tensor:
        assert head == "projection"
        return self.embeddings


def test_trust_is_above_a_half_for_those_selected_alone() -> None:
    made, _ = method(neighbours=5)
    truth = torch.arange(80) % CLASSES
    given = truth.clone()
    given[:16] = (given[:16] + 1) % CLASSES
    trust = made.trust(Known(3 * torch.eye(CLASSES)[truth] + 0.01, given), 0, a_step(5))
    assert bool(((trust >= 0) & (trust <= 1)).all())
    kept = made.keeps_label(trust, 5)
    assert not kept[:16].any()
    assert bool(kept[16:].any())


def tuning(epoch: int) -> Step:
    return replace(a_step(epoch), phase=2, epochs=32)


def test_tuning_sees_the_trusted_alone_and_classifies_them() -> None:
    made, network = method(FineTuned)
    clean = torch.where(torch.arange(N) % 2 == 0, 0.9, 0.1)
    seen = torch.cat([draw.positions for draw in made.batches(clean, tuning(26))])
    assert sorted(seen.tolist()) == list(range(0, N, 2))
    with pytest.warns(UserWarning, match="few labels"):
        assert sum(draw.num_labeled for draw in made.batches(torch.zeros(N), tuning(26))) == N

    batch = a_batch(B)
    found = made.losses(Forward(network), batch, tuning(26))
    mix = draw_mix_of_each_view(batch, 1.0, a_step(0).random)
    lam, pi = mix.coefficients[0], mix.partners[0]
    logp = network(lam * batch.x[0] + (1 - lam) * batch.x[0][pi]).log_softmax(1)
    slow = [-(lam * logp[i, batch.given[i]] + (1 - lam) * logp[i, batch.given[pi[i]]]) for i in range(B)]
    assert torch.allclose(found[0], torch.stack(slow), atol=1e-5)
    assert not len(made.memory.content()[0])


def test_late_tuning_bootstraps() -> None:
    made, network = method(FineTuned)
    batch = a_batch(B)
    look = Look([network], batch.x, "eval")
    assert torch.equal(made.believe(batch, look, tuning(27)), batch.y[0])  # the share begins at 28 of 32
    for row, target in enumerate(made.believe(batch, look, tuning(28))):
        guess = int(network(batch.x[0])[row].argmax())
        expected = [0.8 * (c == int(batch.given[row])) + 0.2 * (c == guess) for c in range(CLASSES)]
        assert target.tolist() == pytest.approx(expected)


def test_published_lengths_are_the_published_phases() -> None:
    moit = phases_of(config_of("base_method=moit", "trainer=moit", "data=digits"))
    assert [phase.begin for phase in moit] == [0, 130]
    plus = phases_of(config_of("base_method=moit_plus", "trainer=moit_plus", "data=digits"))
    assert [phase.begin for phase in plus] == [0, 130, 250]
    assert [phase.trainer["lr"] for phase in plus] == [0.1, 0.1, 0.02]
    assert plus[2].trainer["milestones"] == []


def test_trust_is_taken_once_as_tuning_begins(training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the network that was trained until then."""
    made = tiny_trainer(training_set, "base_method=moit_plus", "components=none", "trainer.epochs=8")
    assert [phase.begin for phase in made.phases] == [0, 3, 6]
    asked, trust = [], made.method.trust
    weights = []

    def noted(*about: Any) -> Tensor | None:
        asked.append(made.epochs_done)
        weights.append(made.networks[0].classifier.weight.clone())  # type: ignore[union-attr, operator]
        return trust(*about)

    monkeypatch.setattr(made.method, "trust", noted)
    for _ in range(6):
        made.train_epoch(lambda step, steps: None)
    trained = made.networks[0].classifier.weight.clone()  # type: ignore[union-attr, operator]
    for _ in range(2):
        made.train_epoch(lambda step, steps: None)
    kept = made.quality.probability.clone()
    made.measure_and_predict()
    assert asked == [1, 2, 3, 4, 5, 6]
    assert torch.equal(weights[-1], trained), "before the new classifier is drawn"
    assert torch.equal(made.quality.probability, kept)
