"""Golden trajectories: the losses of five steps of every method, alone and with full SANM, must not move.

``python -m tests.test_golden`` writes them anew; a change that is meant to move them says so in its commit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sanm.data import TrainingSet
from sanm.trainer import Trainer
from sanm.types import Draw
from tests.conftest import config_of, small_training_set

GOLDEN = Path(__file__).parent / "golden_trajectories.json"
METHODS = ("ce", "coteaching", "cdr", "elr", "elr_plus", "dividemix", "c2d")
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


class FiveSteps(Trainer):
    """A trainer that keeps the losses of its steps."""

    def __init__(self, method: str, components: str, data: TrainingSet) -> None:
        config = config_of(*SETTINGS, f"base_method={method}", f"components={components}")
        super().__init__(config, data, torch.device("cpu"))
        self.seen: list[float] = []

    def _train_step(self, turn: tuple[int, ...], draw: Draw, epoch: int, progress: float) -> Tensor:
        loss = super()._train_step(turn, draw, epoch, progress)
        self.seen.append(float(loss))
        return loss

    def trajectory(self) -> dict[str, list[float]]:
        """The losses of the first steps, and the length of every network's weights an epoch later."""
        self.train_epoch(lambda step, steps: None)
        norms = [
            sum(float(each.detach().double().square().sum()) for each in net.parameters()) for net in self.networks
        ]
        return {"losses": self.seen[:STEPS], "squared_norms": norms}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums over several threads are rounded otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("components", ["none", "full"])
@pytest.mark.parametrize("method", METHODS)
def test_five_steps_are_what_they_were(
    method: str, components: str, training_set: TrainingSet, one_thread: None
) -> None:
    golden = json.loads(GOLDEN.read_text())[f"{method} {components}"]
    found = FiveSteps(method, components, training_set).trajectory()
    assert len(found["losses"]) == STEPS
    assert found["losses"] == pytest.approx(golden["losses"], rel=1e-6, abs=1e-6)
    assert found["squared_norms"] == pytest.approx(golden["squared_norms"], rel=1e-5)


def write() -> None:
    torch.set_num_threads(1)
    data = small_training_set()
    found = {f"{m} {c}": FiveSteps(m, c, data).trajectory() for m in METHODS for c in ("none", "full")}
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    write()
