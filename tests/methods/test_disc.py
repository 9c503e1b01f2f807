"""DISC against slow implementations: how samples are divided, and what each group learns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sanm.data import TrainingSet
from sanm.errors import InputError
from sanm.methods.disc import CLEAN, CORRECTED, HARD, LEFT_OUT, DynamicSelectionAndCorrection
from sanm.network import Network
from sanm.parts.mixup import draw_mix_of_each_view
from sanm.step import Batch, Forward, Look
from tests.conftest import config_of
from tests.every import tiny_trainer
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of

N, B = 24, 8


def method(**changes: Any) -> DynamicSelectionAndCorrection:
    return DynamicSelectionAndCorrection(settings_of("disc", **changes), a_task(N, B))


def divided(made: DynamicSelectionAndCorrection) -> None:
    made.judge(a_survey(networks(1), N), a_step(3))


# ---- division


@pytest.mark.parametrize(
    ("weak", "strong", "most", "expected"),
    [
        (0.4, 0.2, 0.5, HARD),
        (0.2, 0.4, 0.5, HARD),
        (0.4, 0.4, 0.5, CLEAN),
        (0.1, 0.1, 0.85, CORRECTED),
        (0.1, 0.1, 0.79, LEFT_OUT),
        (0.3, 0.3, 0.6, LEFT_OUT),  # as sure as ever
    ],
)
def test_a_label_against_both_thresholds(weak: float, strong: float, most: float, expected: int) -> None:
    """Of a sample with thresholds of 0.3, and 0.5 more from which its class is corrected."""
    made = method(correct_above=0.5)
    made.thresholds.fill_(0.3)
    for view, of_given in enumerate((weak, strong)):
        made.probs[view, 0] = torch.tensor([of_given, most, 0.0, 0.0])
    divided(made)
    assert int(made.group[0]) == expected
    assert int(made.labels[0]) == (1 if expected == CORRECTED else 0)
    assert float(made.trust(a_survey(networks(1), N), 0, a_step(3))[0]) == {CLEAN: 1.0, HARD: 0.5}.get(expected, 0.0)


def test_a_bound_is_not_above_099() -> None:
    made = method(correct_above=0.5)
    made.thresholds.fill_(0.9)
    made.probs[:, 0, 1], made.probs[:, 1, 0] = 0.995, 0.985
    divided(made)
    assert made.group[:2].tolist() == [CORRECTED, LEFT_OUT]


def test_samples_are_divided_as_published() -> None:
    """Three times, by probabilities that change: thresholds that follow have no part in their own epoch."""
    made = method(momentum=0.7, correct_above=0.1)
    thresholds = [[1 / N] * N for _ in range(2)]
    seen = set()
    for epoch in range(3):
        generator = torch.Generator().manual_seed(epoch)
        made.probs.copy_((2 * torch.randn(2, N, CLASSES, generator=generator)).softmax(-1))
        divided(made)
        for i in range(N):
            given, probs = i % CLASSES, made.probs[:, i]
            above = [float(probs[v, given]) > thresholds[v][i] for v in range(2)]
            mean = (probs[0] + probs[1]) / 2
            bound = min((thresholds[0][i] + thresholds[1][i]) / 2 + 0.1, 0.99)
            corrected = not any(above) and float(mean.max()) > bound
            expected = CLEAN if all(above) else HARD if any(above) else CORRECTED if corrected else LEFT_OUT
            assert int(made.group[i]) == expected
            assert int(made.labels[i]) == (int(mean.argmax()) if corrected else given)
            seen.add(expected)
            for v in range(2):
                thresholds[v][i] = 0.7 * thresholds[v][i] + 0.3 * float(probs[v].max())
                assert float(made.thresholds[v, i]) == pytest.approx(thresholds[v][i], abs=1e-6)
    assert seen == {CLEAN, HARD, CORRECTED, LEFT_OUT}


def test_a_threshold_of_constant_confidence() -> None:
    made = method(momentum=0.9)
    made.probs[..., 0] = 0.8
    for _ in range(5):
        divided(made)
    assert torch.allclose(made.thresholds, torch.tensor(0.8 * (1 - 0.9**5) + 0.9**5 / N))


def test_an_epoch_of_some_samples_divides_these() -> None:
    made = method()
    step = replace(a_step(3), drawn=torch.tensor([3, 5, 8]))
    assert made.judged_by(step).tolist() == [0, 1, 2]
    survey = a_survey(networks(1), 3)
    survey.index, survey.given = torch.tensor([3, 5, 8]), torch.tensor([3, 1, 0])
    made.judge(survey, step)
    assert (made.group == LEFT_OUT).nonzero()[:, 0].tolist() == [3, 5, 8]
    assert [len(draw.positions) for draw in made.batches(torch.ones(3), step)] == [3]


# ---- batches


def test_what_is_learned_comes_first() -> None:
    made = method()
    made.group.copy_(torch.arange(N) % 4)
    draws = made.batches(torch.ones(N), a_step(3))
    assert sorted(torch.cat([draw.positions for draw in draws]).tolist()) == list(range(N))
    for draw in draws:
        learned = made.group[draw.positions] != LEFT_OUT
        assert learned.tolist() == [True] * draw.num_labeled + [False] * (len(learned) - draw.num_labeled)
    assert all(draw.num_labeled == len(draw.positions) for draw in made.batches(torch.ones(N), a_step(1)))


# ---- one step


def a_divided_batch(made: DynamicSelectionAndCorrection, masked: int = 0) -> tuple[Batch, list[int], list[int]]:
    """Six learned rows of all groups, two that are left out; with groups and labels by row."""
    batch = a_batch(B, views=2 + masked, num_labeled=6)
    groups = [CLEAN, HARD, CORRECTED, CLEAN, HARD, CORRECTED, LEFT_OUT, LEFT_OUT]
    labels = [(c + (g == CORRECTED)) % CLASSES for c, g in zip(batch.given.tolist(), groups, strict=True)]
    made.group[batch.index], made.labels[batch.index] = torch.tensor(groups, dtype=torch.int8), torch.tensor(labels)
    return replace(batch, own=2), groups, labels


def slow_mix(network: Network, batch: Batch, targets: Tensor) -> Tensor:
    """The sum over views of the mean cross-entropy of six mixed images; targets ``[V, 6, K]``."""
    rows = replace(batch, x=batch.x[:, :6])
    mix, total = draw_mix_of_each_view(rows, 5.0, a_step(3).random), torch.zeros(())
    for view in range(len(batch.x)):
        kept, x, y = mix.coefficients[view], batch.x[view], targets[view]
        for i in range(6):
            j = int(mix.partners[view, i])
            logp = network((kept * x[i] + (1 - kept) * x[j])[None])[0].log_softmax(0)
            total = total - ((kept * y[i] + (1 - kept) * y[j]) * logp).sum() / 6
    return total


@pytest.mark.parametrize("masked", [0, 1])
def test_a_step_is_the_published_one(masked: int) -> None:
    """Value and gradients, and what is remembered; a masked view has a part in the mix alone."""
    network, made = networks(1)[0], method(hard_weight=0.3, q=0.7)
    batch, groups, labels = a_divided_batch(made, masked)
    own = batch.believing(made.believe(batch, Look([network], batch.x, "eval"), a_step(3)))
    found = made.losses(Forward(network), own, a_step(3))
    assert found.shape == (2 + masked, B)
    slow = slow_mix(network, batch, torch.eye(CLASSES)[labels].expand(2 + masked, -1, -1))
    for view in range(2):
        for i, group in enumerate(groups):
            p = network(batch.x[view, i][None])[0].softmax(0)
            assert torch.allclose(made.probs[view, batch.index[i]], p.detach(), atol=1e-6)
            p_given = p[batch.given[i]]
            slow = slow - (group == CLEAN) * p_given.log() / B + (group == HARD) * 0.3 * (1 - p_given**0.7) / 0.7 / B
    assert float(found.mean().detach()) == pytest.approx(float(slow.detach()) * 2 / (2 + masked), rel=1e-5)
    same_gradients(network, found.mean(), slow * 2 / (2 + masked))


def test_the_warm_up_is_cross_entropy_of_both_views() -> None:
    network, made, batch = networks(1)[0], method(), a_batch(B, views=2)
    found = made.losses(Forward(network), batch, a_step(1)).mean()
    slow = sum(torch.nn.functional.cross_entropy(network(x), batch.given) for x in batch.x)
    same_gradients(network, found, slow)  # type: ignore[arg-type]
    assert torch.allclose(made.probs[:, batch.index], network(batch.x.flatten(0, 1)).softmax(-1).unflatten(0, (2, -1)))


def test_a_batch_of_which_nothing_is_learned_moves_nothing_but_what_was_said() -> None:
    network, made = networks(1)[0], method()
    batch = replace(a_batch(B, views=2), num_labeled=0)
    made.group.zero_()
    found = made.losses(Forward(network), batch, a_step(3)).mean()
    assert not any(each.any() for each in torch.autograd.grad(found, list(network.parameters())))
    assert torch.allclose(made.probs[:, batch.index].sum(-1), torch.ones(2, B))


def test_masked_views_may_stand_in_the_place_of_both() -> None:
    network, made = networks(1)[0], method()
    batch, _, _ = a_divided_batch(made)
    seen = torch.rand(B, CLASSES).softmax(-1)
    found = made.losses(Forward(network), replace(batch, own=0, seen=seen), a_step(3))
    slow = slow_mix(network, batch, batch.y)
    assert float(found.mean().detach()) == pytest.approx(float(slow.detach()), rel=1e-5)
    assert torch.equal(made.probs[:, batch.index], seen.expand(2, -1, -1))


# ---- a run, and its settings


def test_clean_samples_are_mostly_right(training_set: TrainingSet) -> None:
    made = tiny_trainer(training_set, "base_method=disc", "components=none", "trainer.epochs=10", "seed=2")
    for _ in range(10):
        made.train_epoch(lambda *_: None)
    assert isinstance(made.method, DynamicSelectionAndCorrection)
    right = training_set.given_labels == torch.arange(160) % 4
    clean = made.method.group == CLEAN
    assert float(right[clean].float().mean()) > 0.95
    assert float(clean[right].float().mean()) > 0.6


@pytest.mark.parametrize(
    ("where", "warm_up", "momentum", "hard_weight", "optimizer"),
    [
        (("data=cifar10", "noise.rate=0.5"), 20, 0.99, 1.0, ("sgd", 0.1, 0.0, 1e-3, [80, 160])),
        (("data=cifar100", "noise.rate=0.8"), 20, 0.95, 0.2, ("adam", 1e-3, 0.9, 0.0, [120])),
        (("data=cifar10", "noise=asymmetric"), 20, 0.95, 1.0, ("sgd", 0.1, 0.0, 1e-3, [80, 160])),
        (("data=cifar100", "noise=instance", "noise.rate=0.4"), 15, 0.99, 1.0, ("sgd", 0.1, 0.0, 1e-3, [80, 160])),
        (("data=animal10n", "noise=none"), 10, 0.99, 1.0, ("sgd", 0.05, 0.0, 5e-4, [50, 80])),
        (("data=clothing1m", "noise=none"), 10, 0.95, 1.0, ("sgd", 0.01, 0.0, 5e-4, [50, 80])),
    ],
)
def test_published_settings(
    where: tuple[str, ...], warm_up: int, momentum: float, hard_weight: float, optimizer: tuple[Any, ...]
) -> None:
    config = config_of("base_method=disc", "trainer=disc", "data.root=/nowhere", *where)
    own, trainer = config["base_method"], config["trainer"]
    assert (own["warm_up"], own["momentum"], own["hard_weight"]) == (warm_up, momentum, hard_weight)
    keys = ("optimizer", "lr", "momentum", "weight_decay", "milestones")
    assert tuple(trainer[key] for key in keys) == optimizer


def test_data_without_published_settings_name_the_key() -> None:
    with pytest.raises(InputError, match=r"base_method\.warm_up=VALUE"):
        config_of("base_method=disc", "data=mnist", "data.root=/nowhere")


@pytest.mark.parametrize("changes", [{"learn_from": "weak"}, {"views": 2}])
def test_a_sample_without_two_views_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"base_method\.learn_from.*base_method\.views"):
        method(**changes)
