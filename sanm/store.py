"""A run's directory: who may write it, how far it has come, and what it leaves behind.

``result.json`` is written last and alone means done; ``failure.txt`` without it means failed; a checkpoint without
either means interrupted.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import FileLock, Timeout

from sanm.errors import InputError
from sanm.files import remove_partial_files, unwritable, write_atomically

Status = Literal["done", "failed", "interrupted", "missing"]

PATIENCE = 0.2
"""Seconds before a claim is given up: longer than somebody needs to look whether there is one."""


class RunDirectory:
    """``runs_dir/<readable>-<id>/``."""

    recorded_here = True
    """Whether it is this process that writes in it."""

    def __init__(self, runs_dir: Path, name: str) -> None:
        self.path, self.name = runs_dir / name, name
        self._lock = self.path / ".lock"
        self._result, self._failure = self.path / "result.json", self.path / "failure.txt"
        self._config = self.path / "config.yaml"
        self._metrics, self.checkpoint = self.path / "metrics.csv", self.path / "checkpoint.pt"

    def status(self) -> Status:
        if self._result.exists():
            return "done"
        if self._failure.exists():
            return "failed"
        return "interrupted" if self._config.exists() else "missing"

    def result(self) -> dict[str, Any]:
        """The finished run's result."""
        found: dict[str, Any] = json.loads(self._result.read_text())
        return found

    def failure_reason(self) -> str:
        """Why the run failed, in one line."""
        return self._failure.read_text().partition("\n")[0]

    def accuracies(self) -> str:
        """Best and last accuracy of the finished run, for a line on the screen; without a test set, what there is."""
        result = self.result()
        if result["best_accuracy"] is None:
            if result["validation_accuracy"] is None:
                return "no test set, no validation split"
            labels, epoch = result["validation_labels"], result["selected_epoch"]
            return f"no test set; validation ({labels} labels) {result['validation_accuracy']:.2f} % at epoch {epoch}"
        return f"best {result['best_accuracy']:.2f} %, last {result['last_accuracy']:.2f} %"

    def claimed(self) -> bool:
        """Whether a living process is at the run now. Changes nothing, and makes no directory."""
        if not self._lock.exists():
            return False
        lock = FileLock(self._lock, timeout=0)
        try:
            with lock:
                return False
        except Timeout:
            return True
        except OSError:  # a disk that can only be read: nobody works there
            return False

    @contextmanager
    def claim(self) -> Iterator[bool]:
        """Yield whether this process alone may work on the run now; the kernel frees a dead owner's claim.

        Raises InputError when the directory cannot be made or written.
        """
        lock = FileLock(self._lock, timeout=PATIENCE)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            yield False
            return
        except OSError as error:
            raise InputError(f"runs_dir={self.path.parent} cannot be written ({error.strerror})") from error
        try:
            remove_partial_files(self.path)  # a killed owner's
            yield True
        finally:
            lock.release()

    def begin(self, config: Mapping[str, Any]) -> None:
        """Write down what the run is, and forget an earlier failure."""
        text = yaml.safe_dump(dict(config), sort_keys=False).encode()
        write_atomically(self._config, lambda handle: handle.write(text))
        self._failure.unlink(missing_ok=True)

    def rewrite_metrics(self, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Start ``metrics.csv`` with the rows of the epochs that the checkpoint holds."""
        try:
            with open(self._metrics, "w", newline="") as handle:
                writer = csv.DictWriter(handle, columns)
                writer.writeheader()
                writer.writerows(rows)
        except OSError as error:
            raise unwritable(self._metrics, error) from error

    def append_metrics(self, columns: Sequence[str], row: Mapping[str, Any]) -> None:
        """Add an epoch's row, at once visible to whoever reads along."""
        try:
            with open(self._metrics, "a", newline="") as handle:
                csv.DictWriter(handle, columns).writerow(row)
        except OSError as error:
            raise unwritable(self._metrics, error) from error

    def write_table(self, file_name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A CSV file of the run, whole or not at all."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        self.write_file(file_name, text.getvalue().encode())

    def write_file(self, file_name: str, content: bytes) -> None:
        """A file of the run, whole or not at all."""
        write_atomically(self.path / file_name, lambda handle: handle.write(content))

    def fail(self, reason: str, details: str) -> None:
        """Record why the run failed: the reason in the first line, the details below."""
        text = f"{reason}\n\n{details}".encode()
        write_atomically(self._failure, lambda handle: handle.write(text))

    def finish(self, result: Mapping[str, Any], keep_checkpoint: bool) -> None:
        """Write the result, which makes the run done."""
        text = json.dumps(result, indent=1).encode()
        write_atomically(self._result, lambda handle: handle.write(text))
        if not keep_checkpoint:
            self.checkpoint.unlink(missing_ok=True)


class FollowedDirectory(RunDirectory):
    """The directory of a run that another process records: what is there can be read, and nothing is written."""

    recorded_here = False

    def begin(self, config: Mapping[str, Any]) -> None:
        """Leave it to the process that records, as all below."""

    def rewrite_metrics(self, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None: ...

    def append_metrics(self, columns: Sequence[str], row: Mapping[str, Any]) -> None: ...

    def write_file(self, file_name: str, content: bytes) -> None: ...

    def fail(self, reason: str, details: str) -> None: ...

    def finish(self, result: Mapping[str, Any], keep_checkpoint: bool) -> None: ...
