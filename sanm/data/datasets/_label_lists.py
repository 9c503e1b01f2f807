"""Text files that published data sets of images come with: a name and a label a line, or a name alone."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sanm import given_files
from sanm.data.datasets._image_files import Entries
from sanm.data.types import LeftOut
from sanm.errors import InputError


@dataclass
class LabelList:
    """Labels by name, and for names without a usable one the reason. Both keep the file's order."""

    labels: dict[str, int] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)


def lines_of(path: Path) -> list[str]:
    """The lines of a text file, stripped, without the empty ones. Raises InputError when it cannot be read."""
    try:
        text = given_files.read_text(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): restore this file of the data set") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}): restore this file of the data set") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_labels(path: Path, num_classes: int) -> LabelList:
    """Lines of a name, which may hold commas and blanks, white space, and a label in ``[0, num_classes)``.

    A name may be there twice with one label; with two of them it has none.
    """
    found = LabelList()
    for line in lines_of(path):
        key, _, text = line.rpartition(" ") if " " in line else line.rpartition("\t")
        if not key or not text.isdecimal():
            found.unusable[line] = f"has no label in {path.name}"
            continue
        key, label = key.strip(), int(text)
        if label >= num_classes:
            found.unusable[key] = f"has the label {label} in {path.name}, which is not in [0, {num_classes})"
        elif found.labels.setdefault(key, label) != label:
            found.unusable[key] = f"has two labels in {path.name}, {found.labels[key]} and {label}"
    for key in found.unusable:
        found.labels.pop(key, None)
    return found


def entries_of(keys: Sequence[str], labels: LabelList, list_name: str, labels_name: str) -> Entries:
    """The listed names with their labels; those listed twice, or without a usable label, are bad."""
    found, seen = Entries(), set[str]()
    for key in keys:
        if key in seen:
            found.reject(key, f"is listed twice in {list_name}")
        elif key in labels.labels:
            found.add(key, labels.labels[key])
        else:
            found.reject(key, labels.unusable.get(key, f"has no label in {labels_name}"))
        seen.add(key)
    return found


def all_entries(labels: LabelList) -> Entries:
    """Every name of the file, those without a usable label as bad ones."""
    bad = [LeftOut(key, reason) for key, reason in labels.unusable.items()]
    return Entries(list(labels.labels), list(labels.labels.values()), bad)


def warn_of_empty_classes(labels: Sequence[int], class_names: Sequence[str], where: Path) -> None:
    """One line on classes without a single training sample."""
    present = set(labels)
    missing = [name for label, name in enumerate(class_names) if label not in present]
    if missing:
        warnings.warn(f"{where} has no training images of {', '.join(missing)}: they cannot be learned", stacklevel=3)
