"""Copies of one image with different labels, of which at least one is wrong: `copies.csv` of a run."""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.records.npz import Array
from sanm.errors import InputError

FILE = "copies.csv"


@dataclass(frozen=True, eq=False)
class OtherLabels:
    """What copies of the run's training samples are called."""

    first: tuple[str, ...]  # N: a copy with another label, and that label; empty where there is none
    outvoted: Array  # [N] whether most copies, or as many, have another label


def other_labels(run: Path, keys: Sequence[str]) -> OtherLabels:
    """Of training samples, by their names; nothing for a run without such a file, in which no image comes twice or
    nobody looked. Raises `InputError` when the file is damaged.
    """
    names = defaultdict[str, list[tuple[str, str, str]]](list)
    image_of: dict[str, tuple[str, str]] = {}
    for row in _rows(run / FILE):
        names[row["image"]].append((row["part"], row["key"], row["label"]))
        if row["part"] == "train":
            image_of[row["key"]] = row["image"], row["label"]
    first, outvoted = [], []
    for key in keys:
        image, label = image_of.get(key, ("", ""))
        others = [f"{other} ({part}) is {called}" for part, other, called in names[image] if called != label]
        votes = Counter(called for _, _, called in names[image])
        first.append(others[0] if others else "")
        outvoted.append(any(count >= votes[label] for called, count in votes.items() if called != label))
    return OtherLabels(tuple(first), np.array(outvoted, dtype=bool))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeError) as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__}): delete it, and do without") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows = list(reader)
    if {"image", "part", "key", "label"} - {*(reader.fieldnames or ())} or any(None in row.values() for row in rows):
        raise InputError(f"{path} is no list of copies: delete it, and do without")
    return rows
