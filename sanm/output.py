"""What this process prints, once nobody reads it any more: ``| head`` has had enough, a terminal is closed."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from contextlib import suppress
from typing import NoReturn

GONE = 128 + signal.SIGPIPE
"""Exit status of a command whose reader is gone: what a shell says of one that the system ended for it."""


def is_gone(error: BaseException) -> bool:
    """Whether an error says that nobody reads the standard output, and no other pipe, any more."""
    if not isinstance(error, OSError) or error.errno not in (errno.EPIPE, errno.EIO):  # of a pipe, of a terminal
        return False
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # no file of the system's: a notebook's, say
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def leave() -> NoReturn:
    """End this process with status ``GONE``, as far as possible with a word; Python's own last flush has no say."""
    with suppress(OSError):
        print("stopped  nobody reads this output any more: the same command goes on from here", file=sys.stderr)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    sys.exit(GONE)
