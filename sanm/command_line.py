"""What command lines that take plain options share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from sanm.errors import InputError


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        """Raises what the command line prints."""
        raise InputError(f"{message} (see {self.prog} --help)")


def exit_status(work: Callable[[], int]) -> int:
    """Do the work of a command that writes one file at its end; bad input is one line, and status 2."""
    try:
        return work()
    except InputError as error:
        print(f"error    {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        sys.exit("\ninterrupted: nothing was written")


def check_output(path: Path, overwrite: bool) -> None:
    """Raises InputError for a file that is there already, unless it may be replaced."""
    if path.is_dir():
        raise InputError(f"{path} is a folder: give --out a file")
    if path.exists() and not overwrite:
        raise InputError(f"{path} is there already: give another --out, or --overwrite to replace it")
