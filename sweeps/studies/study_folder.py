"""A study's folder, ``runs_dir/studies/NAME/``: who chooses the next trial, who works on which, and its reports.

Kernel locks free themselves when their owner dies, so a trial that is running in the storage but claimed by nobody is
one whose worker was killed. That holds for any storage, as long as all workers see this folder.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sanm.errors import InputError
from sanm.files import write_bytes

TOKEN = "token"
DESCRIPTION, REPORT, PICTURE = "study.yaml", "report.md", "sensitivity.png"
TABLES = ("trials.csv", "sensitivity.csv", "importances.csv")


class StudyFolder:
    """The files of one study beside the runs that it makes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check_ours(self) -> None:
        """Raises InputError where the folder is no study's yet, and has files that reports would replace."""
        definition = self.path / DESCRIPTION
        if (self.path / TOKEN).exists() or (definition.is_file() and definition.read_bytes().startswith(b"name: ")):
            return
        for name in (DESCRIPTION, REPORT, PICTURE, *TABLES):
            if os.path.lexists(self.path / name):
                raise InputError(
                    f"{self.path / name} is there already, and no study's: move it, or give study.name=NEW"
                )

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
        file = self.path / TOKEN
        if not file.exists():
            write_bytes(file, uuid.uuid4().hex.encode())
        return file.read_text()
