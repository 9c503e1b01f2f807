"""What a finished run says of each of its training labels."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.labels.copies import OtherLabels, other_labels
from analysis.labels.evidence import Evidence, read_evidence
from analysis.records import samples
from analysis.records.load import RECORD_FILES
from analysis.records.npz import Array, read_arrays
from sanm.errors import InputError
from sanm.formats.image_table import class_names
from sanm.formats.spreadsheet import is_unguarded, unguarded
from sanm.record.reading import CONFIG, FAILURE, RESULT, RecordError, failure_reason, read_result, read_settings

QUALITY = "label_quality.csv"
PROBABILITIES = "probabilities.npz"
NEEDED = ("index", "key", "given_label", "predicted_label", "clean_probability")


@dataclass(frozen=True, eq=False)
class Record:
    """A run's training samples, in its own order."""

    path: Path
    config: dict[str, Any]
    result: dict[str, Any]
    class_names: tuple[str, ...]
    index: Array  # [N] position in the full training set
    keys: tuple[str, ...]  # N names; of image files, their path relative to data.root
    given: Array  # [N] class
    predicted: Array  # [N] class: by the features where the run has evidence of them, else by the method
    label_score: Array  # [N] the probability that the given label is right, by the features or by the method
    clean_probability: Array  # [N] what the method says of that
    confidence: Array  # [N] probability of the predicted class; NaN in a record that is older than it
    probabilities: Array | None  # [N, K], rows add up to 1; None in an older record, and in one of too many
    known: Array  # [m] positions among the N whose truth is recorded
    known_wrong: Array  # [m] whether their label is wrong
    copies: OtherLabels  # what copies of the same images are called
    evidence: Evidence | None  # what frozen features say; then `probabilities` and `confidence` are theirs

    @cached_property
    def self_confidence(self) -> Array:
        """[N] probability of the given label; NaN where probabilities are not recorded."""
        if self.probabilities is None:
            return np.full(len(self.given), np.nan)
        own: Array = self.probabilities[np.arange(len(self.given)), self.given]
        return own

    @property
    def data(self) -> dict[str, Any]:
        """The section `data` of the config."""
        found: dict[str, Any] = self.config.get("data") or {}
        return found


def find_run(named: str, runs_dir: str) -> Path:
    """The run directory that is named by its path, by its name in `runs_dir`, or by the digits at the name's end."""
    path = Path(named)
    if path.is_dir():
        if any((path / name).exists() for name in RECORD_FILES):
            return path
        raise InputError(f"{path} is no run: give one run's own folder, which holds config.yaml and {QUALITY}")
    folder = Path(runs_dir)
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    fitting = [name for name in names if named == name or (named and name.endswith(f"-{named}"))]
    if len(fitting) == 1:
        return folder / fitting[0]
    if fitting:
        raise InputError(f"{named} is {len(fitting)} runs in {folder} ({', '.join(fitting[:3])}): give a whole name")
    raise InputError(f"{named} is no run, nor the name or id of one in {folder}: give its folder, or --runs_dir")


def read_record(run: Path) -> Record:
    """The record of a finished run. Raises `InputError`, one line, when it is not finished or cannot be read."""
    result = _result(run)
    samples_of_all = _samples(run)
    pictured = read_arrays(run / samples.FILE, ("class_names", "is_wrong")) or {}
    predicted = read_arrays(run / PROBABILITIES) or {}
    names = _class_names(run, samples_of_all, predicted.get("class_names", pictured.get("class_names")))
    number = {name: position for position, name in enumerate(names)}
    known, known_wrong = _known(pictured.get("is_wrong"), len(samples_of_all))
    clean_probability = samples_of_all["clean_probability"].to_numpy()
    evidence = read_evidence(run, names, len(samples_of_all))
    if evidence:
        probabilities: Array | None = evidence.probabilities
        classes, confidence = evidence.probabilities.argmax(1), evidence.probabilities.max(1)
    else:
        probabilities = _probabilities(run, predicted.get("probabilities"), (len(samples_of_all), len(names)))
        classes = samples_of_all["predicted_label"].map(number).to_numpy(dtype=np.int64)
        confidence = samples_of_all["confidence"].to_numpy()
    return Record(
        path=run,
        config=_config(run),
        result=result,
        class_names=names,
        index=samples_of_all["index"].to_numpy(),
        keys=tuple(samples_of_all["key"]),
        given=samples_of_all["given_label"].map(number).to_numpy(dtype=np.int64),
        predicted=classes,
        label_score=evidence.label_score if evidence else clean_probability,
        clean_probability=clean_probability,
        confidence=confidence,
        probabilities=probabilities,
        known=known,
        known_wrong=known_wrong,
        copies=other_labels(run, tuple(samples_of_all["key"])),
        evidence=evidence,
    )


def _result(run: Path) -> dict[str, Any]:
    try:
        return read_result(run / RESULT)
    except FileNotFoundError:
        why = f", it failed ({failure_reason(run / FAILURE)})" if (run / FAILURE).exists() else ""
        raise InputError(f"{run} is not finished{why}: only a finished run says which labels are wrong") from None


def _config(run: Path) -> dict[str, Any]:
    try:
        return read_settings(run / CONFIG)
    except FileNotFoundError:
        raise RecordError(run / CONFIG, "is missing") from None


def _samples(run: Path) -> pd.DataFrame:
    path = run / QUALITY
    try:
        # Classes may be called NA or 1.0: names are text, whatever they look like.
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path} is not there: restore it, or make the run again") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({str(error).splitlines()[0]}): make the run again") from error
    lacking = [name for name in NEEDED if name not in frame.columns]
    if lacking or frame.empty:
        raise InputError(f"{path} lacks {', '.join(lacking) or 'rows'}: make the run again")
    confidence = frame["confidence"] if "confidence" in frame.columns else np.nan
    texts = frame[["key", "given_label", "predicted_label"]]
    if not texts.map(is_unguarded).any(axis=None):  # else a record of before they were guarded
        texts = texts.map(unguarded)
    try:
        found = frame.assign(
            **{name: texts[name] for name in texts.columns},
            index=frame["index"].astype(np.int64),
            clean_probability=frame["clean_probability"].astype(np.float64),
            confidence=pd.to_numeric(confidence) if "confidence" in frame.columns else np.nan,
        )
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path} is damaged ({error}): make the run again") from error
    for name in ("clean_probability", "confidence"):
        outside = ~found[name].between(0, 1) & ("confidence" in frame.columns or name != "confidence")
        if outside.any():
            first = frame[name][outside].iloc[0]
            raise InputError(f"{path} is damaged ({name} {first} is no probability): make the run again")
    if found["index"].duplicated().any() or (found["index"] < 0).any():
        raise InputError(f"{path} is damaged (an index is there twice, or below 0): make the run again")
    return found


def _class_names(run: Path, frame: pd.DataFrame, recorded: Array | None) -> tuple[str, ...]:
    """The classes in their order; older records do not say it, and those that occur are then in that of their names."""
    occurring = {*frame["given_label"], *frame["predicted_label"]}
    if recorded is None:
        return class_names(occurring)
    names = tuple(str(name) for name in recorded)
    if foreign := sorted(occurring - set(names)):
        raise InputError(f"{run / QUALITY} has the label {foreign[0]!r}, which is no class of it: restore the file")
    return names


def _probabilities(run: Path, recorded: Array | None, shape: tuple[int, int]) -> Array | None:
    if recorded is None:
        return None
    if recorded.shape != shape:
        raise InputError(f"{run / PROBABILITIES} is not of the samples of {QUALITY}: delete it, and do without")
    exact = recorded.astype(np.float64)  # half precision does not add up to 1
    scaled: Array = exact / exact.sum(1, keepdims=True)
    return scaled


def _known(is_wrong: Array | None, count: int) -> tuple[Array, Array]:
    """Of large sets the truth of evenly spaced samples is recorded: every so many from the first on."""
    if is_wrong is None or not len(is_wrong):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=bool)
    positions = np.arange(0, count, -(-count // len(is_wrong)))
    if len(positions) != len(is_wrong):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=bool)
    return positions, is_wrong.astype(bool)
