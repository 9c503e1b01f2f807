"""Our reading of REED against slow formulas: what learns in each phase, what is believed, what is drawn together."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch

from sanm.data import TrainingSet
from sanm.errors import InputError
from sanm.methods.reed import Reed
from sanm.step import Forward, Look
from tests.conftest import config_of
from tests.every import tiny_trainer
from tests.methods.conftest import CLASSES, a_batch, a_step, a_task, networks, same_gradients, settings_of

B, N, FINE = 9, 5, 12


def method(**changes: Any) -> Reed:
    return Reed(settings_of("reed", lambda_u=25, **changes), a_task(60, 8)._replace(epochs=30))  # ten frozen


def test_given_labels_stay_where_they_are_trusted_and_others_are_guessed_by_the_network_itself() -> None:
    network, batch = networks(1)[0], a_batch(B, 2, N)
    found = method().believe(batch, Look([network], batch.x, "eval", N), a_step(FINE))
    for row in range(B):
        said = sum(network(batch.x[view, row][None])[0].softmax(0).detach() for view in range(2)) / 2
        guessed = said**2 / (said**2).sum()
        expected = torch.eye(CLASSES)[batch.given[row]] if row < N else guessed
        assert torch.allclose(found[row], expected, atol=1e-5)


def test_the_loss_of_the_second_phase() -> None:
    network, batch = networks(1)[0], a_batch(B, 2, N)
    sharp = torch.eye(CLASSES)[torch.arange(B) % 2] * 0.92 + 0.02  # two beliefs, each of several images
    batch = batch.believing(sharp)
    found = method(alike=0.5, lambda_graph=0.7).losses(Forward(network), batch, a_step(FINE, progress=12.5)).mean()

    random = a_step(FINE).random
    share = float(random.host.beta(4.0, 4.0))
    share, order = max(share, 1 - share), torch.randperm(2 * B, generator=random.device).tolist()
    labeled, unlabeled, probs = [], [], []
    for row, other in enumerate(order):
        image = share * batch.x[row // B, row % B] + (1 - share) * batch.x[other // B, other % B]
        target = share * sharp[row % B] + (1 - share) * sharp[other % B]
        logits = network(image[None])[0]
        probs.append(logits.softmax(0))
        if row % B < N:
            labeled.append(-(target * logits.log_softmax(0)).sum())
        else:
            unlabeled.append((probs[-1] - target).square().mean())
    mean = torch.stack(probs).mean(0)
    slow = torch.stack(labeled).mean() + 25 * 2.5 / 16 * torch.stack(unlabeled).mean()
    slow = slow + sum((1 / CLASSES / mean[c]).log() / CLASSES for c in range(CLASSES))
    pooled = [network.features(batch.x[0, row][None]).mean((2, 3))[0] for row in range(B)]
    unit = [each / each.norm() for each in pooled]
    apart, weights = torch.zeros(()), 0.0
    for i in range(B):
        for j in range(B):
            alike = float(sharp[i] @ sharp[j])
            if i != j and alike >= 0.5:
                apart, weights = apart + alike * (unit[i] - unit[j]).square().sum(), weights + alike
    slow = slow + 0.7 * apart / weights
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
    same_gradients(network, found, slow)


def test_nothing_alike_is_no_distance() -> None:
    assert float(method().spread(torch.randn(4, 3), torch.eye(4))) == 0


def test_while_the_encoder_is_frozen_the_classifier_alone_learns() -> None:
    network, batch = networks(1)[0].train(), a_batch(B)
    before = deepcopy(network)
    made = method()
    loss = made.losses(Forward(network), batch, a_step(3)).mean()
    slow = torch.nn.functional.cross_entropy(before.eval()(batch.x[0]), batch.given)
    assert float(loss.detach()) == pytest.approx(float(slow.detach()), abs=1e-6)
    assert network.training
    (loss + network(batch.x[0]).sum()).backward()  # somebody else asks the encoder for more
    made.after_backward(network, a_step(3))
    learning = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert learning == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize("parts", ["components=none", "components=full plugin=alasca"])
def test_a_frozen_encoder_is_bit_for_bit_what_it_was(parts: str, training_set: TrainingSet) -> None:
    made = tiny_trainer(training_set, "base_method=reed", "base_method.warm_up=0", *parts.split())
    (network,) = made._networks()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    made.train_epoch(lambda step, steps: None)
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert {"classifier.weight", "classifier.bias"} <= moved
    assert all(name.startswith(("classifier.", "heads.")) for name in moved)
    made.train_epoch(lambda step, steps: None)
    assert not torch.equal(network.state_dict()["norm.running_mean"], before["norm.running_mean"])


def test_phases_of_the_reading() -> None:
    from sanm.config.phases import phases_of
    from sanm.training.schedule import learning_rate

    config = config_of("base_method=reed", "trainer=reed", "data=cifar10")
    frozen, tuned = phases_of(config)
    assert (frozen.begin, frozen.end, tuned.end) == (0, 100, 300)
    assert [learning_rate(epoch, frozen.trainer) for epoch in (0, 50)] == pytest.approx([0.1, 0.05])
    assert [learning_rate(epoch, tuned.trainer) for epoch in (0, 100)] == pytest.approx([0.02, 0.01])
    assert (frozen.trainer["weight_decay"], tuned.trainer["weight_decay"]) == (0, 5e-4)
    assert [epoch for epoch in range(100, 125) if tuned.estimates_trust(epoch)] == [100, 110, 120]
    assert (frozen.method["learn_from"], tuned.method["learn_from"]) == ("none", "autoaugment")
    assert config["pretrain"]["name"] == "simclr"
    made = method()
    assert [made.warming_up(epoch) for epoch in (9, 10)] == [True, False]
    assert len(made.batches(torch.ones(60), a_step(0))[0].positions) == 60


@pytest.mark.parametrize("value", ["0", "never", "2.5"])
def test_trust_that_is_none(value: str) -> None:
    with pytest.raises(InputError, match=r"phases\[0\]\.trust=.*or a number of epochs"):
        config_of("base_method=reed", f"base_method.phases=[{{begin: 0, trust: {value}}}]")
