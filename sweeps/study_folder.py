"""A study's folder, ``runs_dir/studies/NAME/``: who chooses the next trial, who works on which, and its reports.

Kernel locks free themselves when their owner dies, so a trial that is running in the storage but claimed by nobody is
one whose worker was killed. That holds for any storage, as long as all workers see this folder.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sanm.errors import InputError
from sanm.files import write_atomically


class StudyFolder:
    """The files of one study beside the runs that it makes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until nobody else is choosing a trial, and keep others from it. Raises InputError if unwritable."""
        try:
            (self.path / "locks").mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / "locks" / "choosing")
            lock.acquire()
        except OSError as error:
            raise InputError(f"runs_dir={self.path.parent.parent} cannot be written ({error.strerror})") from error
        try:
            yield
        finally:
            lock.release()

    def claim(self, number: int) -> FileLock | None:
        """The claim to a trial, to be released at its end; None while a living worker has it."""
        lock = FileLock(self.path / "locks" / f"trial{number}", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return None
        return lock

    def token(self) -> str:
        """What tells this folder from every other, made by whoever asks first. The caller is ``alone``."""
        file = self.path / "token"
        if not file.exists():
            made = uuid.uuid4().hex
            write_atomically(file, lambda handle: handle.write(made.encode()))
        return file.read_text()
