"""A run's directory: who may write it, how far it has come, and what it leaves behind.

``result.json`` is written last and alone means done; ``failure.txt`` without it means failed; a checkpoint without
either means interrupted. A file that is not as it was written, or a config that is not the one asked for, means
unreadable: nothing is trained over it, nothing is taken for done.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import FileLock, Timeout

from sanm.errors import InputError
from sanm.files import remove_partial_files, unwritable, write_bytes
from sanm.formats.spreadsheet import table_text
from sanm.record.claimed import LOCK, claimed
from sanm.record.identity import difference
from sanm.record.reading import (
    CONFIG,
    FAILURE,
    METRICS,
    RESULT,
    RecordError,
    failure_reason,
    read_result,
    read_settings,
    read_text,
)

Status = Literal["done", "failed", "interrupted", "missing", "unreadable"]

PATIENCE = 0.2
"""Seconds before a claim is given up: longer than somebody needs to look whether there is one."""


class RunDirectory:
    """``runs_dir/<readable>-<id>/``."""

    recorded_here = True
    """Whether it is this process that writes in it."""

    def __init__(self, runs_dir: Path, name: str, identity: Mapping[str, Any] | None = None) -> None:
        """``identity`` is what the run is asked to be; without it the name alone is believed."""
        self.path, self.name, self._identity = runs_dir / name, name, identity
        self._lock = self.path / LOCK
        self._result, self._failure = self.path / RESULT, self.path / FAILURE
        self._config = self.path / CONFIG
        self._metrics, self.checkpoint = self.path / METRICS, self.path / "checkpoint.pt"
        self._agreed: str | None = None  # text of the config that was found to be the one asked for

    def status(self) -> Status:
        try:
            return self.readable_status()
        except InputError:
            return "unreadable"

    def readable_status(self) -> Status:
        """The status of a record that can be read. Raises InputError that names the file which cannot."""
        try:
            if self._result.exists():
                self.result()
                self._check_config()
                return "done"
            if self._config.exists():
                self._check_config()
            if self._failure.exists():
                return "failed"
            return "interrupted" if self._config.exists() else "missing"
        except OSError as error:
            raise InputError(f"{self.path} cannot be read ({error.strerror}): give it back to who runs this") from error

    def trouble(self) -> str:
        """Why the status is unreadable, in one line; empty for any other."""
        try:
            self.readable_status()
        except InputError as error:
            return str(error)
        return ""

    def _check_config(self) -> None:
        if self._identity is None:
            return
        try:
            text = read_text(self._config)
            if text == self._agreed:
                return
            differs = difference(read_settings(self._config), self._identity)
        except FileNotFoundError as error:
            raise RecordError(self._config, "is missing") from error
        if differs:
            raise RecordError(self._config, f"is of another run ({differs})")
        self._agreed = text

    def result(self) -> dict[str, Any]:
        """The finished run's result. Raises RecordError when it is not as it was written."""
        try:
            return read_result(self._result)
        except FileNotFoundError as error:
            raise RecordError(self._result, "is gone") from error

    def failure_reason(self) -> str:
        """Why the run failed, in one line."""
        return failure_reason(self._failure)

    def tidy(self) -> None:
        """Remove the checkpoint of a finished run that was killed before it did so itself."""
        if self.checkpoint.exists() and not self.result().get("keeps_checkpoint", True):
            with suppress(OSError):  # a disk that can only be read
                self.checkpoint.unlink()

    def accuracies(self) -> str:
        """Best and last accuracy of the finished run, for a line on the screen; without a test set, what there is."""
        result = self.result()
        best, last, validation = map(result.get, ("best_accuracy", "last_accuracy", "validation_accuracy"))
        if best is not None and last is not None:
            return f"best {best:.2f} %, last {last:.2f} %"
        if validation is None:
            return "no test set, no validation split"
        labels, epoch = result.get("validation_labels"), result.get("selected_epoch")
        return f"no test set; validation ({labels} labels) {validation:.2f} % at epoch {epoch}"

    def claimed(self) -> bool:
        """Whether a living process is at the run now. Changes nothing, and makes no directory."""
        return claimed(self.path)

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
        write_bytes(self._config, yaml.safe_dump(dict(config), sort_keys=False).encode())
        try:
            self._failure.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self._failure, error) from error

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
        """A CSV file of the run, whole or not at all; its text is guarded from spreadsheets."""
        self.write_file(file_name, table_text([columns, *rows]).encode())

    def write_file(self, file_name: str, content: bytes) -> None:
        """A file of the run, whole or not at all."""
        write_bytes(self.path / file_name, content)

    def fail(self, reason: str, details: str) -> None:
        """Record why the run failed: the reason in the first line, the details below."""
        write_bytes(self._failure, f"{reason}\n\n{details}".encode(errors="backslashreplace"))

    def finish(self, result: Mapping[str, Any], keep_checkpoint: bool) -> None:
        """Write the result, which makes the run done."""
        text = json.dumps({"status": "done", **result, "keeps_checkpoint": keep_checkpoint}, indent=1).encode()
        write_bytes(self._result, text)
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
