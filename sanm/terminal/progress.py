"""What a person sees of a run: a bar on a terminal, a line an epoch elsewhere."""

import sys
import time
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from sanm.terminal import output

SILENCE = 300
"""Seconds after which a long epoch says how far it is, where there is no bar."""


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Progress:
    """Shows epoch, step, accuracy and the time left of one run; without a bar, a line for every so many epochs."""

    def __init__(
        self,
        name: str,
        epochs: int,
        epochs_done: int,
        verb: str = "run",
        every: int = 1,
        validation_labels: str | None = None,
    ) -> None:
        """``validation_labels`` says in a word what a run without a test set is scored on."""
        self._every, self._validation_labels = every, validation_labels
        self._epochs, self._first, self._began = epochs, epochs_done, time.perf_counter()
        self._say(f"resume   {name} at epoch {epochs_done + 1}" if epochs_done else f"{verb:<8} {name}")
        self._bar: tqdm[Any] | None = None
        if sys.stdout.isatty() and sys.stderr.isatty():
            self._bar = tqdm(total=epochs, initial=epochs_done, unit="epoch", leave=False, dynamic_ncols=True)

    def step(self, step: int, steps: int) -> None:
        """A step within the current turn of the current epoch."""
        if self._bar is not None:
            self._bar.set_description(f"step {step}/{steps}", refresh=True)
        elif time.perf_counter() - self._spoke > SILENCE:
            self._say(f"  step {step}/{steps}")

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch is done and on the disk; ``row`` is its record."""
        shown = {"loss": f"{row['loss']:.3f}"}
        if row.get("test_accuracy") is not None:
            shown["test"] = f"{row['test_accuracy']:.1f} %"
        elif row.get("validation_accuracy") is not None:
            shown[f"validation ({self._validation_labels} labels)"] = f"{row['validation_accuracy']:.1f} %"
        if row.get("labeled_fraction", 1) < 1:
            shown["labeled"] = f"{row['labeled_fraction']:.2f}"
        if row.get("clean_auroc") is not None:
            shown["auroc"] = f"{row['clean_auroc']:.3f}"
        if self._bar is not None:
            self._bar.update()
            self._bar.set_postfix(shown)
            return
        done = row["epoch"]
        if done % self._every and done != self._epochs:
            return
        left = (time.perf_counter() - self._began) / (done - self._first) * (self._epochs - done)
        values = "  ".join(f"{key} {value}" for key, value in shown.items())
        self._say(f"  epoch {done}/{self._epochs}  {values}  {row['seconds']:.1f} s  left {clock(left)}")

    def _say(self, line: str) -> None:
        self._spoke = time.perf_counter()
        output.say(line)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
