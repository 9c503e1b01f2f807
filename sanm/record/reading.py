"""The files of a run's record, for all who read them: what they must be to be believed; else one line that says why."""

import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sanm.errors import InputError

RESULT, CONFIG, METRICS, FAILURE = "result.json", "config.yaml", "metrics.csv", "failure.txt"

MOST_BYTES = 2**26
"""More than any such file has."""
MOST_VALUES, MOST_LEVELS = 100_000, 50
"""More than any config has, however its YAML says it."""

PERCENT = ("best_accuracy", "last_accuracy", "selected_accuracy", "validation_accuracy", "linear_probe_accuracy")
NUMBERS = (
    *PERCENT,
    "epochs",
    "best_epoch",
    "selected_epoch",
    "last_window",
    "left_out",
    "loss",
    "nominal_noise_rate",
    "realised_noise_rate",
    "clean_auroc",
    "labeled_fraction",
    "seconds",
    "images_per_second",
    "peak_memory_mb",
)
TEXTS = ("name", "run_id", "validation_labels", "device", "finished", "commit")
"""Fields of a result by their type; any of them may be null or absent."""

# The C parser is about ten times faster, but not every build of PyYAML has it.
FAST_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
OPENING = "[{-?"
MOST_OPENING = 5000
"""Of characters that can open a level of YAML: the C parser dies of too many levels."""
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(inf|nan)|", re.IGNORECASE)


class RecordError(InputError):
    """A file of a record that is not as it was written. The message names it, and says what to do."""

    def __init__(self, path: Path, reason: str, remedy: str | None = None) -> None:
        self.path, self.reason = path, f"{path.name} {reason}"
        again = f"restore it, or move the folder {path.parent} away to have it made again"
        super().__init__(f"{path} {reason}: {remedy or again}")


def read_text(path: Path, errors: str = "strict") -> str:
    """The text of a file of a record. Raises FileNotFoundError, and RecordError for what cannot be read as text."""
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise RecordError(path, "is no regular file")
        if state.st_size > MOST_BYTES:
            raise RecordError(path, f"has {state.st_size} bytes, more than any such file")
        return path.read_bytes().decode("utf-8", errors)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RecordError(path, f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise RecordError(path, "is not UTF-8") from error


# ---- result.json


def read_result(path: Path) -> dict[str, Any]:
    """What a ``result.json`` holds. Raises FileNotFoundError without one, RecordError for one that is no result."""
    text = read_text(path)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(path, f"is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise RecordError(path, "holds no fields")
    wrong = _wrong_field(found)
    if wrong:
        raise RecordError(path, wrong)
    return found


def _wrong_field(result: Mapping[str, Any]) -> str | None:
    if result.get("status") != "done":
        return f"says status={result.get('status')!r}, not done"
    for key in NUMBERS:
        value = result.get(key)
        number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
        if value is not None and not number:
            return f"says {key}={value!r}, which is no number"
        if value is not None and key in PERCENT and not 0 <= value <= 100:
            return f"says {key}={value!r}, which is no percentage"
    for key in TEXTS:
        if not isinstance(result.get(key, ""), str | None):
            return f"says {key}={result[key]!r}, which is no text"
    overrides = result.get("overrides")
    if overrides is not None and not (isinstance(overrides, list) and all(isinstance(word, str) for word in overrides)):
        return "has overrides that are no list of words"
    return None


# ---- config.yaml


def read_settings(path: Path) -> dict[str, Any]:
    """What a ``config.yaml`` holds. Raises FileNotFoundError without one, RecordError for one that holds no config."""
    text = read_text(path)
    try:
        return settings_of(text)
    except ValueError as error:
        raise RecordError(path, str(error)) from error


def settings_of(text: str) -> dict[str, Any]:
    """The settings that a YAML text says: groups, lists and plain values. Raises ValueError for anything else.

    Among the else: a list that holds itself, names that stand for more than is written out, dates.
    """
    if sum(map(text.count, OPENING)) > MOST_OPENING:
        raise ValueError("holds more than any config")
    try:
        found = yaml.load(text, Loader=FAST_LOADER)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"is no YAML of plain values ({reason})") from error
    if not isinstance(found, dict):
        raise ValueError("holds no settings")
    _check_plain(found)
    return found


def _check_plain(settings: dict[Any, Any]) -> None:
    left: list[tuple[object, int]] = [(settings, 0)]
    seen = 0
    while left:
        node, level = left.pop()
        seen += 1
        if level > MOST_LEVELS or seen + len(left) > MOST_VALUES:
            raise ValueError("holds itself, or more than any config")
        if isinstance(node, dict):
            left += [(key, MOST_LEVELS) for key in node] + [(value, level + 1) for value in node.values()]
        elif isinstance(node, list):
            left += [(value, level + 1) for value in node]
        elif not isinstance(node, str | int | float | None):
            raise ValueError(f"holds a {type(node).__name__}, which no setting is")


# ---- metrics.csv


def read_metrics(path: Path) -> tuple[str, list[str]]:
    """The header and the complete rows of a ``metrics.csv``; none without one.

    A row that is still being written is left out. Raises RecordError when one holds anything but numbers.
    """
    try:
        text = read_text(path)
    except FileNotFoundError:
        return "", []
    # A row is complete when its line is: what follows the last line break is still being written.
    header, *lines = text[: text.rfind("\n") + 1].splitlines() or [""]
    columns = header.split(",")
    if len(set(columns)) < len(columns) or (lines and "epoch" not in columns):
        raise RecordError(path, "has no row of names")
    for number, line in enumerate(lines, start=2):
        cells = line.split(",")
        if len(cells) != len(columns) or not all(map(NUMBER.fullmatch, cells)):
            raise RecordError(path, f"holds no epoch in line {number}")
    return header, lines


# ---- failure.txt


def failure_reason(path: Path) -> str:
    """Why a run failed, in one line, as far as its ``failure.txt`` can be read."""
    try:
        lines = read_text(path, errors="replace").strip().splitlines()
    except FileNotFoundError:
        return f"{path.name} is gone"
    except RecordError as error:
        return error.reason
    return lines[0] if lines else f"{path.name} is empty"
