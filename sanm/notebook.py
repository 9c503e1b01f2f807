"""Runs and predictions from Python, as a notebook wants them: errors are exceptions, and no process is ended.

    from sanm.notebook import run, trained
    folder = run(["data=digits", "base_method=elr", "noise.rate=0.5"])
    trained(folder).predict(["photos/"])

``analysis.load`` and ``analysis.load_epochs`` make data frames of records.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from sanm.config.checks import CONF, checked
from sanm.config.explain import one_line
from sanm.errors import InputError, Interrupted
from sanm.machine.device import choose_device
from sanm.machine.stopping import REQUEUE
from sanm.predict.image_list import listed
from sanm.predict.predictions import predict
from sanm.record.directory import RunDirectory
from sanm.record.identity import identity, run_name
from sanm.run import FAILED, MISSING, train_or_skip
from sanm.trained_model import TrainedModel, model_path, read_model


class FailedRunError(Exception):
    """The run is recorded as failed; says why, and in which file more stands."""


def run(overrides: Sequence[str]) -> Path:
    """Train what is left of one run, which may be nothing, and return the folder of its record.

    ``overrides`` are the words after ``python -m sanm.run``, and the run is the same as by that command: the same
    folder, the same numbers. Ctrl-C leaves its checkpoint, and the same call goes on.

    Raises InputError, which names the key or the file; FailedRunError; Interrupted after a signal to stop.
    """
    words = list(overrides)
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = checked(compose("config", overrides=words))
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(one_line(error)) from None
    status = train_or_skip(config, words)
    record = identity(config)
    directory = RunDirectory(Path(config["runs_dir"]).expanduser(), run_name(record), record)
    if status == FAILED:
        raise FailedRunError(f"{directory.failure_reason()} (see {directory.path / 'failure.txt'})")
    if status == MISSING:
        raise InputError(f"{directory.path}: another process is at this run; wait for it")
    if status == REQUEUE and directory.status() != "done":
        raise Interrupted(f"{directory.name}: the same call goes on")
    return directory.path


def trained(run: str | Path) -> Trained:
    """What a finished run predicts with, by its folder or its ``model.pt``. Raises InputError where there is none."""
    return Trained(read_model(model_path(str(run))).to(choose_device("auto")))


class Trained:
    """The networks of a finished run, those of its last epoch."""

    def __init__(self, model: TrainedModel) -> None:
        self.model = model

    def predict(self, images: str | Path | Sequence[str | Path]) -> pd.DataFrame:
        """A row an image of files, folders and tables, as ``python -m sanm.predict`` writes them.

        Columns are ``file``, ``predicted_label``, ``predicted_class``, ``confidence`` and each class's probability.
        Raises InputError for an image that is not there or cannot be decoded.
        """
        given = [images] if isinstance(images, str | Path) else images
        found = listed([str(each) for each in given])
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "predictions.csv"
            predict(self.model, found, out, self.model.at_once, top=None, skip_bad=False)
            return pd.read_csv(out, dtype={"file": str, "predicted_label": str}, keep_default_na=False)
