"""Joint-Optim against a dictionary of what was said of each image, and slow formulas of its loss."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
import torch

from sanm.methods.joint_optim import REMEMBERED, JointOptim
from sanm.step import Batch, Forward, Look
from tests.methods.conftest import CLASSES, a_batch, a_step, a_task, networks, same_gradients, settings_of

N, B = 12, 6


def method(**changes: object) -> JointOptim:
    return JointOptim(settings_of("joint_optim", **changes), a_task(N, B))


def looked(batch: Batch) -> Look:
    return Look(networks(1), batch.x, "eval")


def test_a_step_of_the_first_phase_is_the_published_one() -> None:
    network, batch = networks(1)[0], a_batch(B)
    made = method(alpha=1.2, beta=0.8)
    found = made.share([made.losses(Forward(network), batch, a_step(0))], [batch], a_step(0))[0]
    probs = network(batch.x[0]).softmax(-1)
    supervised = -torch.stack([probs[row, label].log() for row, label in enumerate(batch.given.tolist())]).mean()
    prior = -sum(probs[:, c].mean().log() / CLASSES for c in range(CLASSES))
    entropy = -(probs * probs.log()).sum() / B
    slow = supervised + 1.2 * prior + 0.8 * entropy
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
    same_gradients(network, found, slow)


def test_in_the_second_phase_it_is_cross_entropy_and_remembers_nothing() -> None:
    network, batch = networks(1)[0], a_batch(B)
    made = method()
    found = made.losses(Forward(network), batch, replace(a_step(0), phase=1))
    slow = -network(batch.x[0]).log_softmax(-1).gather(1, batch.given[:, None])[:, 0]
    assert torch.allclose(found[0], slow, atol=1e-6)
    assert not made.passes.any()


@pytest.mark.parametrize("passes", [1, 4, REMEMBERED, REMEMBERED + 3])
def test_the_new_label_is_the_mean_of_what_was_said_in_the_last_passes(passes: int) -> None:
    made, said = method(replace_from=2), defaultdict(list)
    for number in range(passes):
        torch.manual_seed(number)
        network = networks(1)[0]
        with torch.no_grad():
            network.classifier.weight.add_(torch.randn_like(network.classifier.weight))
        for half in range(2):
            batch = replace(a_batch(B, seed=10 * number + half), index=torch.arange(N)[half::2])
            made.losses(Forward(network), batch, a_step(0))
            for place, row in zip(batch.index.tolist(), network(batch.x[0]).softmax(-1).detach(), strict=True):
                said[place].append(row)
    batch = replace(a_batch(B), index=torch.arange(N)[:B])
    expected = torch.stack([torch.stack(said[place][-REMEMBERED:]).mean(0) for place in range(B)])
    assert torch.allclose(made.believe(batch, looked(batch), a_step(2)), expected, atol=1e-6)
    assert torch.equal(made.believe(batch, looked(batch), a_step(1)), batch.y[0]), "before, the given label"


def test_an_image_that_was_never_seen_keeps_its_label() -> None:
    batch = replace(a_batch(B), index=torch.arange(B))
    assert torch.equal(method(replace_from=2).believe(batch, looked(batch), a_step(9)), batch.y[0])


def test_what_a_masked_view_says_is_not_remembered() -> None:
    network, batch = networks(1)[0], replace(a_batch(B, views=2), index=torch.arange(B), own=1)
    made = method()
    made.losses(Forward(network), batch, a_step(0))
    assert torch.allclose(made.said[0, :B], network(batch.x[0]).softmax(-1).detach(), atol=1e-6)
