"""Run directories -> data frames. A record that cannot be read becomes a row that says so, no exception."""

import io
import os
import re
import shlex
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from sanm.config.limits import came_later
from sanm.errors import InputError
from sanm.record.reading import (
    CONFIG,
    FAILURE,
    METRICS,
    RESULT,
    RecordError,
    failure_reason,
    read_metrics,
    read_result,
    read_text,
    settings_of,
)

RECORD_FILES = (CONFIG, RESULT, FAILURE, METRICS)
STATUSES = ("done", "failed", "interrupted", "unreadable")
HOW_TO_MAKE_RUNS = "python -m sanm.run -m components=none,amg,amg_nlr,full noise.rate=0.2,0.5,0.8,0.9"

# Columns that are not settings. They are always present, so that no reader has to ask.
RECORD_FIELDS = ("run", "path", "status", "reason")
NUMBERS = (
    "epochs",
    "best_accuracy",
    "best_epoch",
    "last_accuracy",
    "last_window",
    "selected_accuracy",
    "selected_epoch",
    "validation_accuracy",
    "nominal_noise_rate",
    "realised_noise_rate",
    "clean_auroc",
    "labeled_fraction",
    "seconds",
    "images_per_second",
    "peak_memory_mb",
    "threads",
)
RESULT_FIELDS = (
    "name",
    "run_id",
    *NUMBERS,
    "validation_labels",
    "device",
    "versions.python",
    "versions.torch",
    "versions.numpy",
    "versions.sanm",
    "commit",
    "dirty",
    "overrides",
    "finished",
)
# So many unreadable runs are named.
NAMED = 3
# How failure.txt names the overrides of a run that has no result.
COMMAND = "command: "
# What runs do whose record does not say so: it names only what differs from the first choice there was.
_LATER = came_later()
UNSAID = {
    "pretrain.name": "none",
    **{f"{group}.{key}": value for group in ("plugin", "trainer", "quality") for key, value in _LATER[group].items()},
}
# The same of runs with SANM.
UNSAID_WITH_SANM = {"mask_source.name": "self", **{f"variant.{key}": value for key, value in _LATER["variant"].items()}}
# A top-level key and all that is indented below it, or a list of its own.
SECTION = re.compile(r"[A-Za-z_]\w*:.*\n(?:[ -] .*\n)*")


def load(runs_dir: str | Path) -> pd.DataFrame:
    """One row a run: every setting a dotted column (`noise.rate`), its result's fields, status, reason, path.

    `status` is done, failed, interrupted (neither a result nor a failure yet) or unreadable; `reason` is the
    first line of the failure, which also names a failed run's `overrides`. A setting that a run does not have is
    missing (NaN); lists become tuples. A result field that this module does not know becomes `result.<field>`.
    """
    rows = [record_row(directory) for directory in run_directories(runs_dir)]
    frame = pd.DataFrame(rows)
    settings = [column for column in frame.columns if column not in (*RECORD_FIELDS, *RESULT_FIELDS)]
    frame = frame.reindex(columns=[*RECORD_FIELDS, *settings, *RESULT_FIELDS])
    # A column of nulls has no type of its own, and a hand-edited record may hold anything.
    return frame.assign(**{name: pd.to_numeric(frame[name], errors="coerce") for name in NUMBERS})


def load_epochs(runs_dir: str | Path) -> pd.DataFrame:
    """One row an epoch, with its run directory's name as `run`; a line that is still being written is left out.

    A file that holds anything else is left out too, with a warning that names it.
    """
    lines_by_header: dict[str, list[str]] = {}
    names_by_header: dict[str, list[str]] = {}
    for directory in run_directories(runs_dir):
        try:
            header, lines = read_metrics(directory / METRICS)
        except RecordError as error:
            warnings.warn(f"{directory / error.reason}: these epochs are left out", stacklevel=2)
            continue
        lines_by_header.setdefault(header, []).extend(lines)
        names_by_header.setdefault(header, []).extend([directory.name] * len(lines))
    # Parsing all runs of one header at once is many times faster than a parse per run.
    frames = []
    for header, lines in lines_by_header.items():
        if not lines:
            continue
        frame = pd.read_csv(io.StringIO("\n".join([header, *lines])), dtype=str)
        frame = frame.apply(pd.to_numeric, errors="coerce")
        frame.insert(0, "run", names_by_header[header])
        frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["run", "epoch"])


def finished(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that are done; raises `InputError` with the counts of the others when there is none."""
    done = runs[runs["status"] == "done"]
    if done.empty:
        counts = runs["status"].value_counts()
        others = ", ".join(f"{counts[status]} {status}" for status in STATUSES if status in counts)
        first = "".join(f"; {line}" for line in unreadable(runs)[:1])
        raise InputError(f"none of these {len(runs)} runs is finished: {others}{first}")
    return done


def unreadable(runs: pd.DataFrame) -> list[str]:
    """A line for each run that cannot be read; after a few, how many more there are."""
    rows = runs[runs["status"] == "unreadable"].to_dict("records")
    lines = [f"{row['path']}: {row['reason']}: restore it, or move the folder away" for row in rows[:NAMED]]
    return lines + ([f"{len(rows) - NAMED} more runs cannot be read"] if len(rows) > NAMED else [])


def with_factors(runs: pd.DataFrame, rows: str, columns: str) -> pd.DataFrame:
    """The runs that have both factors of a table, `columns` as a number; raises `InputError` when there is none."""
    usable = runs.iloc[:0]
    if {rows, columns} <= {*runs.columns}:
        numbers = pd.to_numeric(runs[columns], errors="coerce")
        usable = runs.assign(**{columns: numbers}).dropna(subset=[rows, columns])
    if usable.empty:
        raise InputError(f"none of these {len(runs)} runs has both {rows} and {columns}, which this table needs")
    return usable


def setting_columns(runs: pd.DataFrame) -> list[str]:
    """The columns that come from the runs' configs, that is, what identifies a run."""
    outcome = {*RECORD_FIELDS, *RESULT_FIELDS}
    return [column for column in runs.columns if column not in outcome and not column.startswith("result.")]


def run_directories(runs_dir: str | Path) -> list[Path]:
    """The run directories of a folder of runs, by name. Raises `InputError` where it is none, or has none."""
    root = Path(runs_dir)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder of runs; make runs with: {HOW_TO_MAKE_RUNS}")
    if (root / "config.yaml").is_file():
        raise InputError(f"{root} is one run; give the folder that holds the runs: {root.absolute().parent}")
    try:
        candidates = sorted(entry.path for entry in os.scandir(root) if entry.is_dir())
    except OSError as error:
        raise InputError(f"{root}: cannot be read: {error.strerror}") from error
    directories = [
        Path(path) for path in candidates if any(os.path.exists(os.path.join(path, name)) for name in RECORD_FILES)
    ]
    if not directories:
        raise InputError(f"{root} holds no runs; make some with: {HOW_TO_MAKE_RUNS}")
    return directories


def record_row(directory: Path) -> dict[str, object]:
    """The row of `load` of one run directory, without the columns that only others have."""
    row: dict[str, object] = {"run": directory.name, "path": str(directory)}
    try:
        # Whatever could be read stays in the row: a broken result still shows which cell it belongs to.
        row.update(_settings(directory))
        result = _result(directory)
        lines = [] if result else read_text(directory / FAILURE, errors="replace").splitlines()
    except FileNotFoundError:
        return {**row, "status": "interrupted"}
    except RecordError as error:
        return {**row, "status": "unreadable", "reason": error.reason}
    if result is not None:
        return {**result, **row, "status": "done"}
    command = next((line.removeprefix(COMMAND) for line in lines if line.startswith(COMMAND)), None)
    return {
        **row,
        "status": "failed",
        "reason": failure_reason(directory / FAILURE),
        "overrides": None if command is None else _words(command),
    }


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError:  # a lone quote
        return tuple(command.split())


def _settings(directory: Path) -> dict[str, object]:
    path = directory / CONFIG
    try:
        settings = {**UNSAID, **_parsed(read_text(path))}
    except FileNotFoundError:
        raise RecordError(path, "is missing") from None
    except ValueError as error:
        raise RecordError(path, str(error)) from error
    if settings.get("components.amg") is True:  # a record names only another source, so that old records keep theirs
        return {**UNSAID_WITH_SANM, **settings}
    return settings


def _parsed(text: str) -> dict[str, object]:
    """The settings of a config's text; its sections are looked up, since thousands of runs share most of them.

    Reading YAML takes most of the time of `load`. Each section of a mapping in block style is a mapping of its own;
    what does not consist of such sections alone, or has one that cannot be read alone, is read as a whole.
    """
    sections = SECTION.findall(text) if text.endswith("\n") else []  # without it a long last line takes its square
    if sections and sum(map(len, sections)) == len(text):
        try:
            return {key: value for section in sections for key, value in _section_settings(section)}
        except ValueError:
            pass
    return dict(_section_settings(text))


@lru_cache(maxsize=2**15)
def _section_settings(text: str) -> tuple[tuple[str, object], ...]:
    return tuple(_flatten(settings_of(text)).items())


def _result(directory: Path) -> dict[str, object] | None:
    try:
        result = read_result(directory / RESULT)
    except FileNotFoundError:
        return None
    known = {*RESULT_FIELDS, "seed", "status"}
    return {key if key in known else f"result.{key}": value for key, value in _flatten(result).items()}


def _flatten(nested: dict[Any, Any], prefix: str = "") -> dict[str, object]:
    """{a: {b: 1}} -> {a.b: 1}; a null is the same as an absent key, as it is for a run's identity."""
    flat: dict[str, object] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        elif value is not None:
            flat[f"{prefix}{key}"] = _hashable(value)
    return flat


def _hashable(value: object) -> object:
    if isinstance(value, dict):
        return tuple((key, _hashable(item)) for key, item in value.items())
    return tuple(_hashable(item) for item in value) if isinstance(value, list) else value
