"""Nested Co-teaching against loops: features that are kept, K, whom the networks teach, what stays frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sanm.config.phases import phases_of
from sanm.data import TrainingSet
from sanm.errors import InputError
from sanm.methods.nested import NestedCoTeaching
from sanm.network import Network, own_norms
from sanm.parts.ordered_features import best_kept, draw_kept, with_plain_classifier
from sanm.step import Batch, Forward, Look, Random, Step
from tests.conftest import config_of
from tests.every import tiny_trainer
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of

N, B, D = 40, 10, 8
CPU = torch.device("cpu")


@cache
def own_settings() -> dict[str, Any]:
    return settings_of("nested")


def method(pair: Sequence[Network], **changes: Any) -> NestedCoTeaching:
    made = NestedCoTeaching({**own_settings(), "eta": 4.0, "noise_rate": 0.4, **changes}, a_task(N, B))
    torch.manual_seed(0)
    made.attach(pair, torch.zeros(2, 3, 8, 8))
    return made


def at(phase: int, network: int = 0) -> Step:
    return replace(a_step(3, network), phase=phase)


def logits_with(network: Network, x: Tensor, kept: int) -> Tensor:
    """Of the first features, one after another."""
    features, classifier = network.features(x).mean((2, 3)), network.classifier
    return classifier.bias + sum(features[:, d : d + 1] * classifier.weight[:, d] for d in range(kept))  # type: ignore[operator]


def step(made: NestedCoTeaching, pair: Sequence[Network], batch: Batch, when: Step) -> Tensor:
    believed = batch.believing(made.believe(batch, Look(pair, batch.x, "eval"), when))
    return made.share([made.losses(Forward(pair[when.network]), believed, when)], [believed], when)[0]


def test_few_features_are_likelier_than_many() -> None:
    random, weights = Random(0, CPU), np.array([np.exp(-((k / 3.0) ** 2)) for k in range(1, D + 1)])
    counts = np.bincount([draw_kept(D, 3.0, random) for _ in range(20_000)], minlength=D + 1)
    assert counts[0] == 0
    assert counts[1:] / 20_000 == pytest.approx(weights / weights.sum(), abs=0.015)


@pytest.mark.parametrize("network", [0, 1])
def test_alone_a_network_learns_all_rows_with_its_first_features(network: int) -> None:
    pair, batch = networks(2), a_batch(B)
    made = method(pair)
    kept = draw_kept(D, 4.0, at(0).random)
    found = step(made, pair, batch, at(0, network))
    slow = cross_entropy(logits_with(pair[network], batch.x[0], kept), batch.given)
    assert kept < D
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
    same_gradients(pair[network], found, slow)


@pytest.mark.parametrize("halves", [True, False])
@pytest.mark.parametrize("network", [0, 1])
def test_then_it_learns_what_its_peer_finds_easy_with_the_first_features(network: int, halves: bool) -> None:
    pair, batch = networks(2), a_batch(B)
    made = method(pair, halves=halves)
    for classifier in made._classifiers:
        classifier.kept = 5
    kept = draw_kept(D, 4.0, at(1).random)
    found = step(made, pair, batch, at(1, network))
    rows = list(range(B)) if not halves else list(range(5, 10)) if network == 0 else list(range(5))
    peer = cross_entropy(logits_with(pair[1 - network], batch.x[0], 5), batch.given, reduction="none").detach()
    easy = sorted(rows, key=lambda row: float(peer[row]))[: int(0.6 * len(rows))]
    slow = cross_entropy(logits_with(pair[network], batch.x[0, easy], kept), batch.given[easy])
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
    same_gradients(pair[network], found, slow)


@pytest.mark.parametrize("freezes", [True, False])
def test_norms_are_frozen_while_networks_teach_each_other(freezes: bool) -> None:
    pair, batch = networks(2), a_batch(B)
    made = method(pair, freezes_norms=freezes)
    for phase in (0, 1):
        pair[0].train()
        norms = own_norms(pair[0])
        before = [norm.running_mean.clone() for norm in norms]  # type: ignore[operator, union-attr]
        step(made, pair, batch, at(phase)).backward()
        made.after_backward(pair[0], at(phase))
        frozen = freezes and phase == 1
        assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True)) is frozen  # type: ignore[arg-type]
        assert all(weight.grad is None for norm in norms for weight in norm.parameters()) is frozen
        assert pair[0].classifier.weight.grad is not None
        pair[0].zero_grad()


def test_the_best_number_of_features_is_that_of_a_loop() -> None:
    pair, survey = networks(2), a_survey(networks(2), N)
    method(pair)
    for both in (pair[:1], pair):
        seen = [survey.features(k) for k in range(len(both))]
        scores = []
        for kept in range(1, D + 1):
            logits = [
                f[:, :kept] @ net.classifier.weight[:, :kept].T + net.classifier.bias
                for f, net in zip(seen, both, strict=True)
            ]
            right = (sum(logits).argmax(1) == survey.given).double().mean()  # type: ignore[union-attr, attr-defined]
            scores.append(float(right) - 1e-5 * kept)
        kept, accuracy = best_kept(seen, [net.classifier for net in both], survey.given)
        assert kept == 1 + max(range(D), key=lambda k: scores[k])
        assert accuracy == pytest.approx(scores[kept - 1] + 1e-5 * kept)


def test_what_is_held_out_judges_and_does_not_learn() -> None:
    made = method(networks(2))
    held_out = made.judged_by(at(0)).tolist()
    assert len(held_out) == 4
    drawn = torch.cat([draw.positions for draw in made.batches(torch.ones(N), at(0))]).tolist()
    assert not set(drawn) & set(held_out)
    assert len(set(drawn)) == 30, "full batches alone"
    some = torch.tensor([held_out[0], *(place for place in range(N) if place not in held_out)])
    of_epoch = replace(at(0), drawn=some)
    assert made.judged_by(of_epoch).tolist() == [0]
    assert 0 not in torch.cat([draw.positions for draw in made.batches(torch.ones(len(some)), of_epoch)])


def test_where_labels_are_known_to_be_true_they_judge() -> None:
    trusted = torch.arange(N) < 7
    task = a_task(N, B)._replace(trusted=trusted)
    made = NestedCoTeaching(own_settings(), task)
    made.attach(networks(2), torch.zeros(2, 3, 8, 8))
    assert made.judged_by(at(0)).tolist() == list(range(7))
    with pytest.raises(InputError, match=r"data\.trusted"):
        NestedCoTeaching(own_settings(), task._replace(trusted=torch.ones(N) > 0)).attach(networks(2), trusted)


@pytest.mark.parametrize("goes_on_from", ["best", "last"])
def test_each_has_a_k_of_its_own_and_its_best_epoch_then_they_share_one(goes_on_from: str) -> None:
    pair, others = networks(2), networks(4)[2:]
    made = method(pair, goes_on_from=goes_on_from)
    survey = a_survey(pair, N)
    made.judge(survey, at(0))
    own = [best_kept([survey.features(k)], [pair[k].classifier], survey.given)[0] for k in (0, 1)]
    assert [classifier.kept for classifier in made._classifiers] == own
    states = [{key: value.clone() for key, value in network.state_dict().items()} for network in pair]
    for best in made.best:
        best.accuracy.fill_(2.0)  # whatever comes is worse
    for network, other in zip(pair, others, strict=True):
        network.load_state_dict(other.state_dict())
    made.judge(a_survey(pair, N), at(0))
    made.enter(1, a_survey(pair, N))
    expected = states if goes_on_from == "best" else [other.state_dict() for other in others]
    for network, state in zip(pair, expected, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    if goes_on_from == "best":
        assert [classifier.kept for classifier in made._classifiers] == own
    made.judge(a_survey(pair, N), at(1))
    features = [a_survey(pair, N).features(k) for k in (0, 1)]
    assert {classifier.kept for classifier in made._classifiers} == {
        best_kept(features, made._classifiers, survey.given)[0]
    }


def test_predictions_are_those_of_a_plain_network_without_the_other_features() -> None:
    pair, x = networks(2), a_batch(B).x[0]
    made = method(pair)
    made._classifiers[0].kept = 3
    (plain, _), same = made.predictors(pair), with_plain_classifier(pair[0])
    assert torch.equal(plain(x), pair[0](x))
    assert torch.equal(pair[0](x), same(x))
    assert torch.allclose(pair[0](x), logits_with(pair[0], x, 3), atol=1e-5)
    assert isinstance(plain, Network)
    assert plain.state_dict().keys() == pair[0].state_dict().keys()
    assert torch.equal(plain.classifier.weight[:, 3:], torch.zeros(CLASSES, D - 3))
    assert torch.equal(plain.class_weights(), pair[0].class_weights())
    assert len(method(networks(2), ensemble=False).predictors(pair)) == 1


def test_k_outlives_a_run_that_was_left(training_set: TrainingSet) -> None:
    choice = ("base_method=nested", "components=none")
    made = tiny_trainer(training_set, *choice)
    for _ in range(2):
        made.train_epoch(lambda *_: None)
    other = tiny_trainer(training_set, *choice)
    other.load(made.state())
    kept = [network.classifier.kept for network in made.networks]
    assert [network.classifier.kept for network in other.networks] == kept
    assert min(kept) < 16


def test_the_published_run() -> None:
    phases = phases_of(config_of("base_method=nested", "trainer=nested", "data=cifar10"))
    assert [phase.begin for phase in phases] == [0, 350]
    assert [phase.trainer["milestones"] for phase in phases] == [[200, 300], [50]]
    assert [phase.trainer["lr"] for phase in phases] == [0.1, 0.001]
    assert phases[1].new_optimizer
    assert [
        config_of("base_method=nested", f"data={data}")["base_method"]["eta"] for data in ("cifar10", "cifar100")
    ] == [10, 100]
