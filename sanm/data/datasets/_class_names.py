"""What is said of the classes of a user's own images: those that a part lacks, and those that may be one."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Collection, Sequence

NAMED = 10
"""Classes, or groups of them, that a line names."""


def warn_of_absent(part: str, class_names: Sequence[str], present: Collection[str]) -> None:
    """One line on the classes that a part to measure on has no images of, if any; ``part`` is what it is called."""
    absent = [name for name in class_names if name not in present]
    if absent:
        warnings.warn(f"{part} has no images of {_listed(absent)}: accuracy says nothing on them", stacklevel=4)


def warn_of_alike(where: str, class_names: Sequence[str]) -> None:
    """One line on class names that differ in the case of letters, space or Unicode form alone, if there are any."""
    groups: dict[str, list[str]] = {}
    for name in class_names:
        groups.setdefault(_plain(name), []).append(name)
    alike = [_spelled(group) for group in groups.values() if len(group) > 1]
    if alike:
        warnings.warn(
            f"{where}: classes that differ in letter case, space or Unicode form alone count as different: "
            f"{_listed(alike)}; write them alike where they are one",
            stacklevel=4,
        )


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _spelled(names: Sequence[str]) -> str:
    seen_alike = len({unicodedata.normalize("NFC", name) for name in names}) < len(names)
    return " and ".join(ascii(name) if seen_alike else repr(name) for name in names)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
