"""One pass over a folder of runs: each into the tracker, as far as it is not there yet."""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analysis.export.tracked_run import RECORD, Epoch, TrackedRun, read_run
from analysis.export.tracker import Seen, Tracker
from analysis.records.load import run_directories
from sanm.errors import InputError
from sanm.record.claimed import claimed

TOLERANCE = 1e-5
"""Between numbers that are the same: TensorBoard keeps 32 bits."""
CLOCKS = ("seconds",)
"""Columns that differ each time that an epoch is taken."""


@dataclass
class News:
    """What passes have done."""

    new: int = 0
    epochs: int = 0
    states: dict[str, str] = field(default_factory=dict)  # by the name of the run

    def __str__(self) -> str:
        counts = Counter(self.states.values())
        states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        return f"{len(self.states)} runs ({states}): {self.new} new, {self.epochs} epochs added"


class Passes:
    """Goes over the runs as often as it is asked to; those that have not changed in between cost a look."""

    def __init__(self, runs_dir: Path, tracker: Tracker) -> None:
        self._runs_dir, self._tracker = runs_dir, tracker
        self._done: dict[str, object] = {}
        self._seen: dict[str, Seen] = {}
        self._said: set[str] = set()
        self.news = News()

    def once(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Whether anything was new. Raises InputError where there are no runs, or the tracker does not take them."""
        changed = False
        for path in run_directories(self._runs_dir):
            if stop():
                break
            stamp = _stamp(path)
            if self._done.get(path.name) != stamp:
                changed = self._one(path) or changed
                self._done[path.name] = stamp
        return changed

    def _one(self, path: Path) -> bool:
        try:
            run = read_run(path)
        except InputError as error:
            self.news.states[path.name] = "unreadable"
            self._warn(str(error))
            return False
        self.news.states[run.name] = run.state
        seen = self._seen.pop(run.name, None) or self._tracker.seen(run)  # asked once, while all goes well
        if seen.identity not in (None, run.identity):
            self._warn(f"{run.name}: the tracker has another run of this name, which stays: rename one of them")
            return False
        self._compare(run, seen)
        epochs = [epoch for epoch in run.epochs if epoch.number not in seen.epochs]
        there = Seen(run.identity, run.state_in_words, seen.epochs | {each.number: each.values for each in epochs})
        if not epochs and seen.state == run.state_in_words:
            self._seen[run.name] = there
            return False
        self._tracker.add(run, seen, epochs, self._masks(run) if run.state_in_words != seen.state else None)
        self._seen[run.name] = there
        self.news.new += seen.identity is None
        self.news.epochs += len(epochs)
        return True

    def _masks(self, run: TrackedRun) -> bytes | None:
        try:
            return run.masks
        except InputError as error:
            self._warn(f"{run.name} goes without its picture: {error}")
            return None

    def _compare(self, run: TrackedRun, seen: Seen) -> None:
        other = [difference for epoch in run.epochs if (difference := _difference(epoch, seen.epochs))]
        if other:
            self._warn(
                f"{run.name}: the tracker has other numbers of {len(other)} epochs, which stay (first {other[0]}): "
                "delete the run there to have it written anew"
            )

    def _warn(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            warnings.warn(line, stacklevel=4)


def _difference(epoch: Epoch, there: dict[int, dict[str, float]]) -> str:
    for key, value in there.get(epoch.number, {}).items():
        here = epoch.values.get(key, value)
        alike = math.isclose(here, value, rel_tol=TOLERANCE, abs_tol=TOLERANCE) or (
            math.isnan(here) and math.isnan(value)
        )
        if key not in CLOCKS and not alike:
            return f"epoch {epoch.number}, {key} {value:g} there, {here:g} in the record"
    return ""


def _stamp(path: Path) -> Sequence[object]:
    """Another one once there may be news."""
    found: list[object] = [claimed(path)]
    for name in RECORD:
        try:
            state = (path / name).stat()
            found.append((state.st_size, state.st_mtime_ns))
        except OSError:
            found.append(None)
    return found
