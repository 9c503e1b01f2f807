"""No step makes the host wait for the device: shapes are known and nothing is read back."""

from __future__ import annotations

import pytest
import torch

from sanm.bench.subject import Subject
from sanm.bench.syncs import waits_within
from sanm.data import TrainingSet
from tests.conftest import config_of

CPU = torch.device("cpu")
SMALL = ("trainer.batch_size=16", "base_method.warm_up=1", "pretrain=none", "model.widths=[8,16]", "model.blocks=[1,1]")
METHODS = ("ce", "coteaching", "cdr", "elr", "elr_plus", "dividemix", "c2d")
ON_THE_HOST_ALONE = {"cdr": {"Tensor.numpy"}}
"""Reads of tensors that are on the host already; on a GPU the method takes another way."""


def waits(training_set: TrainingSet, epoch: int, *overrides: str) -> set[str]:
    subject = Subject(config_of(*SMALL, *overrides), training_set, CPU, epoch)
    subject.step()  # what is looked up once and kept is no part of a step
    return set().union(*(waits_within(subject.step) for _ in range(2 * subject.whole_turn())))


@pytest.mark.parametrize("components", ["none", "full"])
@pytest.mark.parametrize("method", METHODS)
def test_no_method_waits_for_the_device_within_a_step(training_set: TrainingSet, method: str, components: str) -> None:
    allowed = ON_THE_HOST_ALONE.get(method, set())
    for epoch in (0, 1):  # in the warm-up, and after it
        assert waits(training_set, epoch, f"base_method={method}", f"components={components}") <= allowed


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
