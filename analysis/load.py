"""Run directories -> data frames. A record that cannot be read becomes a row that says so, no exception."""

import io
import json
import os
import re
import shlex
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from sanm.errors import InputError

RECORD_FILES = ("config.yaml", "result.json", "failure.txt", "metrics.csv")
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
# How failure.txt names the overrides of a run that has no result.
COMMAND = "command: "
# What runs do whose record does not say so: it names only what differs from the first choice there was.
UNSAID = {
    "pretrain.name": "none",
    "trainer.optimizer": "sgd",
    "trainer.schedule": "steps",
    "quality.iterations": 10,
}
# The C parser is about ten times faster, but not every build of PyYAML has it.
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# A top-level key and all that is indented below it, or a list of its own.
SECTION = re.compile(r"[A-Za-z_]\w*:.*\n(?:[ -] .*\n)*")


class UnreadableError(Exception):
    """A record that is half-written or no record at all; `load` turns it into a row."""


def load(runs_dir: str | Path) -> pd.DataFrame:
    """One row a run: every setting a dotted column (`noise.rate`), its result's fields, status, reason, path.

    `status` is done, failed, interrupted (neither a result nor a failure yet) or unreadable; `reason` is the
    first line of the failure, which also names a failed run's `overrides`. A setting that a run does not have is
    missing (NaN); lists become tuples. A result field that this module does not know becomes `result.<field>`.
    """
    rows = [_row(directory) for directory in _run_directories(runs_dir)]
    frame = pd.DataFrame(rows)
    settings = [column for column in frame.columns if column not in (*RECORD_FIELDS, *RESULT_FIELDS)]
    frame = frame.reindex(columns=[*RECORD_FIELDS, *settings, *RESULT_FIELDS])
    # A column of nulls has no type of its own, and a hand-edited record may hold anything.
    return frame.assign(**{name: pd.to_numeric(frame[name], errors="coerce") for name in NUMBERS})


def load_epochs(runs_dir: str | Path) -> pd.DataFrame:
    """One row an epoch, with its run directory's name as `run`; a line that is still being written is left out."""
    lines_by_header: dict[str, list[str]] = {}
    names_by_header: dict[str, list[str]] = {}
    for directory in _run_directories(runs_dir):
        header, lines = _metric_lines(directory / "metrics.csv")
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
        raise InputError(f"none of these {len(runs)} runs is finished: {others}")
    return done


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


def _run_directories(runs_dir: str | Path) -> list[Path]:
    root = Path(runs_dir)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder of runs; make runs with: {HOW_TO_MAKE_RUNS}")
    if (root / "config.yaml").is_file():
        raise InputError(f"{root} is one run; give the folder that holds the runs: {root.absolute().parent}")
    try:
        candidates = sorted(entry.path for entry in os.scandir(root) if entry.is_dir())
    except OSError as error:
        raise InputError(f"{root}: cannot be read: {error.strerror}") from error
    directories = [Path(path) for path in candidates if _holds_a_record(path)]
    if not directories:
        raise InputError(f"{root} holds no runs; make some with: {HOW_TO_MAKE_RUNS}")
    return directories


def _holds_a_record(path: str) -> bool:
    return any(os.path.exists(os.path.join(path, name)) for name in RECORD_FILES)


def _row(directory: Path) -> dict[str, object]:
    row: dict[str, object] = {"run": directory.name, "path": str(directory)}
    try:
        # Whatever could be read stays in the row: a broken result still shows which cell it belongs to.
        row.update(_settings(directory))
        result = _result(directory)
    except (OSError, UnicodeError, yaml.YAMLError, UnreadableError) as error:
        return {**row, "status": "unreadable", "reason": " ".join(str(error).split())}
    if result is not None:
        return {**result, **row, "status": "done"}
    try:
        lines = (directory / "failure.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except FileNotFoundError:
        return {**row, "status": "interrupted"}
    except OSError as error:
        return {**row, "status": "unreadable", "reason": str(error)}
    command = next((line.removeprefix(COMMAND) for line in lines if line.startswith(COMMAND)), None)
    return {
        **row,
        "status": "failed",
        "reason": lines[0] if lines else "failure.txt is empty",
        "overrides": None if command is None else _words(command),
    }


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError:  # a lone quote
        return tuple(command.split())


def _settings(directory: Path) -> dict[str, object]:
    try:
        text = (directory / "config.yaml").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UnreadableError("config.yaml is missing") from None
    settings = {**UNSAID, **_parsed(text)}
    if settings.get("components.amg") is True:  # a record names only another source, so that old records keep theirs
        settings.setdefault("mask_source.name", "self")
        settings.setdefault("variant.masked_target", "method")
        settings.setdefault("variant.unmasked_views", "kept")
    return settings


def _parsed(text: str) -> dict[str, object]:
    """The settings of a config's text; its sections are looked up, since thousands of runs share most of them.

    Reading YAML takes most of the time of `load`. Each section of a mapping in block style is a mapping of its own;
    what does not consist of such sections alone, or has one that cannot be read alone, is read as a whole.
    """
    sections = SECTION.findall(text)
    if sections and sum(map(len, sections)) == len(text):
        try:
            return {key: value for section in sections for key, value in _section_settings(section)}
        except (yaml.YAMLError, UnreadableError):
            pass
    return dict(_section_settings(text))


@lru_cache(maxsize=2**15)
def _section_settings(text: str) -> tuple[tuple[str, object], ...]:
    config = yaml.load(text, Loader=YAML_LOADER)
    if not isinstance(config, dict):
        raise UnreadableError("config.yaml holds no settings")
    return tuple(_flatten(config).items())


def _result(directory: Path) -> dict[str, object] | None:
    try:
        text = (directory / "result.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        result = json.loads(text)
    except ValueError as error:
        raise UnreadableError(f"result.json is no JSON: {error}") from error
    if not isinstance(result, dict):
        raise UnreadableError("result.json holds no fields")
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


def _metric_lines(path: Path) -> tuple[str, list[str]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", []
    # A row is complete when its line is: what follows the last line break is still being written.
    header, *lines = text[: text.rfind("\n") + 1].splitlines() or [""]
    return header, [line for line in lines if line.count(",") == header.count(",")]
