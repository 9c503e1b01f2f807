"""What the trainer promises to methods and plug-ins, part by part."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sanm import methods
from sanm.config.phases import phases_of
from sanm.data import TrainingSet
from sanm.errors import InputError
from sanm.methods import Method
from sanm.methods.coteaching import own_losses
from sanm.methods.elr import EarlyLearningRegularisation, bounded
from sanm.network import Network, taking_statistics
from sanm.plugins.sanm import SANM
from sanm.step import Batch, Forward, Look
from sanm.training import trainer
from tests.conftest import config_of
from tests.every import TINY, tiny_trainer
from tests.methods.conftest import CLASSES, a_batch, a_step, a_task, networks, settings_of

MEAN, STD = torch.zeros(3), torch.ones(3)


def statistics(network: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in network.named_buffers()}


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


# ---- what learns


class Orphan(Method):
    """A parameter that nobody ever moves."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.offset = nn.Parameter(torch.zeros(3))


class Twice(Orphan):
    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD([self.offset], 0.1), torch.optim.SGD([self.offset], 0.1)]


class Learns(Orphan):
    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD([self.offset], 0.1)]

    def losses(self, forward: Forward, batch: Batch, step: Any) -> Tensor:
        return super().losses(forward, batch, step) + (self.offset - 1).square().sum()


@pytest.mark.parametrize(("made", "count"), [(Orphan, "0"), (Twice, "2")])
def test_a_parameter_outside_of_exactly_one_optimizer_ends_the_run(
    made: type[Method], count: str, training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "method_class", lambda name: made)
    with pytest.raises(InputError, match=rf"method\.offset.* {count} "):
        tiny_trainer(training_set, "base_method=ce", "components=none")


def test_parameters_of_a_method_learn_by_its_own_optimizer_and_survive(
    training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "method_class", lambda name: Learns)
    choice = ("base_method=ce", "components=none")
    made = tiny_trainer(training_set, *choice)
    made.train_epoch(lambda step, steps: None)
    assert isinstance(made.method, Learns)
    expected = 1 - 0.8**5  # five steps of rate 0.1 on the square
    assert torch.allclose(made.method.offset, torch.full((3,), expected), atol=1e-6)
    other = tiny_trainer(training_set, *choice)
    other.load(made.state())
    assert torch.equal(other.state_dict()["method.offset"], made.state_dict()["method.offset"])


# ---- looking


def test_a_split_look_passes_each_view_of_each_half_on_its_own_as_published() -> None:
    batch = a_batch(10, views=2, num_labeled=6)
    network = networks(1)[0].train()
    slow = deepcopy(network)
    found = Look([network], batch.x, "split", 6).probs(0)
    with torch.no_grad():
        unlabeled = [slow(batch.x[view, 6:]) for view in range(2)]  # DivideMix guesses before it refines
        labeled = [slow(batch.x[view, :6]) for view in range(2)]
    expected = torch.stack([torch.cat([labeled[view], unlabeled[view]]) for view in range(2)]).softmax(-1)
    assert torch.equal(found, expected)
    assert equal(statistics(network), statistics(slow))


@pytest.mark.parametrize("num_labeled", [0, 10])
def test_a_split_look_at_rows_of_one_kind(num_labeled: int) -> None:
    batch, network = a_batch(10, num_labeled=num_labeled), networks(1)[0].train()
    merged = Look([deepcopy(network)], batch.x, "merged").probs(0)
    assert torch.equal(Look([network], batch.x, "split", num_labeled).probs(0), merged)


def test_the_look_at_the_unlabeled_alone_is_of_these() -> None:
    batch, network = a_batch(10, views=2, num_labeled=6), networks(1)[0].train()
    slow = deepcopy(network)
    found = Look([network], batch.x, "split", 6).probs(0, first=6)
    with torch.no_grad():
        expected = torch.stack([slow(view[6:]).softmax(-1) for view in batch.x])
    assert torch.equal(found, expected)


# ---- virtual steps


def test_a_virtual_step_moves_nothing_and_its_derivative_is_right() -> None:
    network = networks(1)[0].double().train()
    batch = a_batch(6)
    x, before = batch.x.double(), {**statistics(network), **dict(network.named_parameters())}
    before = {name: value.detach().clone() for name, value in before.items()}
    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

    def after(weight: Tensor) -> Tensor:
        forward = Forward(network)
        loss = weight * nn.functional.cross_entropy(forward(x)[0], batch.given)
        return forward.after(loss, 0.1, second_order=True)(x).square().mean()

    (found,) = torch.autograd.grad(after(weight), weight)
    small = 1e-5
    slope = (after(weight.detach() + small) - after(weight.detach() - small)) / (2 * small)
    assert float(found) == pytest.approx(float(slope.detach()), rel=1e-6)
    moved = {**statistics(network), **dict(network.named_parameters())}
    learned = {name for name in before if not torch.equal(moved[name].detach(), before[name])}
    assert all("running" in name or "num_batches" in name for name in learned), "of the pass that learns alone"
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_virtual_step_is_a_step_of_gradient_descent() -> None:
    network = networks(1)[0].eval()
    batch = a_batch(6)
    forward = Forward(network)
    virtual = forward.after(nn.functional.cross_entropy(forward(batch.x)[0], batch.given), 0.1)(batch.x)
    real = deepcopy(network)
    nn.functional.cross_entropy(real(batch.x[0]), batch.given).backward()
    torch.optim.SGD(real.parameters(), 0.1).step()
    assert torch.allclose(virtual[0], real(batch.x[0]), atol=1e-6)


def test_a_virtual_step_refuses_what_would_be_silently_wrong() -> None:
    network = networks(1)[0]
    forward = Forward(network)
    loss = forward(a_batch(4).x).square().mean()
    network.shared = True
    with pytest.raises(InputError, match="torchrun"):
        forward.after(loss, 0.1)


# ---- views of plug-ins


def replaced(batch: Batch, network: Network) -> tuple[Batch, Look]:
    config = config_of("components=amg_nlr", "components.start=0", "variant.unmasked_views=replaced")
    look = Look([network], batch.x, "eval")
    return SANM(config, a_task(20), MEAN, STD).add_views(batch, look, a_step(0)), look


def test_methods_read_their_own_views_where_masked_ones_stand_in_their_place() -> None:
    network, batch = networks(1)[0], a_batch(6)
    masked, look = replaced(batch, network)
    assert masked.own == 0
    made = EarlyLearningRegularisation(settings_of("elr"), a_task(20))
    made.losses(Forward(network), masked, a_step(0))
    seen = bounded(look.probs(0)[0])
    expected = (1 - made.settings["beta"]) * seen / seen.sum(-1, keepdim=True)
    assert torch.allclose(made.memory[batch.index], expected, atol=1e-6)
    losses = Method(settings_of("ce"), a_task(20)).losses(Forward(network), masked, a_step(0))
    unmasked = nn.functional.cross_entropy(network(batch.x[0]), batch.given, reduction="none")
    assert torch.allclose(own_losses(losses, masked), unmasked, atol=1e-5)


def test_masked_views_can_be_normalised_apart() -> None:
    batch = a_batch(6)
    network = networks(1)[0].train()
    config = config_of("components=amg_nlr", "components.start=0", "variant.masked_statistics=separate")
    masked = SANM(config, a_task(20), MEAN, STD).add_views(batch, Look([network], batch.x, "eval"), a_step(0))
    slow = deepcopy(network)
    found = Forward(network, masked.apart)(masked.x)
    own = slow(masked.x[0])
    kept = statistics(slow)
    assert torch.equal(found[0], own)
    assert torch.equal(found[1], slow(masked.x[1]))
    assert equal(statistics(network), kept), "the masked views leave no trace"


def test_several_pools_give_views_in_their_order(training_set: TrainingSet) -> None:
    choice = ("base_method=ce", "components=none", "base_method.learn_from=[weak,none]", "base_method.guess_on=none")
    made = tiny_trainer(training_set, *choice, "base_method.views=2")
    batch, look = made._draw_batch(methods.Draw(torch.arange(8), 8), 0)
    plain = made.bank.plain(torch.arange(8))
    assert batch.own == len(batch.x) == 4
    assert torch.equal(batch.x[2], plain)
    assert torch.equal(batch.x[3], plain)
    assert not torch.equal(batch.x[0], plain)
    assert torch.equal(look.x[0], plain)


@pytest.mark.parametrize("pools", ["[weak,weak]", "[]", "[weak,strong]", "strong", "3"])
def test_pools_that_are_none(pools: str) -> None:
    with pytest.raises(InputError, match=r"base_method\.learn_from="):
        config_of(f"base_method.learn_from={pools}")


# ---- statistics


def test_clean_statistics_are_those_of_plain_images(training_set: TrainingSet) -> None:
    choice = ("base_method=ce", "components=full", "components.start=0")
    made = tiny_trainer(training_set, *choice, "trainer.statistics=clean")
    plain = tiny_trainer(training_set, *choice)
    for each in (made, plain):
        each.train_epoch(lambda step, steps: None)
    (network,) = made._networks()
    expected = deepcopy(network)
    with torch.no_grad(), taking_statistics(expected):
        expected(made.bank.plain(torch.arange(160)))
    found, slow = statistics(network), statistics(expected)
    for name, value in slow.items():
        torch.testing.assert_close(found[name], value, msg=name)
    for (name, weight), other in zip(network.named_parameters(), next(plain._networks()).parameters(), strict=True):
        assert torch.equal(weight, other), f"{name}: the first epoch learns the same"
    assert not torch.equal(found["norm.running_mean"], statistics(next(plain._networks()))["norm.running_mean"])


# ---- phases


def phases(text: str, *overrides: str) -> Any:
    config = config_of(*TINY, "base_method=ce", "components=none", *overrides)
    return {**config, "base_method": {**config["base_method"], "phases": text}}


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ([{"begin": 1}], "first begins at 0"),
        ([{"begin": 0}, {"begin": 4}], "at least one epoch"),
        ([{"begin": 0}, {"begin": 2}, {"begin": 2}], "at least one epoch"),
        ([{"begin": 0, "fresh": "head"}], r"phases\[0\]\.fresh=head"),
        ([{"begin": 0}, {"begin": 2.5}], r"phases\[1\]\.begin=2.5"),
        ([{"begin": 0}, {}], r"phases\[1\]\.begin=None"),
        ([{"begin": 0, "epochs": 3}], r"phases\[0\]\.epochs"),
        ([3], r"phases\[0\]=3"),
    ],
)
def test_phases_that_are_none(given: Any, key: str) -> None:
    with pytest.raises(InputError, match=key):
        phases_of(phases(given))


def test_shares_keep_their_proportions_and_schedules_begin_anew() -> None:
    given = [{"begin": 0}, {"begin": 0.25}, {"begin": 0.5, "fresh": "network", "lr": 0.2, "milestones": [0.5, 3]}]
    first, second, third = phases_of(phases(given, "trainer.epochs=8"))
    assert [(each.begin, each.end) for each in (first, second, third)] == [(0, 2), (2, 4), (4, 8)]
    assert second.trainer["lr"] == 0.02
    assert second.schedule_epoch(3) == 3
    assert not second.new_optimizer
    assert third.trainer["lr"] == 0.2
    assert third.trainer["milestones"] == [2, 3]
    assert third.schedule_epoch(5) == 1
    assert third.new_optimizer


def test_a_fresh_network_is_drawn_in_place_and_the_same_again(training_set: TrainingSet) -> None:
    config = phases([{"begin": 0}, {"begin": 1, "fresh": "network"}, {"begin": 2, "fresh": "classifier"}])
    seen = []
    for _ in range(2):
        made = trainer.Trainer(config, training_set, torch.device("cpu"))
        (network,) = made._networks()
        classifier, first = network.classifier, {name: w.detach().clone() for name, w in network.named_parameters()}
        made._renew(made.phases[1])
        assert next(made._networks()) is network
        assert network.classifier is classifier
        assert all(not torch.equal(w, first[n]) for n, w in network.named_parameters() if w.dim() > 1)
        body = network.stages[0].conv1.weight.detach().clone()  # type: ignore[index, union-attr]
        renewed = classifier.weight.detach().clone()
        made._renew(made.phases[2])
        assert torch.equal(network.stages[0].conv1.weight, body)  # type: ignore[index, union-attr]
        assert not torch.equal(classifier.weight, renewed)
        seen.append({name: w.detach().clone() for name, w in network.named_parameters()})
    assert equal(*seen)


def test_kept_trust_is_not_estimated_again(training_set: TrainingSet) -> None:
    choice = phases([{"begin": 0}, {"begin": 2, "trust": "kept"}])
    made = trainer.Trainer(choice, training_set, torch.device("cpu"))
    for _ in range(2):
        made.train_epoch(lambda step, steps: None)
    kept = made.quality.probability.clone()
    for _ in range(2):
        made.train_epoch(lambda step, steps: None)
    made.measure_and_predict()
    assert torch.equal(made.quality.probability, kept)
    assert not (kept == 1).all()


# ---- copies


def test_a_copy_of_a_network_computes_with_its_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    from sanm.machine.compilation import compile_networks

    monkeypatch.setattr(torch, "compile", lambda function, dynamic: function)
    network, x = networks(1)[0], torch.randn(4, 3, 8, 8)
    compile_networks([network], 4, 500)
    copied = deepcopy(network)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
        assert not torch.equal(copied(x), network(x))
        assert torch.equal(copied(x), torch.zeros(4, CLASSES))
