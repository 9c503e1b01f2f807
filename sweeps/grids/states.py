"""How far the cells of a grid are, read from their run directories alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sanm.grids.cells import Cell
from sanm.terminal.progress import clock

State = Literal["done", "running", "interrupted", "failed", "missing", "unreadable"]
STATES: tuple[State, ...] = ("done", "running", "interrupted", "failed", "missing", "unreadable")
OPEN: tuple[State, ...] = ("missing", "interrupted")
"""What ``run`` does."""


def state_of(cell: Cell) -> State:
    """``running`` means that a living process has claimed the run, on this machine or on another one."""
    status = cell.run.status()
    return "running" if status != "done" and cell.run.claimed() else status


@dataclass(frozen=True)
class Progress:
    """The cells of a grid with their states, at one moment."""

    cells: Sequence[Cell]
    states: Sequence[State]

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> Progress:
        return cls(cells, [state_of(cell) for cell in cells])

    def having(self, *states: State) -> list[Cell]:
        """The cells in one of these states."""
        return [cell for cell, state in zip(self.cells, self.states, strict=True) if state in states]

    def counts(self) -> dict[State, int]:
        return {state: self.states.count(state) for state in STATES}

    def lines(self) -> list[str]:
        """What ``status`` prints, below the grid's own line."""
        shown = [f"{state:<12} {count}" for state, count in self.counts().items() if count]
        shown += [f"failed       {cell.run.name}: {cell.run.failure_reason()}" for cell in self.having("failed")]
        shown += [f"unreadable   {cell.run.name}: {cell.run.trouble()}" for cell in self.having("unreadable")]
        return [*shown, *self._left()]

    def _left(self) -> list[str]:
        if not self.having("missing", "interrupted", "running"):
            return []
        seconds = self.seconds_left()
        if seconds is None:
            return ["left         no estimate before one cell is done"]
        done = self.states.count("done")
        return [f"left         about {clock(seconds)} of training one after another, going by {done} done"]

    def seconds_left(self) -> float | None:
        """Training time of the cells that are not done, each as long as the done ones of its method and components.

        Where none of these is done, as long as all that are. What interrupted and running cells have behind them
        counts as if it lay ahead. None when nothing is done.
        """
        times: dict[tuple[Any, ...], list[float]] = {}
        for cell in self.having("done"):
            seconds = cell.run.result().get("seconds")
            if seconds is not None:
                times.setdefault(_kind(cell), []).append(float(seconds))
        every = [each for known in times.values() for each in known]
        if not every:
            return None
        known = [times.get(_kind(cell), every) for cell in self.having("missing", "interrupted", "running")]
        return sum(sum(each) / len(each) for each in known)

    def peak_memory_mb(self) -> float | None:
        """The most memory that a done cell used, in MiB: the device's for runs on one, else the process's."""
        used = [cell.run.result().get("peak_memory_mb") for cell in self.having("done")]
        return max((float(each) for each in used if each is not None), default=None)


def _kind(cell: Cell) -> tuple[Any, ...]:
    components = cell.config["components"]
    return (cell.config["base_method"]["name"], components["amg"], components["nlr"], components["smr"])
