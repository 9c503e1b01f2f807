"""Command lines of this package."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from sanm.errors import InputError
from sanm.terminal.command_line import Parser
from sanm.terminal.output import begin, complain, printable

__all__ = ["Parser", "exit_status", "holds", "say"]


def say(line: str, keep: str = "") -> None:
    """Prints a line as any terminal can show it; `keep="\\n"` for text of several lines.

    A reader that goes away (`| head`) is no error: what is still to be done is done unseen.
    """
    try:
        print(printable(line, keep), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def holds(path: Path, mark: bytes, within: int = 2**16) -> bool:
    """Whether the file has ``mark`` among its first bytes: by it a command knows again what it wrote."""
    with open(path, "rb") as file:
        return mark in file.read(within)


def exit_status(work: Callable[[], int | None]) -> int:
    """Does the work of a command; 2 and one line where its input was bad."""
    begin()
    try:
        return work() or 0
    except InputError as error:
        complain(f"error: {error}")
        return 2
