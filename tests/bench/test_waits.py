"""No step makes the host wait for the device: shapes are known and nothing is read back."""

from __future__ import annotations

import pytest
import torch

from sanm.bench.subject import Subject
from sanm.config.phases import phase_at, phases_of
from sanm.data import TrainingSet
from tests.bench.waits import waits_within
from tests.conftest import config_of
from tests.every import METHODS, PLUGINS

CPU = torch.device("cpu")
SMALL = ("trainer.batch_size=16", "base_method.warm_up=1", "pretrain=none", "model.widths=[8,16]", "model.blocks=[1,1]")
ON_THE_HOST_ALONE = {"cdr": {"Tensor.numpy"}}
"""Reads of tensors that are on the host already; on a GPU the method takes another way."""


def waits(training_set: TrainingSet, epoch: int, *overrides: str) -> set[str]:
    subject = Subject(config_of(*SMALL, *overrides), training_set, CPU, epoch)
    subject.trainer._set_phase(phase_at(subject.trainer.phases, epoch))
    subject.step()  # what is looked up once and kept is no part of a step
    return set().union(*(waits_within(subject.step) for _ in range(2 * subject.turns)))


@pytest.mark.parametrize(
    ("method", "components"), [*((method, "full") for method in METHODS), ("ce", "none"), ("dividemix", "none")]
)
def test_no_method_waits_for_the_device_within_a_step(training_set: TrainingSet, method: str, components: str) -> None:
    allowed = ON_THE_HOST_ALONE.get(method, set())
    phases = phases_of(config_of(*SMALL, f"base_method={method}"))
    for epoch in sorted({0, 1, *(phase.begin for phase in phases)}):  # in the warm-up, after it, and in each phase
        assert waits(training_set, epoch, f"base_method={method}", f"components={components}") <= allowed


@pytest.mark.parametrize("plugin", PLUGINS)
def test_no_plug_in_waits(training_set: TrainingSet, plugin: str) -> None:
    assert not waits(training_set, 1, "base_method=ce", "components=none", f"plugin={plugin}")


def test_no_way_of_moit_waits_either(training_set: TrainingSet) -> None:
    for epoch, key in ((12, "base_method.partner_gate=image"), (19, "base_method.bootstrap_from=0")):
        assert not waits(training_set, epoch, "base_method=moit_plus", key, "components=none")


@pytest.mark.parametrize("pool", ["none", "weak", "autoaugment", "randaugment", "simclr"])
def test_no_pool_of_views_waits(training_set: TrainingSet, pool: str) -> None:
    assert not waits(training_set, 1, f"base_method.learn_from={pool}", f"base_method.guess_on={pool}")


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("strategy", ["adaptive", "fixed", "random"])
def test_no_variant_waits(training_set: TrainingSet, variant: str, strategy: str) -> None:
    assert not waits(training_set, 1, "components=full", f"variant={variant}", f"mask_strategy={strategy}")


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("_local_scalar_dense", lambda x: x.sum().item()),
        ("nonzero", lambda x: x.nonzero()),
        ("masked_select", lambda x: x.masked_select(x > 0)),
        ("by a mask", lambda x: x[x > 0]),
        ("Tensor.cpu", lambda x: x.cpu()),
        ("Tensor.tolist", lambda x: x.tolist()),
        ("_local_scalar_dense", lambda x: bool(x.any())),
    ],
)
def test_what_waits_is_seen(name: str, operation: object) -> None:
    x = torch.arange(4.0)
    assert any(name in each for each in waits_within(lambda: operation(x)))  # type: ignore[operator]
    assert not waits_within(lambda: x[torch.tensor([0, 1])] + x.argmax())
