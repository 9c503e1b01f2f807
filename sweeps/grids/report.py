"""A line for every run that ends, where its own output goes elsewhere."""

from sanm.grids.cells import Cell
from sanm.machine.stopping import REQUEUE
from sanm.run import MISSING, REFUSED
from sanm.terminal import output
from sanm.terminal.progress import clock
from sweeps.grids.states import Progress


class Reporter:
    """Says what became of each cell, how many of the grid are done, and about how long the rest takes."""

    def __init__(self, progress: Progress, at_once: int) -> None:
        self._progress, self._at_once = progress, at_once

    def ended(self, cell: Cell, status: int | None) -> None:
        """A cell is through, with the exit status of its run; None: look at its record, nothing else is known."""
        line = self._line(cell, status)
        if line:
            output.say(f"{line}  [{self._rest()}]")

    def _line(self, cell: Cell, status: int | None) -> str | None:
        state = cell.run.status()
        if state == "done":
            return f"done     {cell.run.name}: {cell.run.accuracies()}"
        if state == "failed":
            return f"failed   {cell.run.name}: {cell.run.failure_reason()}"
        if state == "unreadable":
            return f"missing  {cell.run.name}: {cell.run.trouble()}"
        told = {
            MISSING: "busy     {}: another process is at it",
            REFUSED: "refused  {}: its output says why",
            REQUEUE: "stopped  {}: saved; it goes on",
        }
        return told[status].format(cell.run.name) if status in told else None

    def _rest(self) -> str:
        now = Progress.of(self._progress.cells)
        seconds = now.seconds_left()
        left = f", about {clock(seconds / self._at_once)} left" if seconds else ""
        return f"{now.counts()['done']} of {len(now.cells)} done{left}"
