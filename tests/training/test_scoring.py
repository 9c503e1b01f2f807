"""How well wrong labels are found."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from sanm.data import Data, TrainingSet
from sanm.training.scoring import Scorer


def scorer(training_set: TrainingSet, wrong: list[int] | None) -> Scorer:
    """Of the first eight samples, of which those are wrong; None: nobody knows."""
    few = dataclasses.replace(training_set, given_labels=training_set.given_labels[:8])
    true = few.given_labels.clone()
    true[wrong or []] += 1
    return Scorer(Data(few, None, None, None if wrong is None else true, None, None, true))  # type: ignore[arg-type]


def test_label_errors_are_counted_below_one_half_and_at_their_number(training_set: TrainingSet) -> None:
    networks = torch.tensor(
        [
            [0.1, 0.2, 0.3, 0.4, 0.5, 0.9, 0.9, 0.9],
            [0.1, 0.2, 0.3, 0.4, 0.5, 0.9, 0.9, 0.9],
        ]
    )
    found = scorer(training_set, [0, 1, 4]).label_errors(networks)
    assert found == {
        "found_precision": 2 / 4,  # 0.5 itself is not below
        "found_recall": pytest.approx(2 / 3),
        "precision_at_count": pytest.approx(2 / 3),
        "count": 3,
    }


def test_it_is_the_mean_over_networks_that_counts(training_set: TrainingSet) -> None:
    found = scorer(training_set, [3]).label_errors(torch.tensor([[0.9] * 3 + [0.0] + [0.9] * 4, [0.9] * 8]))
    assert found is not None
    assert (found["found_precision"], found["found_recall"]) == (1, 1)


def test_nothing_found_has_no_precision(training_set: TrainingSet) -> None:
    found = scorer(training_set, [7]).label_errors(torch.ones(1, 8))
    assert found == {"found_precision": None, "found_recall": 0, "precision_at_count": 0, "count": 1}


def test_unknown_truth_and_right_labels_have_no_errors_to_find(training_set: TrainingSet) -> None:
    assert scorer(training_set, None).label_errors(torch.zeros(1, 8)) is None
    assert scorer(training_set, []).label_errors(torch.zeros(1, 8)) is None
