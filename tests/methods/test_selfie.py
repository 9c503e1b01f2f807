"""SELFIE against a dictionary of what was said, and slow formulas: who is corrected, who learns."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from sanm.errors import InputError
from sanm.methods.selfie import NOT_CORRECTED, Selfie
from sanm.step import Batch, Forward, Look, Step
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of

N, B = 16, 8


def method(**changes: object) -> Selfie:
    return Selfie(settings_of("selfie", **{"plain": 2, "history": 3, "noise_rate": 0.5, **changes}), a_task(N, B))


def at(epoch: int, begin: int = 0) -> Step:
    return replace(a_step(epoch), epochs=30, begin=begin)


def some(seed: int = 0, views: int = 1) -> Batch:
    return replace(a_batch(B, views, seed=seed), index=torch.arange(N)[seed % 2 :: 2], own=1)


def step(made: Selfie, batch: Batch, when: Step) -> torch.Tensor:
    network = networks(1)[0]
    believed = batch.believing(made.believe(batch, Look([network], batch.x, "eval"), when))
    return made.share([made.losses(Forward(network), believed, when)], [believed], when)[0]


def test_samples_of_small_loss_and_corrected_ones_learn_over_their_number() -> None:
    made, batch, network = method(), some(), networks(1)[0]
    hardest = cross_entropy(network(batch.x[0]), batch.given, reduction="none").argsort(descending=True)
    place = batch.index[hardest[0]]
    made.corrected[place] = (int(batch.given[hardest[0]]) + 1) % CLASSES
    found = step(made, batch, at(5))
    logits = network(batch.x[0])
    losses = cross_entropy(logits, batch.given, reduction="none")
    easiest = set(losses.argsort()[: math.ceil(0.5 * B)].tolist())
    terms = [cross_entropy(logits[row], made.corrected[place]) if batch.index[row] == place else losses[row]
             for row in range(B) if row in easiest or batch.index[row] == place]  # fmt: skip
    slow = torch.stack(terms).mean()
    assert len(terms) == math.ceil(0.5 * B) + 1
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-6)
    network = networks(1)[0]
    believed = batch.believing(made.believe(batch, Look([network], batch.x, "eval"), at(5)))
    same_gradients(network, made.losses(Forward(network), believed, at(5)).mean(), slow_of(network, batch, made))


def slow_of(network: torch.nn.Module, batch: Batch, made: Selfie) -> torch.Tensor:
    logits = network(batch.x[0])
    losses = cross_entropy(logits, batch.given, reduction="none")
    labels = torch.where(made.corrected[batch.index] == NOT_CORRECTED, batch.given, made.corrected[batch.index])
    chosen = torch.zeros(B).index_fill(0, losses.argsort()[: math.ceil(0.5 * B)], 1)
    chosen = torch.maximum(chosen, (made.corrected[batch.index] != NOT_CORRECTED).float())
    return (cross_entropy(logits, labels, reduction="none") * chosen).sum() / chosen.sum()


def test_who_is_corrected_and_to_what_against_a_dictionary() -> None:
    made = method(uncertainty=0.5)
    said: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=3))
    corrected: dict[int, int] = {}
    for number in range(12):
        batch = some(seed=number % 2 + 2 * (number % 3))
        for place in batch.index.tolist() if number >= 4 else ():
            votes = Counter(said[place])
            entropy = -sum(n / 3 * math.log(n / 3) for n in votes.values()) / math.log(CLASSES)
            if len(said[place]) == 3 and entropy <= 0.5:
                corrected[place] = min(votes, key=lambda c: (-votes[c], c))
        step(made, batch, at(0 if number < 4 else 9))
        for place, each in zip(batch.index.tolist(), networks(1)[0](batch.x[0]).argmax(-1).tolist(), strict=True):
            said[place].append(each)
    expected = [corrected.get(place, NOT_CORRECTED) for place in range(N)]
    assert made.corrected.tolist() == expected
    assert any(each != NOT_CORRECTED for each in expected)


def test_each_run_begins_plainly_and_keeps_what_was_corrected() -> None:
    made, batch = method(), some()
    made.corrected[batch.index] = 1
    made.passes.fill_(9)
    made.enter(1, a_survey(networks(1), N))
    assert not made.passes.any()
    assert made.corrected[batch.index].eq(1).all()
    look = Look(networks(1), batch.x, "eval")
    assert torch.equal(made.believe(batch, look, at(11, begin=10)), batch.y[0]), "its warm-up is on the given labels"
    assert made.believe(batch, look, at(12, begin=10)).argmax(-1).eq(1).all()


def test_as_its_code_the_warm_up_is_on_corrected_labels_and_the_noise_rate_falls() -> None:
    made, batch = method(plain_labels="corrected"), some()
    made.enter(1, a_survey(networks(1), N))
    assert made.rate == 0.5, "nothing is corrected yet"
    made.corrected[torch.arange(12)] = 1
    made.enter(1, a_survey(networks(1), N))
    assert made.rate == 4 / N
    assert method(plain_labels="given").rate == 0.5
    believed = made.believe(batch, Look(networks(1), batch.x, "eval"), at(11, begin=10)).argmax(-1)
    for row, place in enumerate(batch.index.tolist()):
        assert int(believed[row]) == (1 if place < 12 else int(batch.given[row]))
    again = method(plain_labels="corrected")
    again.load_state_dict(made.state_dict())
    assert again.rate == 4 / N


def test_no_noise_and_no_correction_is_cross_entropy() -> None:
    network, batch = networks(1)[0], some()
    made = method(noise_rate=0.0, history=15)
    for epoch in (0, 5):
        expected = cross_entropy(network(batch.x[0]), batch.given)
        assert float(step(made, batch, at(epoch)).detach()) == pytest.approx(float(expected.detach()), abs=1e-6)


def test_how_many_samples_of_small_loss_are_kept() -> None:
    losses = torch.arange(128.0)
    made = Selfie(settings_of("selfie", noise_rate=0.2), a_task(128, 128))
    assert int(made._chosen(losses, torch.arange(128)).sum()) == 103
    all_wrong = Selfie(settings_of("selfie", noise_rate=1.0), a_task(128, 128))
    assert int(all_wrong._chosen(losses, torch.arange(128)).sum()) == 1, "a step needs a sample"


def test_it_is_told_the_noise_rate() -> None:
    with pytest.raises(InputError, match=r"base_method\.noise_rate"):
        method(noise_rate=None)
