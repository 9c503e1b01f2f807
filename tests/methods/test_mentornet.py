"""MentorNet's curricula against their closed forms, and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from sanm.methods.mentornet import MentorNet
from sanm.step import Forward
from tests.methods.conftest import a_batch, a_step, a_task, networks, same_gradients, settings_of

B = 16


def method(**changes: object) -> MentorNet:
    none = {"dropped": 0.0, "dropped_at_first": 0.0}
    return MentorNet(settings_of("mentornet", **{**none, **changes}), a_task(40, B))


@pytest.mark.parametrize("curriculum", ["self_paced", "linear"])
def test_a_step_is_the_published_one(curriculum: str) -> None:
    network, batch = networks(1)[0], a_batch(B)
    made = method(curriculum=curriculum, percentile=0.6)
    made.percentile.fill_(1.2)
    found = made.share([made.losses(Forward(network), batch, a_step(3))], [batch], a_step(3))[0]
    losses = cross_entropy(network(batch.x[0]), batch.given, reduction="none")
    running = 0.5 * 1.2 + 0.5 * float(np.percentile(losses.detach().numpy(), 60, method="nearest"))
    above = losses.detach() - running
    weights = (above <= 0).float() if curriculum == "self_paced" else (1 - above).clamp(0, 1)
    slow = (weights * losses).sum() / B
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-6)
    same_gradients(network, found, slow)


def test_the_percentile_runs_and_is_used_after_it_moved() -> None:
    made = method()
    seen = []
    for _ in range(3):
        made.weights(torch.full((4,), 2.0), 50)
        seen.append(float(made.percentile))
    assert seen == [1.0, 1.5, 1.75]


@pytest.mark.parametrize(
    ("percent", "expected"), [(18, [1, 1, 1]), (19, [1, 0, 0]), (89, [1, 0, 0]), (90, [1, 0.75, 0])]
)
def test_the_predefined_curriculum_by_percent_of_the_run(percent: int, expected: list[float]) -> None:
    made = method(decay=1.0)
    made.percentile.fill_(1.0)
    assert made.weights(torch.tensor([1.0, 1.25, 3.0]), percent).tolist() == pytest.approx(expected)


def test_a_share_of_steady_losses_is_learned_from() -> None:
    made, generator = method(curriculum="self_paced", percentile=0.7), torch.Generator().manual_seed(0)
    shares = [float(made.weights(torch.rand(512, generator=generator), 50).mean()) for _ in range(60)]
    assert np.mean(shares[10:]) == pytest.approx(0.7, abs=0.02)


@pytest.mark.parametrize(("dropped", "kept"), [(0.05, 121), (0.5, 64), (0.0, 128)])
def test_so_many_rows_are_kept(dropped: float, kept: int) -> None:
    made = method(dropped=dropped, dropped_at_first=0.25)
    assert int(made._kept(128, replace(a_step(5), epochs=10)).sum()) == kept
    assert int(made._kept(128, replace(a_step(1), epochs=10)).sum()) == 96


def test_where_all_count_it_is_cross_entropy() -> None:
    network, batch = networks(1)[0], a_batch(B)
    losses = method().losses(Forward(network), batch, replace(a_step(1), epochs=100))
    assert torch.equal(losses[0], cross_entropy(network(batch.x[0]), batch.given, reduction="none"))
