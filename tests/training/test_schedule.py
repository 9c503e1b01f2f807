"""Learning rates and momenta as the published codes set them."""

from __future__ import annotations

import math

import pytest
import torch

from sanm.training.schedule import learning_rate, momentum_of, optimizer_for, set_epoch
from tests.conftest import config_of


def trainer_of(*overrides: str) -> dict[str, object]:
    found: dict[str, object] = config_of("data=cifar10", *overrides)["trainer"]
    return found


def test_steps_fall_at_each_milestone() -> None:
    settings = trainer_of("trainer=paper")
    assert [learning_rate(epoch, settings) for epoch in (0, 149, 150, 299)] == pytest.approx([0.02, 0.02, 0.002, 0.002])


def test_cdr_falls_one_epoch_early() -> None:
    settings = trainer_of("trainer=cdr")
    rates = [learning_rate(epoch, settings) for epoch in (0, 38, 39, 78, 79, 199)]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4])


@pytest.mark.parametrize(("data", "begin"), [("cifar10", 80), ("cifar100", 100)])
def test_coteaching_falls_straight_to_zero_with_less_momentum(data: str, begin: int) -> None:
    settings = trainer_of("trainer=coteaching", f"data={data}", "base_method=coteaching")
    assert settings["optimizer"] == "adam"
    assert settings["epochs"] == 199
    for published in range(1, 200):  # the published code counts from 1
        expected = 1e-3 if published < begin else (200 - published) / (200 - begin) * 1e-3
        assert learning_rate(published - 1, settings) == pytest.approx(expected, abs=1e-12)
        assert momentum_of(published - 1, settings) == (0.9 if published < begin else 0.1)


def test_elr_starts_its_cosine_again_every_ten_epochs() -> None:
    settings = trainer_of("trainer=elr", "base_method=elr")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.02)
    torchs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10, eta_min=0.001)
    for epoch in range(35):
        assert learning_rate(epoch, settings) == pytest.approx(torchs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        torchs.step()


def test_elr_steps_on_asymmetric_noise_and_on_cifar100() -> None:
    asymmetric = trainer_of("trainer=elr", "base_method=elr", "noise=asymmetric", "noise.rate=0.4")
    assert (asymmetric["epochs"], asymmetric["schedule"], asymmetric["milestones"]) == (120, "steps", [40, 80])
    assert learning_rate(80, asymmetric) == pytest.approx(0.02 * 1e-4)
    hundred = trainer_of("trainer=elr", "base_method=elr", "data=cifar100")
    assert (hundred["epochs"], hundred["milestones"]) == (150, [80, 120])


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_an_epoch_sets_rate_and_momentum(kind: str) -> None:
    settings = trainer_of(
        f"trainer.optimizer={kind}", "trainer.schedule=linear", "trainer.milestones=[20]", "trainer.late_momentum=0.1"
    )
    optimizer = optimizer_for([torch.nn.Parameter(torch.zeros(1))], settings)
    assert set_epoch(optimizer, 22, settings) == pytest.approx(0.03 / 2)
    group = optimizer.param_groups[0]
    assert math.isclose(group["lr"], 0.015)
    assert (group["betas"][0] if kind == "adam" else group["momentum"]) == 0.1
