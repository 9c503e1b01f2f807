"""The divergence from a label in closed form, against its definition."""

from __future__ import annotations

import math

import pytest
import torch

from sanm.parts.divergence import FARTHEST, label_divergence


def slow(p: list[float], label: int) -> float:
    """Half of both Kullback-Leibler divergences from the mean of prediction and label."""
    found = 0.0
    for c, own in enumerate(p):
        other = float(c == label)
        mean = (own + other) / 2
        found += sum(q * math.log(q / mean) / 2 for q in (own, other) if q)
    return found


def test_it_depends_on_the_probability_of_the_label_alone() -> None:
    for row in torch.randn(20, 7, generator=torch.Generator().manual_seed(0)).mul(3).double().softmax(-1):
        for label in range(7):
            assert float(label_divergence(row[label])) == pytest.approx(slow(row.tolist(), label), abs=1e-12)


def test_by_hand() -> None:
    found = label_divergence(torch.tensor([0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0]))
    expected = [FARTHEST, 0.5256, 0.4228, 0.3420, 0.2158, 0.1173, 0.0360, 0.0]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)
