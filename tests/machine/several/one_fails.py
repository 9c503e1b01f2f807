"""``sanm.run`` whose second process alone fails, in its fourth step.

With ``LEADER_WAITS`` in the environment the first one stays in that step, as in a pass on a GPU that waits for the
other.
"""

from __future__ import annotations

import os
import runpy
import time

import torch
from torch import Tensor

from sanm.machine.several import processes
from sanm.step import Draw
from sanm.training.trainer import Trainer


class Failing(Trainer):
    steps = 0

    def _train_step(self, turn: tuple[int, ...], draw: Draw, epoch: int, progress: float) -> Tensor:
        self.steps += 1
        if self.steps == 4 and not processes.leads():
            raise torch.OutOfMemoryError("out of memory, for once")
        if self.steps == 4 and "LEADER_WAITS" in os.environ:
            time.sleep(600)
        return super()._train_step(turn, draw, epoch, progress)


if __name__ == "__main__":
    from sanm.training import experiment

    experiment.Trainer = Failing  # type: ignore[misc]
    runpy.run_module("sanm.run", run_name="__main__", alter_sys=True)
