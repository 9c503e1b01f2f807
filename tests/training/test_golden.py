"""Golden trajectories: the losses of the first steps of every method and phase, alone, with SANM, with each plug-in.

They must not move. ``python -m tests.training.test_golden [METHODS]`` writes them anew, a file a method; a change
that is meant to move them says so in its commit.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from sanm.data import TrainingSet
from sanm.network import Network
from sanm.step import Draw
from sanm.training.trainer import Trainer
from tests.conftest import ROOT, config_of, small_training_set
from tests.every import CHOICES, METHODS, number_of_phases

GOLDEN = ROOT / "tests/training/golden"
STEPS = 5
# no warm-up: each method divides, guesses and masks from the first step on
SETTINGS = (
    "trainer.batch_size=16",
    "trainer.lr=0.01",
    "trainer.milestones=[]",
    "base_method.warm_up=0",
    "pretrain=none",
    "model.widths=[8,16]",
    "model.blocks=[1,1]",
)


class FirstSteps(Trainer):
    """A trainer that keeps the losses of its steps."""

    def __init__(self, method: str, parts: tuple[str, ...], data: TrainingSet) -> None:
        self.wanted = number_of_phases(method)
        length = () if self.wanted == 1 else (f"trainer.epochs={self.wanted}",)
        config = config_of(*SETTINGS, *length, f"base_method={method}", *parts)
        super().__init__(config, data, torch.device("cpu"))
        self.seen: list[float] = []

    def _train_step(self, turn: tuple[int, ...], draw: Draw, epoch: int, progress: float) -> Tensor:
        loss = super()._train_step(turn, draw, epoch, progress)
        self.seen.append(float(loss))
        return loss

    def trajectory(self) -> list[dict[str, list[float]]]:
        """Of an epoch of each phase: the losses of the first steps, and the length of every network's weights after."""
        found = []
        for _ in range(self.wanted):
            self.seen = []
            self.train_epoch(lambda step, steps: None)
            norms = [squared_norm(each) for each in self._networks()]
            found.append({"losses": self.seen[:STEPS], "squared_norms": norms})
        return found


def squared_norm(network: Network) -> float:
    """Of all weights but those of heads."""
    return sum(float(each.detach().double().square().sum()) for each in network.own_parameters())


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums over several threads are rounded otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def golden_of(method: str) -> dict[str, Any]:
    path = GOLDEN / f"{method}.json"
    assert path.exists(), f"no golden trajectory yet: python -m tests.training.test_golden {method}"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize(("method", "parts"), CHOICES)
def test_first_steps_are_what_they_were(
    method: str, parts: tuple[str, ...], training_set: TrainingSet, one_thread: None
) -> None:
    golden = golden_of(method)[" ".join(parts)]
    found = FirstSteps(method, parts, training_set).trajectory()
    assert len(found) == len(golden)
    for ours, theirs in zip(found, golden, strict=True):
        assert ours["losses"] == pytest.approx(theirs["losses"], rel=2e-5, abs=1e-6)
        assert ours["squared_norms"] == pytest.approx(theirs["squared_norms"], rel=1e-4)


def write(methods: list[str]) -> None:
    torch.set_num_threads(1)
    data = small_training_set()
    for method in methods:
        chosen = [parts for name, parts in CHOICES if name == method]
        found = {" ".join(parts): FirstSteps(method, parts, data).trajectory() for parts in chosen}
        (GOLDEN / f"{method}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    write(sys.argv[1:] or METHODS)
