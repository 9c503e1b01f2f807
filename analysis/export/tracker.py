"""What a tracker has to say and to take; who it is, is a matter of its own file."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from analysis.export.tracked_run import Epoch, TrackedRun


@dataclass(frozen=True)
class Seen:
    """What a tracker has of a run already."""

    identity: str | None = None  # None: it has no such run
    state: str | None = None  # in words, as it was last written down whole
    epochs: dict[int, dict[str, float]] = field(default_factory=dict)  # numbers by epoch, as far as they can be asked


class Tracker(Protocol):
    """A place that runs are written to. It is the only memory of what has been: no list is kept beside it."""

    place: str
    """Where it is, and how to look at it, in a few words."""

    def seen(self, run: TrackedRun) -> Seen:
        """What is there under the run's name."""

    def add(self, run: TrackedRun, seen: Seen, epochs: Sequence[Epoch], masks: bytes | None) -> None:
        """Write down the run, if it is new, these epochs, and last its state, with all that it brings along.

        Whatever is killed in between leaves the state of before, so that the next time ends the work.
        """

    def close(self) -> None:
        """Nothing more will come."""
