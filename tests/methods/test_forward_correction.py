"""Forward correction against slow, obvious implementations: the matrix, the loss, and what minimises it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sanm.config.phases import phases_of
from sanm.data import TrainingSet
from sanm.errors import InputError
from sanm.methods.forward_correction import ForwardCorrection, known_transition, surest_rows, with_diagonal
from sanm.step import Batch, Forward
from tests.conftest import config_of
from tests.every import tiny_trainer
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of
from tests.trained import run_in

N, B = 40, 6
SINGLE = {"transition": "known", "phases": [{"begin": 0}]}
SYMMETRIC = {"name": "symmetric", "rate": 0.5, "convention": "inclusive"}


def method(**changes: Any) -> ForwardCorrection:
    return ForwardCorrection(settings_of("forward_correction", **changes), a_task(N, B))


def loss_of(made: ForwardCorrection, batch: Batch, logits: Tensor, phase: int) -> Tensor:
    step = a_step(0)
    step = type(step)(**{**vars(step), "phase": phase})
    return made.losses(lambda x: logits, batch, step).mean()  # type: ignore[arg-type]


def random_matrix() -> Tensor:
    return torch.rand(CLASSES, CLASSES, generator=torch.Generator().manual_seed(1)).softmax(-1)


def test_the_second_networks_loss_is_that_of_the_labels_it_predicts() -> None:
    network, batch, made = networks(1)[0], a_batch(B), method()
    made.transition.copy_(random_matrix())
    found = loss_of(made, batch, Forward(network)(batch.x), 1)
    probs, total = network(batch.x[0]).softmax(1), torch.zeros(())
    for row, label in enumerate(batch.given.tolist()):
        total = total - sum(made.transition[i, label] * probs[row, i] for i in range(CLASSES)).log()  # type: ignore[union-attr]
    assert float(found.detach()) == pytest.approx(float(total.detach()) / B, abs=1e-5)
    same_gradients(network, found, total / B)


@pytest.mark.parametrize("phase", [0, 1])
def test_without_noise_it_is_cross_entropy(phase: int) -> None:
    """In the first phase whatever the matrix, in the second with the identity; and no gradient is lost in a zero."""
    batch, made = a_batch(B), method()
    if not phase:
        made.transition.copy_(random_matrix())
    logits = torch.randn(1, B, CLASSES, requires_grad=True)
    found, plain = loss_of(made, batch, logits, phase), cross_entropy(logits[0], batch.given)
    assert float(found.detach()) == pytest.approx(float(plain.detach()), abs=1e-6)
    for one, other in zip(torch.autograd.grad(found, [logits]), torch.autograd.grad(plain, [logits]), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_a_row_is_what_is_said_of_the_surest_sample_that_is_no_outlier() -> None:
    probs = torch.rand(100, CLASSES, generator=torch.Generator().manual_seed(0)).softmax(-1)
    for ignored, averaged in ((0.0, 0.0), (0.03, 0.0), (0.03, 0.1)):
        expected = []
        for label in range(CLASSES):
            order = sorted(range(100), key=lambda sample: -float(probs[sample, label]))[int(ignored * 100) :]
            rows = [probs[sample] for sample in order[: max(1, int(averaged * 100))]]
            expected.append(sum(rows) / len(rows))
        found = surest_rows(probs, ignored, averaged)
        assert torch.allclose(found, torch.stack(expected), atol=1e-6)  # type: ignore[arg-type]
        assert torch.allclose(found.sum(1), torch.ones(CLASSES))


def test_no_class_is_given_up() -> None:
    dead = torch.tensor([[0.0, 0.7, 0.3], [0.1, 0.9, 0.0], [0.0, 0.0, 1.0]])
    expected = torch.tensor([[0.05, 0.95 * 0.7, 0.95 * 0.3], [0.1, 0.9, 0.0], [0.0, 0.0, 1.0]])
    assert torch.allclose(with_diagonal(dead, 0.05), expected)
    assert torch.equal(with_diagonal(dead, 0.0), dead)


def test_the_first_network_tells_the_matrix_and_only_once() -> None:
    made, survey = method(ignored=0.0), a_survey(networks(1), N)
    made.enter(1, survey)
    expected = with_diagonal(surest_rows(survey.probs(0), 0.0, 0.0), 0.05)
    assert torch.equal(made.transition, expected)
    made.enter(2, a_survey(networks(2)[1:], N))
    assert torch.equal(made.transition, expected)


def test_or_its_best_state_does() -> None:
    best, last = networks(2)
    made = method(estimated_by="best")
    made.attach([best], torch.zeros(2, 3, 8, 8))
    made.validated([best], 50.0)
    made.validated([last], 49.0)
    made.enter(1, a_survey([last], N))
    other = method()
    other.enter(1, a_survey([best], N))
    assert torch.equal(made.transition, other.transition)


@pytest.mark.parametrize(
    ("noise", "row"),
    [
        (SYMMETRIC, [0.625, 0.125, 0.125, 0.125]),
        ({**SYMMETRIC, "convention": "exclusive"}, [0.5, 0.5 / 3, 0.5 / 3, 0.5 / 3]),
        ({"name": "pair_flip", "rate": 0.3}, [0.7, 0.3, 0.0, 0.0]),
    ],
)
def test_a_known_matrix_is_what_the_noise_does(noise: dict[str, Any], row: list[float]) -> None:
    found = known_transition(noise, CLASSES)
    for label in range(CLASSES):
        assert found[label].roll(-label).tolist() == pytest.approx(row)
    assert torch.equal(method(**SINGLE, noise=noise).transition, found)


def test_what_minimises_it_is_the_clean_posterior() -> None:
    """A table of three kinds of samples, whose given labels are seen through the true matrix."""
    clean = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.05, 0.85, 0.05, 0.05], [0.2, 0.2, 0.3, 0.3]]).double()
    made = method(**SINGLE, noise=SYMMETRIC).double()
    batch = a_batch(3)
    batch = Batch(**{**vars(batch), "y": (clean @ made.transition)[None]})
    logits = torch.zeros(1, 3, CLASSES, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=100, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(made, batch, logits, 0)
        loss.backward()
        return loss

    for _ in range(10):
        optimizer.step(closure)  # type: ignore[arg-type]
    assert torch.allclose(logits[0].detach().softmax(-1), clean, atol=1e-3)


def test_a_run_begins_its_second_network_from_scratch(training_set: TrainingSet) -> None:
    made = tiny_trainer(training_set, "base_method=forward_correction", "components=none")
    for _ in range(2):
        made.train_epoch(lambda *_: None)
    assert isinstance(made.method, ForwardCorrection)
    assert torch.equal(made.method.transition, torch.eye(4))
    weights = [weight.detach().clone() for weight in made.networks[0].parameters()]
    made._begin_epoch(2)
    assert not torch.equal(made.method.transition, torch.eye(4))
    assert float(made.method.transition.diagonal().min()) >= 0.05 - 1e-6
    assert not torch.equal(weights[0], next(made.networks[0].parameters()))


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (("base_method.transition=known",), r"base_method\.phases=\[\{begin: 0\}\]"),
        (("base_method.phases=[{begin: 0}]",), r"base_method\.phases"),
        (("base_method.transition=known", "base_method.phases=[{begin: 0}]", "noise=none"), r"transition=estimated"),
        (("base_method.estimated_by=best", "data.validation=0"), r"base_method\.estimated_by=best .*data\.validation"),
    ],
)
def test_what_does_not_go_together_is_said_before_training(
    overrides: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=named):
        run_in(tmp_path, "base_method=forward_correction", "components=none", *overrides)


@pytest.mark.parametrize(
    ("overrides", "milestones"),
    [
        (("data=digits",), [10]),
        (("trainer=forward_correction", "data=cifar10"), [40, 80]),
        (("trainer=forward_correction", "data=cifar100"), [80, 120]),
    ],
)
def test_either_half_has_the_runs_schedule(overrides: tuple[str, ...], milestones: list[int]) -> None:
    phases = phases_of(config_of("base_method=forward_correction", *overrides))
    assert [phase.trainer["milestones"] for phase in phases] == [milestones] * 2
    assert [phase.schedule_epoch(phase.begin) for phase in phases] == [0, 0]


@pytest.mark.parametrize("wrong", ["milestones: scald", "milestones: [a]", "milestones: 3", "lr: abc", "lr: -1"])
def test_what_no_phase_can_have_is_refused(wrong: str) -> None:
    key = wrong.partition(":")[0]
    with pytest.raises(InputError, match=re.escape(f"base_method.phases[1].{key}=")):
        config_of("base_method=forward_correction", f"base_method.phases=[{{begin: 0}},{{begin: 0.5, {wrong}}}]")


@pytest.mark.parametrize("wrong", ["transition=true_one", "ignored=0.6", "averaged=-1", "smallest_diagonal=2"])
def test_what_cannot_be_is_refused(wrong: str) -> None:
    with pytest.raises(InputError, match=rf"base_method\.{wrong}"):
        config_of("base_method=forward_correction", f"base_method.{wrong}")
