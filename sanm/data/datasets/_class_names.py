"""What is said of the classes of a user's own images: those that a part lacks, and those that may be none."""

import math
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from sanm.errors import InputError
from sanm.formats.image_table import WHOLE

NAMED = 10
"""Classes, or groups of them, that a line names."""
FEWEST = 2
"""Training images of a class, on average, below which nothing can be learned."""
MANY = 10
"""Classes, or images, from which on so few images a class are a mistake, and no toy."""
RARE = 5
"""A class that may be a gap has so many times fewer images than the others have on average."""
GAPS = ("nan", "na", "<na>", "n/a", "#n/a", "null", "none", "nil", "nat", "?")
"""How programs write a label that is not there, in lower case; also names of classes."""
JOINERS = "\u200c\u200d"
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
BETWEEN_LABELS = "|;,/+&"
SURE = "|;"
"""Of these, what no name of one class has in it."""


def warn_of_absent(part: str, class_names: Sequence[str], present: Collection[str]) -> None:
    """One line on the classes that a part to measure on has no images of, if any; ``part`` is what it is called."""
    absent = [name for name in class_names if name not in present]
    if absent:
        warnings.warn(f"{part} has no images of {_listed(absent)}: accuracy says nothing on them", stacklevel=4)


def check_classes(where: str, labels: Iterable[str], question: str) -> None:
    """Says what looks wrong with the labels of the training images, a line each.

    Raises InputError, with the ``question`` what is to be looked at, where there are nearly as many classes as images.
    """
    counts = Counter(labels)
    images = counts.total()
    if len(counts) >= MANY and images < FEWEST * len(counts):
        raise InputError(f"{where}: {len(counts)} classes for {images} images: {question}")
    for said in _doubts(counts):
        warnings.warn(f"{where}: {said}", stacklevel=4)


def _doubts(counts: Mapping[str, int]) -> Iterator[str]:
    of_text, of_numbers = list(_alike(counts, _plain)), list(_alike(counts, _value))
    for alike, differ in (
        (of_text, "differ in letter case, space or Unicode form alone"),
        (of_numbers, "are one number, written differently,"),
    ):
        if alike:
            groups = _listed([_spelled(group) for group in alike])
            yield f"classes that {differ} count as different: {groups}; write them alike where they are one"
    said_already = {name for group in of_text for name in group}
    unsaid = [name for name in counts if name not in said_already]
    for said, doubtful, spelled in (
        ("looks like a label that is missing, and counts as a class", _is_gap, repr),
        ("looks like several labels in one, and counts as a class", _is_several, repr),
        ("has characters that nobody sees, which count", _is_unseen, ascii),
    ):
        if found := [f"{spelled(name)} ({_images(counts[name])})" for name in unsaid if doubtful(name, counts)]:
            yield f"{_listed(found)} {said}"
    if all(NUMBER.fullmatch(name) for name in counts) and (measured := list(filter(_is_fraction, counts))):
        yield f"labels are numbers such as {measured[0]}, and each is a class of its own"
    single = [name for name in counts if counts[name] == 1]
    if single and sum(counts.values()) >= MANY:
        yield f"{_listed(single)}: one training image only, from which no class is learned"


def _alike(names: Iterable[str], kind: Callable[[str], str]) -> Iterator[list[str]]:
    for _, group in groupby(sorted(names, key=kind), key=kind):
        found = sorted(group)
        if len(found) > 1:
            yield found


def _plain(name: str) -> str:
    seen = "".join(each for each in unicodedata.normalize("NFKC", name) if unicodedata.category(each) != "Cf")
    return " ".join(seen.casefold().split())


def _value(name: str) -> str:
    if WHOLE.fullmatch(name):
        return str(int(name.partition(".")[0]))
    if NUMBER.fullmatch(name) and math.isfinite(float(name)):
        return repr(float(name)).removesuffix(".0")
    return name


def _is_fraction(name: str) -> bool:
    return math.isfinite(float(name)) and float(name) % 1 != 0


def _is_gap(name: str, counts: Mapping[str, int]) -> bool:
    """Whether the class is called like a gap and is one to look at: rare, or the only one that is no number."""
    others = [other for other in counts if other != name]
    if name.casefold() not in GAPS or not others:
        return False
    rare = counts[name] * RARE * len(others) <= sum(counts[other] for other in others) or counts[name] == 1
    return rare or all(NUMBER.fullmatch(other) for other in others)


def _is_several(name: str, counts: Mapping[str, int]) -> bool:
    for sign in BETWEEN_LABELS:
        parts = [part.strip() for part in name.split(sign)]
        if len(parts) > 1 and all(parts) and (sign in SURE or all(part in counts for part in parts)):
            return True
    return False


def _is_unseen(name: str, _: Mapping[str, int]) -> bool:
    """Whether a name has such characters, or space at an end; within words and signs joiners have a meaning."""
    inside = name.translate(dict.fromkeys(map(ord, JOINERS))) if name == name.strip(JOINERS) else name
    return name != name.strip() or any(unicodedata.category(each) in ("Cf", "Cc", "Zl", "Zp") for each in inside)


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _spelled(names: Sequence[str]) -> str:
    seen = {"".join(each for each in unicodedata.normalize("NFC", name) if each.isprintable()) for name in names}
    seen_alike = len(seen) < len(names)
    return " and ".join(ascii(name) if seen_alike else repr(name) for name in names)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
