"""What the command lines of this package share: complaints of one line, and files to write."""

import argparse
from pathlib import Path
from typing import NoReturn

from sanm.errors import InputError


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        """Raises what the command line prints."""
        raise InputError(f"{message} (see {self.prog} --help)")


def write(text: str, path: str | Path) -> None:
    """Writes a file, or raises the one line that says why it cannot be."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error
