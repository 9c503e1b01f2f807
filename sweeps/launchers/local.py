"""One run after another, in a process of their own: when a run brings it down, the next gets a new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sanm.grids.cells import Cell
from sweeps.launchers.workers import Outcome, Slot, Workers

if TYPE_CHECKING:
    from sweeps.launchers import Job


@dataclass
class Settings:
    """There is nothing to set."""


def check(settings: Settings) -> None:
    """Nothing can be wrong."""


def launch(cells: Sequence[Cell], settings: Settings, job: Job) -> Outcome:
    """Train the cells, with the environment and the terminal of this process."""
    return Workers([Slot()], lambda cell, status: None, job.arguments).run(cells)
