"""INCV against loops: what each network learns in a round, and whom they teach in the end."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from sanm.config.phases import phases_of
from sanm.data import TrainingSet
from sanm.errors import InputError
from sanm.methods.iterative_cv import IterativeCrossValidation
from sanm.parts.cross_validation import CANDIDATE, DISCARDED, SELECTED, noise_of_selected
from sanm.step import Batch, Forward, Look, Step
from tests.conftest import config_of
from tests.every import tiny_trainer
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of

N, B = 48, 8


@cache
def own_settings() -> dict[str, Any]:
    return settings_of("iterative_cv")


def method(**changes: Any) -> IterativeCrossValidation:
    made = IterativeCrossValidation({**own_settings(), **changes}, a_task(N, B))
    made.attach(networks(2), torch.zeros(2, 3, 8, 8))
    return made


def in_a_round(epoch: int = 0, network: int = 0, begin: int = 0) -> Step:
    return replace(a_step(epoch, network), epochs=400, begin=begin, end=200)


def at_last(epoch: int, network: int = 0) -> Step:
    return replace(a_step(200 + epoch, network), epochs=400, begin=200, end=400)


def decided(made: IterativeCrossValidation, noise: float = 0.45, selected: int = 24) -> IterativeCrossValidation:
    made.selection.status[:selected] = SELECTED
    made.selection.status[selected : selected + 6] = DISCARDED
    made.selection.rounds, made.selection.noise = 4, noise
    return made


def total(made: IterativeCrossValidation, batch: Batch, when: Step) -> torch.Tensor:
    pair = networks(2)
    look = Look(pair, batch.x, "eval")
    believed = batch.believing(made.believe(batch, look, when))
    assert torch.equal(believed.y, batch.y)
    return made.share([made.losses(Forward(pair[when.network]), believed, when)], [believed], when)[0]


def test_in_a_round_each_network_learns_its_rows() -> None:
    batch = a_batch(B, num_labeled=5)
    for k, rows in ((0, range(5)), (1, range(5, B))):
        network = networks(2)[k]
        found = total(method(), batch, in_a_round(network=k))
        terms = [cross_entropy(network(batch.x[0, row : row + 1]), batch.given[row : row + 1]) for row in rows]
        slow = torch.stack(terms).mean()
        assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
        pair = networks(2)
        made = method()
        made.believe(batch, Look(pair, batch.x, "eval"), in_a_round(network=k))
        same_gradients(
            pair[k], made.losses(Forward(pair[k]), batch, in_a_round(network=k)).mean(), slow_mean(pair[k], batch, rows)
        )


def slow_mean(network: torch.nn.Module, batch: Batch, rows: Any) -> torch.Tensor:
    return torch.stack([cross_entropy(network(batch.x[0, [row]]), batch.given[[row]]) for row in rows]).mean()


@pytest.mark.parametrize("epoch", [0, 5, 60])
@pytest.mark.parametrize("pattern", ["symmetric", "asymmetric"])
def test_in_the_end_a_network_learns_what_its_peer_finds_easy(epoch: int, pattern: str) -> None:
    """As many as of the selected ones are right, whatever has come behind them."""
    batch, labeled = a_batch(B, num_labeled=6), 6
    for k in (0, 1):
        pair, made = networks(2), decided(method(noise_pattern=pattern))
        hard = cross_entropy(pair[1 - k](batch.x[0]), batch.given, reduction="none").detach()
        wrong = noise_of_selected(0.45, CLASSES - 1 if pattern == "symmetric" else 1)
        rows = sorted(range(B), key=lambda row: float(hard[row]))[: round(labeled * (1 - wrong * min(1, epoch / 10)))]
        slow = slow_mean(pair[k], batch, rows)
        made.believe(batch, Look(pair, batch.x, "eval"), at_last(epoch, k))
        found = made.losses(Forward(pair[k]), batch, at_last(epoch, k)).mean()
        assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
        same_gradients(pair[k], found, slow)


def test_batches_of_a_round_and_of_the_end() -> None:
    made, clean = method(), torch.ones(N)
    draws = made.batches(clean, in_a_round())
    for k in (0, 1):
        learned = [
            draw.positions[: draw.num_labeled] if k == 0 else draw.positions[draw.num_labeled :] for draw in draws
        ]
        assert sorted(torch.cat(learned).tolist()) == made.selection.learned_by(k).tolist()
    decided(made)
    plain, joined = made.batches(clean, at_last(40)), made.batches(clean, at_last(41))
    for draws in (plain, joined):
        assert sorted(torch.cat([d.positions[: d.num_labeled] for d in draws]).tolist()) == list(range(24))
    assert all(draw.num_labeled == len(draw.positions) for draw in plain)
    behind = [draw.positions[draw.num_labeled :].tolist() for draw in joined]
    assert [len(each) for each in behind] == [min(18 * B // 24, B // 2)] * 3
    assert all(made.selection.status[place] == CANDIDATE for each in behind for place in each)


@pytest.mark.parametrize(("pattern", "noise"), [("symmetric", 0.7), ("asymmetric", 0.1)])
def test_where_noise_is_hard_candidates_come_later(pattern: str, noise: float) -> None:
    made = decided(method(noise_pattern=pattern), noise)
    for epoch, behind in ((41, False), (80, False), (81, True)):
        assert (made.batches(torch.ones(N), at_last(epoch))[0].num_labeled < B + 1) is True
        assert (len(made.batches(torch.ones(N), at_last(epoch))[0].positions) > B) is behind


@pytest.mark.parametrize(
    ("pattern", "noise", "rounds"),
    [("symmetric", 0.2, 4), ("symmetric", 0.5, 2), ("symmetric", 0.7, 1), ("asymmetric", 0.2, 1)],
)
def test_in_how_many_rounds_the_best_epoch_selects(pattern: str, noise: float, rounds: int) -> None:
    made, judged = method(noise_pattern=pattern), []
    for number in range(5):
        made.selection.rounds, made.selection.noise = number, noise if number else 0.0
        judged.append(made.judged_by(in_a_round()) is not None)
    assert judged == [True] * rounds + [False] * (5 - rounds)
    assert made.judged_by(at_last(0)) is None
    assert method(select_by="last").judged_by(in_a_round()) is None


def test_the_best_state_selects_and_is_forgotten() -> None:
    made, pair = method(), networks(2)
    other = networks(4)[2:]
    good, bad = a_survey(pair, N), a_survey(other, N)
    made.judge(good, in_a_round())
    for k, best in enumerate(made.best):
        best.accuracy.fill_(2.0)  # whatever comes is worse
        assert all(map(torch.equal, best.network.state_dict().values(), pair[k].state_dict().values()))
    made.judge(bad, in_a_round())
    made.enter(1, bad)
    by_hand = method()
    by_hand.selection.end_round(good, discards=True)
    assert torch.equal(made.selection.status, by_hand.selection.status)
    assert not any(best.judged for best in made.best)


def test_what_is_trusted() -> None:
    made, survey = method(), a_survey(networks(2), N)
    assert made.trust(survey, 0, in_a_round()) is None
    trust = decided(made).trust(survey, 0, at_last(0))
    assert trust is not None
    assert trust.tolist() == pytest.approx([1.0] * 24 + [0.0] * 6 + [0.55] * 18)


def test_rounds_begin_anew_and_add_up(training_set: TrainingSet) -> None:
    made = tiny_trainer(training_set, "base_method=iterative_cv", "components=none", "trainer.epochs=10")
    assert [(phase.begin, phase.end) for phase in made.phases] == [(0, 1), (1, 2), (2, 3), (3, 5), (5, 10)]
    assert isinstance(made.method, IterativeCrossValidation)
    sizes = []
    for epoch in range(6):
        weights = next(made.networks[0].parameters()).detach().clone()
        made._underway = made._begin_epoch(epoch)
        assert torch.equal(weights, next(made.networks[0].parameters())) == (epoch in (0, 4))
        sizes.append(int((made.method.selection.status == SELECTED).sum()))
        made.train_epoch(lambda *_: None)
    assert sizes == sorted(sizes)
    assert sizes[-1] > 0
    assert made.method.selection.rounds == 4


def test_the_published_run() -> None:
    phases = phases_of(config_of("base_method=iterative_cv", "trainer=iterative_cv", "data=cifar10"))
    assert [phase.begin for phase in phases] == [0, 50, 100, 150, 200]
    assert [phase.trainer["milestones"] for phase in phases] == [[21, 31, 41]] * 4 + [[80, 120, 160]]
    assert all(phase.fresh == "network" and phase.new_optimizer for phase in phases)


def test_without_a_round_it_is_refused() -> None:
    with pytest.raises(InputError, match=r"base_method\.phases"):
        method(phases=[{"begin": 0}])


@pytest.mark.parametrize("wrong", ["repeat: 0", "repeat: 1.5", "repeat: a"])
def test_how_often_a_phase_is_gone_through(wrong: str) -> None:
    with pytest.raises(InputError, match=r"base_method\.phases\[0\]\.repeat="):
        config_of("base_method=iterative_cv", f"base_method.phases=[{{begin: 0, {wrong}}},{{begin: 0.5}}]")
