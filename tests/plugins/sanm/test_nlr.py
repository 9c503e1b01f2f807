"""Softened targets."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sanm.plugins.sanm.nlr import soften


@settings(max_examples=100, deadline=None)
@given(classes=st.integers(2, 1000), ratio=st.floats(0, 1), seed=st.integers(0, 1000), bounded=st.booleans())
def test_belief_moves_from_the_top_class_to_the_others(classes: int, ratio: float, seed: int, bounded: bool) -> None:
    targets = torch.rand(2, 3, classes, generator=torch.Generator().manual_seed(seed)).softmax(-1)
    softened = soften(targets, torch.full((2, 3), ratio), bounded)
    assert torch.allclose(softened.sum(-1), torch.ones(2, 3), atol=1e-4)
    for m in range(2):
        for b in range(3):
            row, top = targets[m, b], int(targets[m, b].argmax())
            moved = min(ratio, float(row[top])) if bounded else ratio
            slow = row + moved / (classes - 1)
            slow[top] = row[top] - moved
            assert torch.allclose(softened[m, b], slow, atol=1e-5)
    if bounded:
        assert (softened >= 0).all()


def test_nothing_moves_without_a_mask() -> None:
    targets = torch.eye(4)[None]
    assert torch.equal(soften(targets, torch.zeros(1, 4), bounded=True), targets)
