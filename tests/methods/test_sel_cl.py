"""Sel-CL and its parts against slow, obvious implementations of their formulas."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sanm.config.phases import phases_of
from sanm.methods.sel_cl import SelectiveContrast
from sanm.network import Network
from sanm.parts.average import follow
from sanm.parts.bounded import with_bounded_gradient
from sanm.parts.contrast import instance_contrast, mixed_similarity, unit_length
from sanm.parts.memory import Keys
from sanm.parts.mixup import draw_mix_of_each_view
from sanm.parts.neighbours import agreement, votes
from sanm.parts.pairs import BelievedPairs, similar_within
from sanm.step import Batch, Forward, Step
from tests.conftest import config_of
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, settings_of

N, B = 24, 5


def method(**changes: Any) -> tuple[SelectiveContrast, Network]:
    """The method with memories of 24 rows and 7 keys, half of the samples selected, and its network."""
    torch.manual_seed(1)
    network = networks(1)[0]
    small = {"memory_per_class": 3, "memory_from": 0, "keys": 7, "similarity_weight": 0.5, "similarity_norm": 0.002}
    made = SelectiveContrast(settings_of("sel_cl", **{**small, **changes}), a_task(N, 4))
    made.attach([network], torch.zeros(2, 3, 8, 8))
    for average in made.averages:
        average.eval()
    random = a_step(0).random
    embeddings = unit_length(torch.randn(N, 128) + 6 * torch.randn(CLASSES, 128)[made.pairs.given])
    made.pairs.renew(torch.arange(N), embeddings, torch.arange(N) % 3 > 0, 0.5, random)
    return made, network


def at(phase: int, seed: int = 0) -> Step:
    return replace(a_step(6, seed=seed), phase=phase, epochs=32)


def a_drawn(labeled: int, seed: int = 0) -> Batch:
    """Two views of samples at random positions, with their given labels."""
    batch = a_batch(B + labeled, views=2, num_labeled=labeled, seed=seed)
    given = batch.index % CLASSES
    return replace(batch, given=given, y=torch.eye(CLASSES)[given].expand_as(batch.y))


# ---- one step


def seen(network: Network, image: Tensor) -> tuple[Tensor, Tensor]:
    features = network.features(image[None]).mean((2, 3))
    z = network.heads["projection"](features)[0]
    return z / z.norm(), network.classifier(features)[0].softmax(0)


def is_pair(pairs: BelievedPairs, i: int, j: int) -> bool:
    if i == j:
        return True
    similarity = float(torch.dot(pairs.embeddings[i], pairs.embeddings[j]))
    both = bool(pairs.selected[i]) and bool(pairs.selected[j])
    return int(pairs.given[i]) == int(pairs.given[j]) and (both or similarity >= float(pairs.threshold))


def slow_step(made: SelectiveContrast, network: Network, batch: Batch, memory: list[Any], keys: list[Tensor]) -> Tensor:
    """The loss of a step; ``memory`` and ``keys`` are what earlier steps stored, and take what this one does."""
    settings, n, random = made.settings, batch.num_labeled, a_step(0).random
    average: Any = made.averages[0]
    rows = replace(batch, x=batch.x[:, n:])
    mix = draw_mix_of_each_view(rows, 1.0, random)  # the same draws again
    positions, labels = batch.index[n:].tolist(), batch.given.tolist()

    alone, pushed = [], []
    for i in range(B):
        z, key = seen(network, batch.x[0, n + i])[0], seen(average, batch.x[1, n + i])[0].detach()
        scores = torch.stack([torch.dot(z, other) / 0.1 for other in [key, *keys]])
        alone.append(torch.logsumexp(scores, 0) - scores[0])
        pushed.append(key)
    keys[:] = [*keys, *pushed][len(pushed) :]

    anchors, stored = [], []
    for s in range(2):
        for i in range(B):
            lam, j = mix.coefficients[s], int(mix.partners[s, i])
            image = lam * batch.x[s, n + i] + (1 - lam) * batch.x[s, n + j]
            anchors.append((*seen(network, image), positions[i], ("now", s, i)))
            z, p = seen(average, image)
            stored.append((z.detach(), p.detach(), positions[i], ("now", s, i)))
    memory[:] = [(z, p, i, None) for z, p, i, _ in memory] + stored

    contrast, similar, partners = torch.zeros(()), torch.zeros(()), [0] * B
    for others in (anchors, memory):
        for s in range(2):
            for i in range(B):
                z, p, own, place = anchors[s * B + i]
                lam, j = mix.coefficients[s], int(mix.partners[s, i])
                rest = [each for each in others if each[3] != place]
                scores = torch.stack([torch.dot(z, each[0]) / 0.1 for each in rest])
                log_probs = scores - torch.logsumexp(scores, 0)
                major = torch.tensor([float(is_pair(made.pairs, own, each[2])) for each in rest])
                minor = torch.tensor([float(is_pair(made.pairs, positions[j], each[2])) for each in rest])
                for k, each in enumerate(rest):
                    of_partner = each[3] is not None and each[3][2] == j
                    minor[k] += (settings["partner_weight"] - 1) * of_partner
                others_alike = sum(float(major[k]) for k, each in enumerate(rest) if (each[3] or (0, 0, -1))[2] != i)
                if s == 0:
                    partners[i] += int(others_alike)
                if others_alike:
                    for weight, alike in ((lam, major), (1 - lam, minor)):
                        contrast = contrast - weight * (alike * log_probs).sum() / alike.sum() / (2 * B)
                for k, each in enumerate(rest):
                    target, product = lam * major[k] + (1 - lam) * minor[k], torch.dot(p, each[1])
                    entropy = target * (product + 1e-7).log() + (1 - target) * (1 - product + 1e-7).log()
                    similar = similar - entropy / (2 * B * len(others))
    lonely = sum((alone[i] for i in range(B) if partners[i] < 2), torch.zeros(())) / B

    own = replace(batch, x=batch.x[:, :n])
    mix = draw_mix_of_each_view(own, 1.0, random)
    classified = torch.zeros(())
    for s in range(2):
        for i in range(n):
            lam, j = mix.coefficients[s], int(mix.partners[s, i])
            logp = network((lam * own.x[s, i] + (1 - lam) * own.x[s, j])[None])[0].log_softmax(0)
            classified = classified - (lam * logp[labels[i]] + (1 - lam) * logp[labels[j]]) / (2 * n)

    parameters = list(network.parameters())
    gradients = torch.autograd.grad(0.5 * similar, parameters, retain_graph=True, allow_unused=True)
    length = math.sqrt(sum(float((each**2).sum()) for each in gradients if each is not None))
    assert length > 0.002, "the bound is reached"
    return lonely + contrast + classified + 0.5 * similar * 0.002 / (length + 1e-6)


@pytest.mark.parametrize("weight", [1, 2])
def test_steps_are_the_published_ones(weight: int) -> None:
    """Value, gradients and memories; the second step is compared with the memory of the first."""
    made, network = method(partner_weight=weight)
    memory: list[Any] = []
    keys = list(made.keys.rows.clone())
    for seed in (0, 1):
        batch = a_drawn(4, seed)
        found = made.losses(Forward(network), batch, at(1))
        assert found.shape == (2, B + 4)
        slow = slow_step(made, network, batch, memory, keys)
        assert float(found.mean().detach()) == pytest.approx(float(slow.detach()), rel=1e-5)
        parameters = list(network.parameters())
        for one, other in zip(
            torch.autograd.grad(found.mean(), parameters), torch.autograd.grad(slow, parameters), strict=True
        ):
            assert torch.allclose(one, other, atol=1e-5)
        rows, positions = made.memory.content()
        assert positions.tolist() == [each[2] for each in memory]
        assert torch.allclose(rows, torch.stack([torch.cat(each[:2]) for each in memory]), atol=1e-6)
        place = (5 * (seed + 1)) % 7  # of the oldest key
        assert torch.allclose(made.keys.rows.roll(-place, 0), torch.stack(keys), atol=1e-6)


def test_first_all_are_contrasted_with_themselves() -> None:
    made, network = method()
    batch, keys = a_drawn(0), made.keys.rows.clone()
    found = made.losses(Forward(network), batch, at(0)).detach()
    for i in range(B):
        z, key = seen(network, batch.x[0, i])[0], seen(made.averages[0], batch.x[1, i])[0]  # type: ignore[arg-type]
        scores = torch.stack([torch.dot(z, other) / 0.1 for other in [key, *keys]])
        expected = float((torch.logsumexp(scores, 0) - scores[0]).detach())
        assert found[:, i].tolist() == pytest.approx([expected] * 2, rel=1e-4)
    assert len(made.memory.content()[0]) == 2 * B
    assert not torch.equal(made.keys.rows[:B], keys[:B])
    assert torch.equal(made.keys.rows[B:], keys[B:])


def test_without_a_partner_a_sample_has_no_contrast_but_with_itself() -> None:
    made, network = method(memory_from=99, similarity_weight=0.0)
    batch = replace(a_drawn(0), index=torch.tensor([0, 1, 2, 3, 4]))
    made.pairs.selected.zero_()
    made.pairs.threshold.fill_(2.0)
    found = made.losses(Forward(network), batch, at(1))
    assert torch.equal(found[0], found[1])
    again, _ = method()
    assert torch.allclose(found, again.losses(Forward(network), batch, at(0)))


# ---- who learns


def test_selected_samples_are_drawn_beside_a_batch_of_all() -> None:
    made, _ = method()
    clean = torch.where(torch.arange(N) % 2 == 0, 0.9, 0.1)
    assert [draw.num_labeled for draw in made.batches(clean, at(0))] == [0] * 6
    draws = made.batches(clean, at(1))
    contrasted = torch.cat([draw.positions[draw.num_labeled :] for draw in draws])
    assert sorted(contrasted.tolist()) == list(range(N))
    assert all(int(i) % 2 == 0 for draw in draws for i in draw.positions[: draw.num_labeled])
    assert [draw.num_labeled for draw in draws] == [4] * 6
    with pytest.warns(UserWarning, match="few labels"):
        assert len(made.batches(torch.zeros(N), at(1))) == 6
    assert sorted(torch.cat([draw.positions for draw in made.batches(clean, at(2))]).tolist()) == list(range(0, N, 2))


def test_trust_keeps_what_pairs_are_made_of() -> None:
    made, network = method(neighbours=3)
    survey = a_survey([network], N)
    trust = made.trust(survey, 0, at(1))
    embeddings = unit_length(survey.features(0, "projection"))
    assert torch.equal(made.pairs.embeddings, embeddings)
    assert torch.equal(made.pairs.selected, made.keeps_label(trust, 6))
    assert torch.equal(made.pairs.selected, agreement(embeddings, survey.given, CLASSES, 3, 0.5).selected)
    made.losses(Forward(network), a_drawn(0), at(1))  # with those


def test_the_average_follows_until_tuning() -> None:
    made, network = method(average=0.9)
    before = [each.clone() for each in made.averages[0].parameters()]
    with torch.no_grad():
        for each in network.parameters():
            each.add_(1.0)
    made.after_step([network], at(2))
    assert all(map(torch.equal, before, made.averages[0].parameters()))
    made.after_step([network], at(1))
    for old, new in zip(before, made.averages[0].parameters(), strict=True):
        assert torch.allclose(new, old + 0.1, atol=1e-6)


def test_an_average_follows_by_name() -> None:
    average, network = torch.nn.ModuleDict({"a": torch.nn.Linear(1, 1)}), torch.nn.ModuleDict()
    network["more"], network["a"] = torch.nn.Linear(2, 2), torch.nn.Linear(1, 1)
    expected = 0.75 * average["a"].weight + 0.25 * network["a"].weight
    follow(average, network, 0.75)
    assert torch.allclose(average["a"].weight, expected)


def test_the_plus_is_a_phase_of_tuning() -> None:
    plus = phases_of(config_of("base_method=sel_cl", "trainer=sel_cl_plus", "data=digits"))
    assert [phase.begin for phase in plus] == [0, 1, 250]
    assert [phase.trainer["lr"] for phase in plus] == [0.1, 0.1, 0.02]
    plain = phases_of(config_of("base_method=sel_cl", "base_method.plus=false", "trainer=sel_cl", "data=digits"))
    assert [phase.begin for phase in plain] == [0, 1]
    assert plain[1].trainer["epochs"] == 250


# ---- parts


def test_pairs_of_all_selected_are_those_of_one_label() -> None:
    pairs = BelievedPairs(torch.arange(8) % 3, 2)
    index = torch.arange(8)
    assert torch.equal(pairs.of(index, index), torch.eye(8).bool()), "none before the first selection"
    z = unit_length(torch.randn(8, 2, generator=torch.Generator().manual_seed(0)))
    same = pairs.given[:, None] == pairs.given
    pairs.renew(index, z, torch.ones(8).bool(), 1.0, a_step(0).random)
    assert torch.equal(pairs.of(index, index), same)
    pairs.selected.zero_()
    pairs.threshold.fill_(-1.01)
    assert torch.equal(pairs.of(index, index), same)
    pairs.threshold.fill_(0.5)
    for i in range(8):
        for j in range(8):
            assert bool(pairs.of(index[i : i + 1], index[j : j + 1])) == is_pair(pairs, i, j)


def test_the_similarity_of_selected_pairs_is_that_of_all_of_them() -> None:
    """A quantile over random partners is about that over all pairs of a label; few are enough for many samples."""
    generator = torch.Generator().manual_seed(0)
    z, labels = unit_length(torch.randn(300, 4, generator=generator)), torch.arange(300) % 3
    every = torch.cat([(z[labels == c] @ z[labels == c].T).flatten() for c in range(3)])
    found = similar_within(z, labels, 0.25, a_step(0).random)
    assert found == pytest.approx(float(every.quantile(0.25)), abs=0.01)
    assert similar_within(z[:0], labels[:0], 0.25, a_step(0).random) == math.inf
    apart = similar_within(torch.eye(2), torch.tensor([0, 1]), 0.0, a_step(0).random)
    assert apart == 1.0, "each is its own only partner"


def test_votes_by_similarity_and_of_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    soft = torch.rand(6, CLASSES, generator=generator).softmax(1)
    neighbours = torch.stack([torch.randperm(6, generator=generator)[:3] for _ in range(6)]).int()
    weights = torch.rand(6, 3, generator=generator)
    found = votes(soft, neighbours, CLASSES, weights)
    hard = votes(soft.argmax(1), neighbours, CLASSES, weights)
    for i in range(6):
        sums, counts = torch.zeros(CLASSES), torch.zeros(CLASSES)
        for j, weight in zip(neighbours[i].tolist(), weights[i], strict=True):
            sums += weight * soft[j]
            counts[int(soft[j].argmax())] += weight
        assert torch.allclose(found[i], sums / weights[i].sum())
        assert torch.allclose(hard[i], counts / weights[i].sum())


def test_a_close_neighbour_outvotes_two_others() -> None:
    """By counts label 1 wins at the first sample, by similarity its twin's label 0 does."""
    z = unit_length(torch.tensor([[1.0, 0.0], [1.0, 0.01], [1.0, 1.2], [1.2, -1.0]]))
    given = torch.tensor([0, 0, 1, 1])
    neighbours = torch.tensor([[1, 2, 3]]).int()
    similar = (z[:1] @ z.T)[:, 1:]
    assert votes(given, neighbours, 2).argmax() == 1
    assert votes(given, neighbours, 2, (similar / 0.1).exp()).argmax() == 0
    by_count, by_similarity = (agreement(z, given, 2, 3, 1.0, each).votes for each in (None, 0.1))
    assert float(by_count[0]) < float(by_similarity[0])


def test_keys_are_a_ring() -> None:
    torch.manual_seed(0)
    keys = Keys(5, 3)
    assert bool((keys.rows.abs() <= 1).all())
    keys.push(torch.full((3, 3), 1.0))
    keys.push(torch.full((3, 3), 2.0))
    again = Keys(5, 3)
    again.load_state_dict(keys.state_dict())
    again.push(torch.full((1, 3), 3.0))
    assert again.rows[:, 0].tolist() == [2, 3, 1, 2, 2]


def test_one_is_picked_out_among_others_but_for_those_left_out() -> None:
    z = unit_length(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
    left_out = torch.eye(4).bool()
    found = instance_contrast(z, z.roll(1, 0), z, 0.5, left_out)
    for i in range(4):
        own = float(z[i] @ z[i - 1]) / 0.5
        others = [float(z[i] @ z[j]) / 0.5 for j in range(4) if j != i]
        expected = math.log(math.exp(own) + sum(map(math.exp, others))) - own
        assert float(found[i]) == pytest.approx(expected, rel=1e-5)


def test_equal_sure_predictions_are_finite() -> None:
    sure = torch.eye(3)[[0, 0, 1]] * (1 + 1e-6)
    wanted = torch.zeros(3, 3), torch.ones(3, 3)
    found = mixed_similarity(sure, sure, torch.eye(3).bool(), wanted, torch.ones(3))
    assert bool(found.isfinite().all())


@pytest.mark.parametrize("longest", [0.5, 100.0])
def test_a_gradient_is_bounded(longest: float) -> None:
    x = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    (found,) = torch.autograd.grad(with_bounded_gradient((x**2).sum(), [x], longest), [x])
    assert float(found.norm()) == pytest.approx(min(10.0, longest), rel=1e-5)
    assert torch.allclose(found / found.norm(), torch.tensor([0.6, 0.8]))
