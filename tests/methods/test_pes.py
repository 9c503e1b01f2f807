"""PES against slow formulas: what learns in each phase, how samples are divided, the loss and its class weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from sanm.config.phases import phases_of
from sanm.data import TrainingSet
from sanm.errors import InputError
from sanm.methods.pes import ProgressiveEarlyStopping, weights_of
from sanm.step import Batch, Forward, Look
from sanm.training.schedule import learning_rate
from tests.conftest import config_of
from tests.every import tiny_trainer
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of

B, N, EPOCHS = 9, 5, 40
DIVIDES = 15
"""The first epoch in which samples are divided: digits' 0.375 of 40."""


def method(samples: int = 60, batch_size: int = 8, **changes: Any) -> ProgressiveEarlyStopping:
    settings = settings_of("pes", lambda_u=25, **changes)
    return ProgressiveEarlyStopping(settings, a_task(samples, batch_size)._replace(epochs=EPOCHS))


def test_labels_are_kept_and_others_are_guessed_by_the_network_itself() -> None:
    network, batch = networks(1)[0], a_batch(B, 2, N)
    found = method().believe(batch, Look([network], batch.x, "eval", N), a_step(DIVIDES))
    for row in range(B):
        said = sum(network(batch.x[view, row][None])[0].softmax(0).detach() for view in range(2)) / 2
        expected = torch.eye(CLASSES)[batch.given[row]] if row < N else said**2 / (said**2).sum()
        assert torch.allclose(found[row], expected, atol=1e-5)


def slow_loss(network: Any, batch: Batch, weights: list[float], alpha: float, ramp: float) -> torch.Tensor:
    random = a_step(0).random
    share = float(random.host.beta(alpha, alpha))
    share, order = max(share, 1 - share), torch.randperm(2 * B, generator=random.device).tolist()
    labeled, unlabeled = torch.zeros(()), torch.zeros(())
    for row, other in enumerate(order):
        image = share * batch.x[row // B, row % B] + (1 - share) * batch.x[other // B, other % B]
        target = share * batch.y[0, row % B] + (1 - share) * batch.y[0, other % B]
        logits = network(image[None])[0]
        for c in range(CLASSES):
            if row % B < N:
                labeled = labeled - weights[c] * target[c] * logits.log_softmax(0)[c] / (2 * N)
            else:
                unlabeled = unlabeled + (logits.softmax(0)[c] - target[c]) ** 2 / (2 * (B - N) * CLASSES)
    return labeled + 25 * ramp * unlabeled


@pytest.mark.parametrize(("epoch", "alpha"), [(DIVIDES + 2, 4.0), (EPOCHS // 2 + 1, 0.75)])
def test_the_loss_of_divided_samples(epoch: int, alpha: float) -> None:
    """With another share of mixup in the second half of the run."""
    network, batch, made = networks(1)[0], a_batch(B, 2, N), method()
    made.class_weights.copy_(torch.tensor([2.0, 0.0, 0.5, 3.0]))
    batch = batch.believing(torch.rand(B, CLASSES, generator=torch.Generator().manual_seed(4)).softmax(-1))
    step = a_step(epoch, progress=epoch + 0.5)
    step = type(step)(**{**vars(step), "epochs": EPOCHS, "phase": 2})
    found = made.losses(Forward(network), batch, step).mean()
    slow = slow_loss(network, batch, [2.0, 0.0, 0.5, 3.0], alpha, (epoch + 0.5 - DIVIDES) / 16)
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
    same_gradients(network, found, slow)


def test_until_samples_are_divided_it_is_cross_entropy() -> None:
    network, batch = networks(1)[0], a_batch(B)
    found = method().losses(Forward(network), batch, a_step(DIVIDES - 1)).mean()
    slow = cross_entropy(network(batch.x[0]), batch.given)
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-6)
    same_gradients(network, found, slow)
    assert [len(draw.positions) for draw in method().batches(torch.ones(60), a_step(0))] == [8] * 7 + [4]


def test_class_weights_by_hand() -> None:
    assert torch.allclose(weights_of(torch.tensor([10.0, 20, 0, 30])), torch.tensor([2, 1, 0, 2 / 3]))
    assert torch.allclose(weights_of(torch.tensor([1.0, 99])), torch.tensor([3, 50 / 99]))
    assert weights_of(torch.zeros(3)).tolist() == [0, 0, 0]


def test_who_is_labeled_and_how_classes_count() -> None:
    pair, made = networks(1), method(samples=80)
    survey = a_survey(pair, 80)
    clean = made.trust(survey, 0, a_step(DIVIDES))
    keeps, counts = made.keeps_label(clean, DIVIDES), [0] * CLASSES
    for sample, probs in enumerate(survey.probs(0)):
        given = sample % CLASSES
        agreed = int(probs.argmax()) == given
        counts[given] += agreed
        assert bool(keeps[sample]) == agreed
        assert float(clean[sample]) == pytest.approx(max(float(probs[given]), 0.501) if agreed else float(probs[given]))
    mean = sum(counts) / sum(count > 0 for count in counts)
    assert made.class_weights.tolist() == pytest.approx([min(3, mean / count) if count else 0 for count in counts])


@pytest.mark.parametrize(("labeled", "guessed"), [(60, 0), (50, 1), (45, 2), (30, 4), (20, 4)])
def test_batches(labeled: int, guessed: int) -> None:
    """As many steps whatever is labeled; every round of a pool goes through all of it but what fills no batch."""
    clean = torch.where(torch.arange(60) % 60 < labeled, 0.9, 0.1)
    draws = method().batches(clean, a_step(DIVIDES))
    assert len(draws) == 60 // 8
    for positions, known in draws:
        assert (len(positions), known) == (8, 8 - guessed)
        assert (positions < labeled).tolist() == [True] * known + [False] * guessed
    whole = labeled // (8 - guessed)
    first = torch.cat([draw.positions[: draw.num_labeled] for draw in draws[:whole]]).tolist()
    assert len(set(first)) == len(first)


@pytest.mark.parametrize("learns", ["false", "true"])
def test_what_learns_in_each_phase(learns: str, training_set: TrainingSet) -> None:
    """First all, then the new classifier beside moving statistics, then all but it, or all."""
    overrides = ("base_method=pes", "components=full", "plugin=alasca", f"base_method.classifier_learns={learns}")
    made = tiny_trainer(training_set, *overrides, "base_method.refine_from=1", "base_method.divide_from=2")
    (network,) = made._networks()
    found = []
    for _ in range(3):
        before = {name: value.clone() for name, value in network.state_dict().items()}
        made.train_epoch(lambda step, steps: None)
        found.append({name for name, value in network.state_dict().items() if not torch.equal(value, before[name])})
    names = {name for name, _ in network.own_named_parameters()}
    classifier = {"classifier.weight", "classifier.bias"}
    assert [each & names for each in found] == [names, classifier, names if learns == "true" else names - classifier]
    assert "norm.running_mean" in found[1]


def test_phases_as_published() -> None:
    phases = phases_of(config_of("base_method=pes", "trainer=pes", "data=cifar10"))
    assert [(phase.begin, phase.end) for phase in phases] == [(0, 20), (20, 25), (25, 305)]
    assert [phase.trainer["optimizer"] for phase in phases] == ["sgd", "adam", "sgd"]
    assert (phases[1].fresh, phases[1].trainer["lr"], phases[1].trainer["weight_decay"]) == ("classifier", 1e-4, 0)
    assert [learning_rate(epoch, phases[2].trainer) for epoch in (0, 140)] == pytest.approx([0.02, 0.0101])
    phases = phases_of(config_of("base_method=pes", "trainer=pes", "data=cifar100"))
    assert [(phase.begin, phase.end) for phase in phases] == [(0, 35), (35, 40), (40, 305)]
    made = method()
    assert [made.warming_up(epoch) for epoch in (DIVIDES - 1, DIVIDES)] == [True, False]


@pytest.mark.parametrize("wrong", ["refine_from=0", "refine_lr=0", "late_alpha=0", "lambda_u=-1"])
def test_what_cannot_be_is_refused(wrong: str) -> None:
    with pytest.raises(InputError, match=rf"base_method\.{wrong}"):
        config_of("base_method=pes", f"base_method.{wrong}")
