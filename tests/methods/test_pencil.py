"""PENCIL against slow, obvious implementations: the loss of each phase, and what becomes of the labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sanm.config.phases import phases_of
from sanm.data import TrainingSet
from sanm.errors import InputError
from sanm.methods.pencil import Pencil
from sanm.step import Batch, Forward, Look, Step
from tests.conftest import config_of
from tests.every import tiny_trainer
from tests.methods.conftest import CLASSES, a_batch, a_step, a_task, networks, same_gradients, settings_of

N, B = 20, 6
PUBLISHED = {"label_rate": 0.46875, "compatibility_weight": 0.4, "entropy_weight": 0.1}


def method(**changes: Any) -> Pencil:
    made = Pencil(settings_of("pencil", **changes), a_task(N, B))
    with torch.no_grad():
        made.labels += torch.randn(N, CLASSES, generator=torch.Generator().manual_seed(2))
    return made


def a_phase(number: int) -> Step:
    return replace(a_step(0), phase=number)


def loss_of(made: Pencil, batch: Batch, logits: Tensor, phase: int) -> Tensor:
    step = a_phase(phase)
    believed = batch.believing(made.believe(batch, Look([], batch.x, "eval"), step))
    return made.losses(lambda x: logits, believed, step).mean()  # type: ignore[arg-type]


def slow_loss(u: Tensor, logits: Tensor, batch: Batch, phase: int, compatibility: str) -> Tensor:
    """Of label logits ``u [B, K]`` and network logits ``[B, K]``, a number at a time."""
    total = torch.zeros(())
    for row, given in enumerate(batch.given.tolist()):
        p, d = logits[row].softmax(0), u[row].softmax(0)
        for c in range(CLASSES):
            total = total + p[c] * (p[c] / d[c]).log() / (B * CLASSES)
            if phase == 1:
                total = total - 0.1 * p[c] * p[c].log() / (B * CLASSES)
        if phase == 1:
            seen = d.softmax(0) if compatibility == "released" else d
            total = total - 0.4 * seen[given].log() / B
    return total


@pytest.mark.parametrize("compatibility", ["released", "paper"])
@pytest.mark.parametrize("phase", [1, 2])
def test_a_step_is_the_published_one(phase: int, compatibility: str) -> None:
    """Value, gradient of the network, and the labels after a step of their own."""
    network, batch, made = networks(1)[0], a_batch(B), method(**PUBLISHED, compatibility=compatibility)
    before = made.labels.detach().clone()
    found = loss_of(made, batch, Forward(network)(batch.x), phase)
    leaf = before[batch.index].requires_grad_()
    slow = slow_loss(leaf, network(batch.x[0]), batch, phase, compatibility)
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
    same_gradients(network, found, slow)
    if phase == 2:
        assert torch.autograd.grad(found, [made.labels], allow_unused=True) == (None,), "labels are frozen"
        return
    (optimizer,) = made.optimizers()
    found.backward()
    optimizer.step()
    lam = 0.46875 * B * CLASSES
    expected = before.clone()
    expected[batch.index] -= lam * torch.autograd.grad(slow, leaf)[0]
    assert torch.allclose(made.labels, expected, atol=1e-5)
    others = [sample for sample in range(N) if sample not in batch.index.tolist()]
    assert torch.equal(made.labels[others], before[others])


def test_at_first_it_is_cross_entropy_and_labels_stay_at_their_start() -> None:
    network, batch = networks(1)[0], a_batch(B)
    made = Pencil(settings_of("pencil"), a_task(N, B))
    assert torch.equal(made.labels.detach(), 10 * torch.eye(CLASSES)[torch.arange(N) % CLASSES])
    found = loss_of(made, batch, Forward(network)(batch.x), 0)
    slow = cross_entropy(network(batch.x[0]), batch.given)
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-6)
    same_gradients(network, found, slow)
    assert torch.autograd.grad(found, [made.labels], allow_unused=True) == (None,)


def test_a_label_follows_the_prediction_in_closed_form() -> None:
    batch = a_batch(1)
    made = Pencil(settings_of("pencil", compatibility_weight=0.0, entropy_weight=0.0, label_rate=0.5), a_task(N, 1))
    before, logits = made.labels.detach().clone(), torch.randn(1, 1, CLASSES)
    loss_of(made, batch, logits, 1).backward()
    (optimizer,) = made.optimizers()
    optimizer.step()
    moved = made.labels.detach() - before
    expected = -0.5 * (before[batch.index].softmax(-1) - logits[0].softmax(-1))
    assert torch.allclose(moved[batch.index], expected, atol=1e-6)
    assert float(moved.sum(1).abs().max()) < 1e-5
    assert int(moved.any(1).sum()) == 1


@pytest.mark.parametrize("own", [1, 0])
def test_masked_views_do_not_move_labels(own: int) -> None:
    """Whether they are beside the method's own view, or in its place: what the look saw of that stands for it."""
    plain, batch = method(), a_batch(B)
    logits = torch.randn(1, B, CLASSES)
    loss_of(plain, batch, logits, 1).backward()
    made, masked = method(), torch.randn(1, B, CLASSES)
    believed = made.labels.detach()[batch.index].softmax(-1)
    views = torch.cat([logits, masked])[1 - own :]
    seen = None if own else logits[0].softmax(-1)
    both = replace(batch, y=believed.expand(len(views), B, CLASSES), own=own, seen=seen)
    made.losses(lambda x: views, both, a_phase(1)).mean().backward()  # type: ignore[arg-type]
    assert plain.labels.grad is not None
    assert made.labels.grad is not None
    assert torch.allclose(made.labels.grad, plain.labels.grad, atol=1e-7)


def test_labels_that_are_as_good_as_certain_stay_finite() -> None:
    made = method(label_start=300.0)
    logits = torch.randn(1, B, CLASSES, requires_grad=True)
    loss = loss_of(made, a_batch(B), logits, 1)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert made.labels.grad is not None
    assert made.labels.grad.isfinite().all()


def test_its_phases_are_those_published() -> None:
    phases = phases_of(config_of("base_method=pencil", "trainer=pencil", "data=cifar10", "base_method.final_lr=0.2"))
    assert [(phase.begin, phase.end) for phase in phases] == [(0, 70), (70, 200), (200, 320)]
    assert [phase.trainer["lr"] for phase in phases] == [0.06, 0.06, 0.2]
    assert [phase.trainer["milestones"] for phase in phases] == [[], [], [40, 80]]
    assert not any(phase.new_optimizer for phase in phases[1:]), "one optimizer, whose momentum goes on"


def test_wrong_labels_are_found(training_set: TrainingSet) -> None:
    """A fifth of the given labels is wrong: in the end fewer of the learned ones are."""
    overrides = ("base_method=pencil", "components=none", "trainer.epochs=20", "base_method.label_rate=3")
    made = tiny_trainer(training_set, *overrides)
    for _ in range(14):
        made.train_epoch(lambda *_: None)
    truth = torch.arange(160) % 4
    assert isinstance(made.method, Pencil)
    wrong = float((made.method.labels.argmax(1) != truth).float().mean())
    assert wrong < 0.12 < float((training_set.given_labels != truth).float().mean())


@pytest.mark.parametrize("wrong", ["label_start=0", "label_rate=-1", "compatibility=plain", "final_lr=0"])
def test_what_cannot_be_is_refused(wrong: str) -> None:
    with pytest.raises(InputError, match=rf"base_method\.{wrong}"):
        config_of("base_method=pencil", f"base_method.{wrong}")
