"""MLNT against a slow, obvious implementation of its formulas, and against finite differences."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sanm.config.phases import phases_of
from sanm.methods.mlnt import MetaLearning, nearest, relabelled
from sanm.network import Network
from sanm.step import Forward, Step
from tests.conftest import config_of
from tests.methods.conftest import CLASSES, a_batch, a_step, a_task, networks, settings_of

N, B = 30, 12
SETTINGS = {
    "virtual_steps": 2,
    "virtual_lr": 0.5,
    "changed": 0.5,
    "ramp_up": 0.25,
    "average": 0.9,
    "late_average": 0.99,
}


def method(network: Network, **changes: Any) -> MetaLearning:
    made = MetaLearning(settings_of("mlnt", **{**SETTINGS, **changes}), a_task(N, B))
    made.attach([network], torch.zeros(2, 3, 8, 8))
    with torch.no_grad():
        for k, copy in enumerate((made.teachers[0], made.guides[0])):
            copy.classifier.weight.mul_(2.0 + k)  # type: ignore[union-attr, operator]
            copy.stem.weight.mul_(1.0 + 0.1 * k)  # type: ignore[union-attr, operator]
    made.teachers.eval()
    return made


def late(progress: float = 3.5, epochs: int = 20) -> Step:
    """In a round that began in epoch 2; a quarter of the run is five epochs."""
    return replace(a_step(int(progress), progress=progress), phase=1, begin=2, epochs=epochs)


def slow_labels(made: MetaLearning, x: Tensor, given: Tensor, step: Step) -> list[list[int]]:
    """The wrong labels of each virtual step, by the same draws."""
    guide = made.guides[0].eval()
    features = guide.features(x).mean((2, 3))  # type: ignore[operator]
    random, found = a_step(0).random.device, []
    for _ in range(made.settings["virtual_steps"]):
        chosen = torch.randperm(len(x), generator=random)[: int(made.settings["changed"] * len(x))].tolist()
        which = torch.randint(10, (len(chosen),), generator=random).tolist()
        labels = given.tolist()
        for place, k in zip(chosen, which, strict=True):
            distances = [
                (float((features[place] - features[j]).square().sum()), j) for j in range(len(x)) if j != place
            ]
            labels[place] = int(given[sorted(distances)[k][1]])
        found.append(labels)
    return found


def virtual_logits(network: Network, loss: Tensor, rate: float, x: Tensor, second_order: bool) -> Tensor:
    parameters = dict(network.named_parameters())
    gradients = torch.autograd.grad(loss, list(parameters.values()), create_graph=second_order, retain_graph=True)
    moved = {name: w - rate * g for (name, w), g in zip(parameters.items(), gradients, strict=True)}
    return torch.func.functional_call(network, moved, (x,))


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("divergence_of", ["samples", "elements"])
def test_a_step_is_the_published_one(second_order: bool, divergence_of: str) -> None:
    network, batch, step = networks(1)[0], a_batch(B, views=2), late()
    made = method(network, second_order=second_order, divergence_of=divergence_of)
    found = made.losses(Forward(network), batch, step)
    assert found.shape == (2, B)

    x, logits = batch.x[0], network(batch.x[0])
    taught = made.teachers[0](x).softmax(1).detach()
    told = []
    for labels in slow_labels(made, x, batch.given, step):
        inner = cross_entropy(logits, torch.tensor(labels))
        logp = virtual_logits(network, inner, 0.5, x, second_order).log_softmax(1)
        rows = [(taught[i, c] * (taught[i, c].log() - logp[i, c])) for i in range(B) for c in range(CLASSES)]
        told.append(torch.stack(rows).sum() / (B if divergence_of == "samples" else B * CLASSES))
    weight = math.exp(-5 * (1 - 1.5 / 5) ** 2)
    plain = torch.stack([cross_entropy(network(view), batch.given) for view in batch.x]).mean()
    slow = plain + weight * (told[0] + told[1]) / 2
    assert float(found.mean().detach()) == pytest.approx(float(slow.detach()), rel=1e-5)
    parameters = list(network.parameters())
    for one, other in zip(
        torch.autograd.grad(found.mean(), parameters), torch.autograd.grad(slow, parameters), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-5)


class Linear(Network):
    """One linear layer on the mean colors, in double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Identity()
        self.classifier = nn.Linear(3, CLASSES).double()

    def maps(self, x: Tensor) -> Any:
        yield x


def test_the_second_order_is_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    network, batch, step = Linear(), a_batch(B), late(9.0)
    batch = replace(batch, x=batch.x.double())
    made = MetaLearning(settings_of("mlnt", **SETTINGS, second_order=True), a_task(N, B))
    made.attach([network], torch.zeros(2, 3, 8, 8))
    with torch.no_grad():
        made.teachers[0].classifier.weight.mul_(-3)  # type: ignore[union-attr, operator]

    def loss() -> Tensor:
        plain = Forward(network)(batch.x)
        whole = made.losses(Forward(network), batch, replace(step, random=a_step(0).random)).mean().double()
        return whole - cross_entropy(plain[0], batch.given).double()

    (gradient,) = torch.autograd.grad(loss(), [network.classifier.weight])
    for place in ((0, 0), (1, 2), (3, 1)):
        values = []
        for change in (1e-2, -1e-2):
            with torch.no_grad():
                network.classifier.weight[place] += change
            values.append(float(loss().detach()))
            with torch.no_grad():
                network.classifier.weight[place] -= change
        assert float(gradient[place]) == pytest.approx((values[0] - values[1]) / 2e-2, abs=1e-4)


@pytest.mark.parametrize(("phase", "virtual_steps"), [(0, 2), (1, 0)])
def test_without_virtual_steps_it_is_cross_entropy(phase: int, virtual_steps: int) -> None:
    network, batch = networks(1)[0], a_batch(B)
    made = method(network, virtual_steps=virtual_steps)
    found = made.losses(Forward(network), batch, replace(late(), phase=phase)).mean()
    assert float(found.detach()) == pytest.approx(
        float(cross_entropy(network(batch.x[0]).detach(), batch.given)), rel=1e-6
    )
    assert (made.predictors([network]) == [network]) == (virtual_steps == 0)


def test_without_wrong_labels_all_virtual_steps_are_one() -> None:
    network, batch = networks(1)[0], a_batch(B)
    told = [
        float(method(network, changed=0.0, virtual_steps=m).losses(Forward(network), batch, late()).mean().detach())
        for m in (1, 3)
    ]
    assert told[0] == pytest.approx(told[1], rel=1e-6)


def test_neighbours_are_others_and_labels_come_from_the_batch() -> None:
    features = torch.randn(B, 4, generator=torch.Generator().manual_seed(0))
    features[3] = features[5]
    found = nearest(features)
    assert found.shape == (B, 10)
    assert not (found == torch.arange(B)[:, None]).any()
    assert found[3, 0] == 5
    assert nearest(features[:4]).shape == (4, 3)
    given = torch.tensor([0, 2] * (B // 2))
    wrong = relabelled(given, found, B // 2, a_step(0).random)
    assert set(wrong.tolist()) <= {0, 2}
    assert int((wrong != given).sum()) <= B // 2
    assert torch.equal(relabelled(given, found, 0, a_step(0).random), given)


def test_the_teacher_is_the_network_at_first_and_follows_it_later() -> None:
    network, batch = networks(1)[0], a_batch(B)
    made = method(network)
    made.after_step([network], replace(late(), phase=0))
    assert torch.equal(made.teachers[0].stem.weight, network.stem.weight)  # type: ignore[union-attr]
    for progress, keep in ((3.5, 0.9), (7.0, 0.99)):
        before = made.teachers[0].stem.weight.clone()  # type: ignore[union-attr, operator]
        with torch.no_grad():
            network.stem.weight.add_(1)  # type: ignore[union-attr, operator]
        made.after_step([network], late(progress))
        expected = keep * before + (1 - keep) * network.stem.weight  # type: ignore[operator]
        assert torch.allclose(made.teachers[0].stem.weight, expected, atol=1e-6)  # type: ignore[union-attr, arg-type]
    made.losses(Forward(network), batch, late(2.0))  # the first step of a round
    assert torch.equal(made.teachers[0].stem.weight, network.stem.weight)  # type: ignore[union-attr]


@pytest.mark.parametrize("phase", [1, 2])
def test_each_round_takes_its_neighbours_from_what_was_trained_before(phase: int) -> None:
    network = networks(1)[0]
    made = method(network)

    class Left:
        networks = (network,)

    made.enter(phase, Left())  # type: ignore[arg-type]
    expected = network if phase == 1 else made.teachers[0]
    assert torch.equal(made.guides[0].classifier.weight, expected.classifier.weight)  # type: ignore[union-attr]


def test_the_weight_grows_as_published() -> None:
    made = method(networks(1)[0])
    found = [made._weight(late(2 + 5 * u)) for u in (0, 0.25, 0.5, 0.75, 1, 2)]
    assert found == pytest.approx([0.0067, 0.0601, 0.2865, 0.7316, 1, 1], abs=1e-4)
    lengths = phases_of(config_of("base_method=mlnt", "trainer=mlnt"))
    assert [(phase.begin, phase.end) for phase in lengths] == [(0, 30), (30, 150)]


@pytest.mark.parametrize(("part", "expected"), [(None, 0.25), (0.5, 0.5)])
def test_from_the_second_round_on_the_teacher_before_teaches_too_and_leaves_samples_out(
    part: float | None, expected: float
) -> None:
    network, batch = networks(1)[0], a_batch(B, views=2)
    step = replace(late(8.0), phase=2, begin=4)
    made = method(network, mentor_part=part, mentor_drops=0.24)
    found = made.losses(Forward(network), batch, step)
    x = batch.x[0]
    mentor, teacher = (each(x).softmax(1).detach() for each in (made.guides[0].eval(), made.teachers[0]))  # type: ignore[operator]
    kept = [row for row in range(B) if float(mentor[row, batch.given[row]]) >= 0.24]
    assert 0 < len(kept) < B
    taught, logits = (1 - expected) * teacher + expected * mentor, network(x)
    told = []
    for labels in slow_labels(made, x, batch.given, step):
        logp = virtual_logits(network, cross_entropy(logits, torch.tensor(labels)), 0.5, x, False).log_softmax(1)
        told.append((taught * (taught.log() - logp)).sum() / B)
    weight = math.exp(-5 * (1 - 4 / 5) ** 2)
    plain = torch.stack([cross_entropy(network(view)[kept], batch.given[kept]) for view in batch.x]).mean()
    slow = plain + weight * (told[0] + told[1]) / 2
    assert float(found.mean().detach()) == pytest.approx(float(slow.detach()), rel=1e-5)
    first = made.losses(Forward(network), batch, replace(step, phase=1, random=a_step(0).random))
    assert not torch.allclose(first, found), "the first round has no mentor"
