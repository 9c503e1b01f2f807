"""ELR and ELR+ against slow, obvious implementations of their formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from sanm.methods.elr import EarlyLearningRegularisation
from sanm.methods.elr_plus import EarlyLearningRegularisationPlus, grown
from sanm.step import Forward, Look
from tests.methods.conftest import CLASSES, a_batch, a_step, a_task, networks, same_gradients, settings_of

N, B = 20, 6


@pytest.mark.parametrize("beta", [0.7, 0.9])
def test_elr_is_cross_entropy_and_the_published_term(beta: float) -> None:
    """Three steps: value, gradient and memory."""
    network = networks(1)[0]
    made = EarlyLearningRegularisation(settings_of("elr", beta=beta, lambda_elr=3.0), a_task(N, B))
    memory = torch.zeros(N, CLASSES)
    for seed in range(3):
        batch = a_batch(B, seed=seed)
        found = made.share([made.losses(Forward(network), batch, a_step(0))], [batch], a_step(0))[0]

        logits = network(batch.x[0])
        p = torch.clamp(logits.softmax(1), 1e-4, 1 - 1e-4)
        rows = []
        for row, sample in enumerate(batch.index.tolist()):
            normalised = p[row].detach() / p[row].detach().sum()
            memory[sample] = beta * memory[sample] + (1 - beta) * normalised
            rows.append(torch.log(1 - torch.dot(memory[sample].clone(), p[row])))
        slow = cross_entropy(logits, batch.y[0].argmax(1)) + 3.0 * torch.stack(rows).mean()
        assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
        same_gradients(network, found, slow)
        assert torch.allclose(made.memory, memory, atol=1e-6)


def test_elr_remembers_only_what_it_sees_without_masks() -> None:
    network, batch = networks(1)[0], replace(a_batch(B, views=3), own=1)
    made = EarlyLearningRegularisation(settings_of("elr"), a_task(N, B))
    losses = made.losses(Forward(network), batch, a_step(5))
    assert losses.shape == (3, B)
    expected = torch.clamp(network(batch.x[0]).softmax(1), 1e-4, 1 - 1e-4)
    expected = (1 - made.settings["beta"]) * expected / expected.sum(1, keepdim=True)
    assert torch.allclose(made.memory[batch.index], expected, atol=1e-6)
    assert int((made.memory.sum(1) > 0).sum()) == B


def test_elr_stays_finite_where_the_network_is_certain_and_agrees() -> None:
    made = EarlyLearningRegularisation(settings_of("elr", beta=0.0), a_task(N, B))
    certain = 1e4 * one_hot(torch.zeros(B, dtype=torch.int64), CLASSES).float()[None]
    losses = made.losses(lambda x: certain, a_batch(B), a_step(3))  # type: ignore[arg-type]
    assert losses.isfinite().all()


@pytest.mark.parametrize("k", [0, 1])
@pytest.mark.parametrize("reweight", [False, True])
@pytest.mark.parametrize("ramp", [0, 40])
def test_elr_plus_step_is_the_published_one(k: int, reweight: bool, ramp: int) -> None:
    pair, batch = networks(2), a_batch(B)
    changes = {"beta": 0.7, "lambda_elr": 3.0, "lambda_ramp": ramp, "reweight_labels": reweight, "alpha": 1.0}
    made = EarlyLearningRegularisationPlus(settings_of("elr_plus", **changes), a_task(N, B))
    made.attach(pair, torch.zeros(2, 3, 8, 8))
    with torch.no_grad():
        made.averages[1 - k].classifier.weight.mul_(2.0)  # type: ignore[union-attr, operator]
    step = a_step(2, k, progress=2.25)
    believed = batch.believing(made.believe(batch, Look(pair, batch.x, "eval"), step))
    memory = made.memory.clone()
    found = made.share([made.losses(Forward(pair[k]), believed, step)], [believed], step)[0]

    with torch.no_grad():
        teacher = made.averages[1 - k](batch.x[0]).softmax(1)  # in train mode, as it was: statistics of the batch
    random = a_step(2).random  # the same draws again
    coefficient = float(random.host.beta(1.0, 1.0))
    coefficient = max(coefficient, 1 - coefficient)
    order = torch.randperm(B, generator=random.device)
    logits = pair[k](coefficient * batch.x[0] + (1 - coefficient) * batch.x[0][order])
    steps = round(2.25 * 4) + 1  # 20 samples in batches of 6; the code counts the step before its loss
    weight = 3.0 * (math.exp(-5 * (1 - min(steps, ramp) / ramp) ** 2) if ramp else 1.0)
    rows = []
    for row in range(B):
        own = 0.7 * 0 + 0.3 * teacher[row]
        other = 0.7 * 0 + 0.3 * teacher[order[row]]
        assert torch.allclose(memory[k, batch.index[row]], own, atol=1e-6)
        q = coefficient * own + (1 - coefficient) * other
        y = coefficient * batch.y[0, row] + (1 - coefficient) * batch.y[0, order[row]]
        if reweight:
            y = y * q / (y * q).sum()
        p = torch.clamp(logits[row].softmax(0), 1e-4, 1 - 1e-4)
        rows.append(-(y * logits[row].log_softmax(0)).sum() + weight * torch.log(1 - torch.dot(q, p)))
    slow = torch.stack(rows).mean()
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
    same_gradients(pair[k], found, slow)
    assert not memory[1 - k].any()


def test_elr_plus_averages_follow_parameters_and_not_statistics() -> None:
    pair = networks(2)
    changes = {"average": 0.997, "average_ramp": 40}
    made = EarlyLearningRegularisationPlus(settings_of("elr_plus", **changes), a_task(N, B))
    made.attach(pair, torch.zeros(2, 3, 8, 8))
    before = {name: value.clone() for name, value in made.averages[1].state_dict().items()}
    with torch.no_grad():
        for value in pair[1].state_dict().values():
            value.add_(1)
    made.after_step(pair, a_step(1, 1, progress=1.5))
    steps = round(1.5 * 4) + 1
    keep = 0.997 * math.exp(-5 * (1 - min(steps + 1, 40) / 40) ** 2)
    parameters = {name for name, _ in pair[1].named_parameters()}
    for name, value in made.averages[1].state_dict().items():
        expected = keep * before[name] + (1 - keep) * pair[1].state_dict()[name] if name in parameters else before[name]
        assert torch.allclose(value, expected, atol=1e-6), name
    assert all(
        torch.equal(one, other)
        for one, other in zip(made.averages[0].parameters(), networks(2)[0].parameters(), strict=True)
    )


def test_elr_plus_learns_nothing_into_its_averages() -> None:
    made = EarlyLearningRegularisationPlus(settings_of("elr_plus"), a_task(N, B))
    made.attach(networks(2), torch.zeros(2, 3, 8, 8))
    assert not any(each.requires_grad for each in made.averages.parameters())


def test_ramps_begin_low_and_end_at_one() -> None:
    assert grown(0, 40) == pytest.approx(math.exp(-5))
    assert [grown(steps, 40) for steps in (40, 400)] == [1.0, 1.0]
    assert grown(3, 0) == 1.0
