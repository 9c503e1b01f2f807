"""What this process prints, once nobody reads it any more: ``| head`` has had enough, a terminal is closed."""

from __future__ import annotations

import os
import select
import signal
import sys

GONE = 128 + signal.SIGPIPE
"""Exit status of a command whose reader is gone: what a shell says of one that the system ended for it."""


def is_gone(error: BaseException) -> bool:
    """Whether an error says that nobody reads the standard output, and no other pipe, any more."""
    if not isinstance(error, BrokenPipeError):
        return False
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def let_go() -> None:
    """What is printed from here on goes nowhere, so that Python's own last flush does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
