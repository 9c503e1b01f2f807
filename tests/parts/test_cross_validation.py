"""Rounds of selection against dictionaries, and figures of the paper's formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sanm.parts.cross_validation import (
    CANDIDATE,
    DISCARDED,
    SELECTED,
    Selection,
    noise_of_agreement,
    noise_of_selected,
    unlikely,
)
from sanm.step import Random
from sanm.survey import Survey

CPU = torch.device("cpu")
K = 4


def said(logits: tuple[Tensor, Tensor], given: Tensor) -> Survey:
    """A survey in which two networks say this, which are no networks."""

    def scan(pool: str, network: object, answer: object) -> Tensor:
        raise AssertionError("everything is known")

    survey = Survey([None, None], given, torch.arange(len(given)), scan)  # type: ignore[list-item, arg-type]
    for network, own in enumerate(logits):
        survey.knows(network, own)
    return survey


def some(samples: int, seed: int = 0) -> tuple[Survey, tuple[Tensor, Tensor], Tensor]:
    """Networks that predict most given labels, by chance."""
    generator = torch.Generator().manual_seed(seed)
    given = torch.randint(0, K, (samples,), generator=generator)
    both = torch.randn(2, samples, K, generator=generator) + 0.7 * torch.eye(K)[given]
    logits = both[0], both[1]
    return said(logits, given), logits, given


@pytest.mark.parametrize(
    ("agreement", "noise"), [(0.6444, 0.2), (0.2778, 0.5), (0.1111, 0.8), (0.676, 0.18), (1.0, 0.001), (0.05, 0.89)]
)
def test_how_many_labels_are_wrong(agreement: float, noise: float) -> None:
    assert noise_of_agreement(agreement, 10) == pytest.approx(noise, abs=2e-3)


@pytest.mark.parametrize(
    ("noise", "others", "wrong"),
    [(0.18, 9, 0.0053), (0.45, 9, 0.0692), (0.72, 9, 0.4235), (0.2, 1, 0.0588), (0.4, 1, 0.3077)],
)
def test_how_many_of_the_selected_are(noise: float, others: int, wrong: float) -> None:
    assert noise_of_selected(noise, others) == pytest.approx(wrong, abs=5e-4)


def test_what_is_unlikely() -> None:
    losses, asked = torch.tensor([3.0, 1.0, 9.0, 2.0, 8.0, 4.0]), torch.tensor([True, True, False, True, True, True])
    assert unlikely(losses, asked, 2, 0.5).tolist() == [4, 5]
    assert unlikely(losses, asked, 3, 0.9).tolist() == [4, 5, 0, 3, 1], "twice as many, or all that there are"
    assert not len(unlikely(losses, asked, 3, 0.2)), "none is none"


@pytest.mark.parametrize("discards", [True, False])
def test_rounds_are_those_of_sets(discards: bool) -> None:
    made, random, samples = Selection(60, K), Random(0, CPU), 60
    selected: set[int] = set()
    candidates, thrown = set(range(samples)), set[int]()
    noise = 0.0
    for number in range(3):
        made.split(random)
        folds = [{i for i in candidates if int(made.fold[i]) == k} for k in (0, 1)]
        assert abs(len(folds[0]) - len(folds[1])) <= 1
        assert [set(made.learned_by(k).tolist()) for k in (0, 1)] == [fold | selected for fold in folds]
        survey, logits, given = some(samples, seed=number)
        losses = [torch.nn.functional.cross_entropy(each, given, reduction="none") for each in logits]
        agreed = [{i for i in folds[1 - k] if int(logits[k][i].argmax()) == int(given[i])} for k in (0, 1)]
        if not number:
            noise = noise_of_agreement(len(agreed[0]) / len(folds[1]), K)
        bad: set[int] = set()
        for k in (0, 1):
            count = int(min(2, noise / (1 - noise)) * len(agreed[k]))
            bad |= set(sorted(folds[1 - k], key=lambda i: -float(losses[k][i]))[:count])
        selected |= agreed[0] | agreed[1]
        if discards:
            thrown |= bad - selected
        candidates -= selected | thrown
        made.end_round(survey, discards)
        assert made.noise == noise
        for status, expected in ((SELECTED, selected), (CANDIDATE, candidates), (DISCARDED, thrown)):
            assert set(made.positions(status).tolist()) == expected
    assert bool(thrown) == discards
    assert candidates or discards
    assert made.rounds == 3


def test_of_an_epochs_samples_positions_are_theirs() -> None:
    made, drawn = Selection(10, K), torch.tensor([9, 4, 7])
    made.status[4], made.fold[[7, 9]] = SELECTED, torch.tensor([0, 1], dtype=torch.int8)
    assert made.positions(SELECTED, drawn).tolist() == [1]
    assert [made.learned_by(k, drawn).tolist() for k in (0, 1)] == [[1, 2], [0, 1]]


def test_on_labels_of_which_a_fifth_is_wrong_what_is_selected_is_right() -> None:
    """Networks that know the truth of what they have not learned."""
    generator = torch.Generator().manual_seed(0)
    true = torch.arange(2000) % 10
    given = torch.where(torch.rand(2000, generator=generator) < 0.2, (true + 1 + torch.arange(2000) % 9) % 10, true)
    confused = torch.where(torch.rand(2000, generator=generator) < 0.2, torch.randint(0, 10, (2000,)), true)
    made, logits = Selection(2000, 10), 5 * torch.eye(10)[confused]
    made.split(Random(0, CPU))
    made.end_round(said((logits, logits), given), discards=True)
    chosen = made.positions(SELECTED)
    assert float((given == true)[chosen].float().mean()) > 0.98
    assert made.noise == pytest.approx(0.2, abs=0.05)
