"""Entries of a data set that cannot be used: refused in one line, or left out where that is asked for."""

import warnings
from collections.abc import Sequence

from sanm.data.types import LeftOut
from sanm.errors import InputError

REMEDY = "set data.skip_bad=true to leave such out"


def refuse_or_leave_out(bad: Sequence[LeftOut], where: str, skip_bad: bool) -> tuple[LeftOut, ...]:
    """The bad entries of ``where``, unless there are any and they are not to be skipped: InputError then, one line
    that counts them and names the first."""
    if bad and not skip_bad:
        first, more = bad[0], f", and {len(bad) - 1} more entries are bad" if len(bad) > 1 else ""
        raise InputError(f"{where}: {first.key} {first.reason}{more}: mend it, or {REMEDY}")
    return tuple(bad)


def warn_of(left_out: Sequence[LeftOut]) -> None:
    """One line on all that is left out of a run, if anything."""
    if left_out:
        first = left_out[0]
        warnings.warn(f"data.skip_bad: {len(left_out)} left out, the first: {first.key} {first.reason}", stacklevel=3)
