"""Signals that ask a process to stop, from its first moment to its last.

It imports nothing heavy: a command line listens before it imports anything else.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

REQUEUE = os.EX_TEMPFAIL
"""Exit status 75: stopped by a signal, with all saved that there was; the same command goes on."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What schedulers send ahead of a preemption or the end of a job's time, and a terminal that is closed."""
JUST_AFTER = 0.001
"""Seconds."""
GOES_ON = "the same command goes on from here"

Stop = Callable[[], bool]


def listen(then: str | None = GOES_ON) -> None:
    """From now on Ctrl-C or a signal of ``STOP_SIGNALS`` ends this process with status 75 and one line.

    What is underway ends as at an error, by SystemExit. ``then`` says what comes next; with None nothing is said.
    A second Ctrl-C ends the process at once. Signals that the process was started to ignore stay so (``nohup``).
    Python drops what is raised within a ``__del__`` or a callback of a weak reference: then it is raised once more,
    just after it.
    """

    def end(number: int, _: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if then is not None and leads:
            os.write(2, f"stopped  by {signal.Signals(number).name}: {then}\n".encode())  # print is not for handlers
        again(number, _)

    def again(_: int, __: FrameType | None) -> NoReturn:
        raise SystemExit(REQUEUE)

    def dropped(unraisable: "sys.UnraisableHookArgs", before: Callable[..., object] = sys.unraisablehook) -> None:
        if unraisable.exc_type is not SystemExit:
            before(unraisable)
            return
        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, JUST_AFTER)

    sys.unraisablehook = dropped
    leads = os.environ.get("RANK", "0") == "0"
    for number in (signal.SIGINT, *STOP_SIGNALS):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)


@contextmanager
def stop_signals(signals: Sequence[signal.Signals] = STOP_SIGNALS) -> Iterator[Stop]:
    """Within, a signal of ``signals`` ends nothing: what is yielded tells whether one came.

    Signals that are ignored stay so. Only a process's main thread can do this; elsewhere signals do what they did.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    seen: list[int] = []
    heard = [number for number in signals if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, _: seen.append(number)) for number in heard}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
