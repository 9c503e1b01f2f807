"""What this process prints: lines that any terminal can show, and what to do once nobody reads them any more."""

import errno
import io
import os
import select
import signal
import sys
import unicodedata
import warnings
from contextlib import suppress
from typing import NoReturn

GONE = 128 + signal.SIGPIPE
"""Exit status of a command whose reader is gone: what a shell says of one that the system ended for it."""


UNSEEN = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of what a terminal obeys or cannot show: controls, half characters, breaks of lines."""
TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that change the direction of the text behind them."""


def printable(text: object, keep: str = "") -> str:
    """The text as one line that a terminal shows and does not obey: other characters as Python writes them.

    Names of files and classes hold what people and archives put there. ``keep`` are characters that stay all the same.
    """
    return "".join(
        each.encode("unicode_escape").decode("ascii") if _is_unseen(each) and each not in keep else each
        for each in str(text)
    )


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in UNSEEN or character in TURNING


def say(line: object) -> None:
    """Print a line, at once."""
    print(printable(line), flush=True)


def complain(line: object) -> None:
    """Print a line to the standard error, at once."""
    print(printable(line), file=sys.stderr, flush=True)


def refuse(error: object) -> None:
    """Print why something is refused, as every command does."""
    complain(f"error    {error}")


def begin() -> None:
    """What a command does first: text that its terminal has no characters for is escaped, a warning is one line."""
    warnings.showwarning = show_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as one line, in the place of ``warnings.showwarning``."""
    complain(f"warning  {message}")


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
