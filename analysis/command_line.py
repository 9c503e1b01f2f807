"""Command lines of this package."""

import os
import sys
from collections.abc import Callable

from sanm.command_line import Parser
from sanm.errors import InputError

__all__ = ["Parser", "exit_status", "say"]


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
