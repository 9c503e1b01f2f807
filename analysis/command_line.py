"""Command lines of this package."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from sanm.errors import InputError


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        """Raises what the command line prints."""
        raise InputError(f"{message} (see {self.prog} --help)")


def say(text: str) -> None:
    """Prints. A reader that goes away (`| head`) is no error: what is still to be done is done unseen."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_status(work: Callable[[], int | None]) -> int:
    """Does the work of a command; 2 and one line where its input was bad."""
    try:
        return work() or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
