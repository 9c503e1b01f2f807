"""The encoder that the networks of a run start from: pre-trained once for all runs of its data and model, or a file.

A pre-trained encoder has a directory and a record like a run's, ``runs_dir/encoders/<readable>-<id>``, and
``encoder.pt``. Whoever needs it first trains it, others wait; an interrupted training goes on.
"""

import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sanm import models
from sanm.data import Data, Images, TrainingSet, check_enough_images, prepare
from sanm.data.streaming import told_of_lost_readers
from sanm.errors import InputError, Interrupted
from sanm.machine.backbones import hub_weights, lite0_weights, untrained
from sanm.machine.memory import keep_freed_memory
from sanm.machine.precision import set_matrix_precision, warn_where_slow
from sanm.machine.stopping import Stop, stop_signals
from sanm.machine.weights import imagenet_weights
from sanm.pretraining.probe import linear_probe
from sanm.pretraining.published import HEADS, read_encoder
from sanm.pretraining.simclr import SimCLR
from sanm.record import checkpoint, provenance
from sanm.record.directory import RunDirectory
from sanm.record.identity import encoder_identity, encoder_name
from sanm.terminal import output
from sanm.terminal.progress import Progress

COLUMNS = ("epoch", "loss", "learning_rate", "seconds")
WEIGHTS = "encoder.pt"
PREFIX = "backbone.body."
"""Of the tensors of a network of timm, whose own names follow."""
LINES = 50
"""About so many epochs of a pre-training are shown, where there is no bar."""
POLL = 2.0
"""Seconds between two looks at what another process is training."""

Rows = list[dict[str, Any]]


def _never() -> bool:
    return False


class PretrainingError(Exception):
    """The encoder that a run needs could not be trained; says which, and why."""


def encoder_for(
    config: Mapping[str, Any], train: TrainingSet, device: torch.device, command: list[str], stop: Stop = _never
) -> dict[str, Tensor] | None:
    """The weights that a run's networks start from, without a classifier; None for ``pretrain=none``.

    ``config`` is the checked config of the run. For ``pretrain=simclr`` the encoder is trained if nobody has yet, on
    all selected images of the data set, whatever their labels or the validation split: what is held out is labels.
    ``pretrain=imagenet`` without a file is torchvision's own, fetched when it is not there; ``timm`` and
    ``efficientnet_lite0`` are of timm's models. Those of ``model.frozen=true`` are the backbone's. Raises InputError
    for weights that do not fit or cannot be had, PretrainingError when the training failed, Interrupted once
    ``stop()`` is true.
    """
    name = config["pretrain"]["name"]
    if name == "none":
        return None
    if name in ("timm", "efficientnet_lite0"):
        return _of_timm(config)
    if name in ("file", "imagenet"):
        return _from_file(config, train)
    directory = pretrained(config, device, command, stop)
    output.say(f"encoder  {directory.name}")
    return _weights(directory)


def _weights(directory: RunDirectory) -> dict[str, Tensor]:
    try:
        found: dict[str, Tensor] = checkpoint.read(directory.path / WEIGHTS)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{directory.path / WEIGHTS} cannot be read ({reason}): delete {directory.path} to train this encoder again"
        ) from error
    return found


def _from_file(config: Mapping[str, Any], train: TrainingSet) -> dict[str, Tensor]:
    given = config["pretrain"].get("path")
    path = str(given or imagenet_weights(int(config["model"]["depth"]), "pretrain=imagenet", "pretrain.path"))
    with torch.random.fork_rng(devices=[]), torch.device("meta"):  # shapes alone
        network = models.build({**config["model"], "frozen": False}, train.images.shape[1], train.num_classes)
        wanted = {key: value for key, value in network.state_dict().items() if isinstance(value, Tensor)}
    prefix = PREFIX if config["model"]["name"] == "timm" else ""
    names = {key.removeprefix(prefix): value for key, value in wanted.items() if key.startswith(prefix)}
    fit = read_encoder(path, {key: value for key, value in names.items() if not key.startswith(HEADS)})
    output.say(f"encoder  {path}: {fit}")
    return {f"{prefix}{key}": value for key, value in fit.loaded.items()}


def _of_timm(config: Mapping[str, Any]) -> dict[str, Tensor]:
    architecture = str(config["model"]["architecture"])
    if config["pretrain"]["name"] == "timm":
        weights = hub_weights(architecture)
    else:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            weights = lite0_weights(untrained(architecture).state_dict())
    output.say(f"encoder  {architecture}: pretrain={config['pretrain']['name']}")
    return {f"{PREFIX}{key}": value for key, value in weights.items()}


def pretrained(
    config: Mapping[str, Any], device: torch.device, command: list[str], stop: Stop = _never
) -> RunDirectory:
    """The directory of the finished SimCLR encoder of a run, trained now if need be.

    Waits while another process is at it. Raises PretrainingError when it failed, now or, without ``retry``, earlier,
    and Interrupted once ``stop()`` is true or a signal of ``STOP_SIGNALS`` came, after the epoch then underway.
    """
    record = encoder_identity(config)
    directory = RunDirectory(Path(config["runs_dir"]).expanduser() / "encoders", encoder_name(record), record)
    told = False
    while _needed(directory, config["retry"]):
        with directory.claim() as mine:
            if mine and _needed(directory, config["retry"]):
                _train_or_record_failure(config, directory, device, command, stop)
        if not mine:
            if stop():
                raise Interrupted(f"asked to stop while {directory.name} was being trained by another process")
            if not told:
                output.say(f"wait     {directory.name}: another process is at it")
            told = True
            time.sleep(POLL)
    return directory


def _needed(directory: RunDirectory, retry: bool) -> bool:
    status = directory.readable_status()
    if status == "failed" and not retry:
        raise _failure(directory)
    if status == "done":
        directory.tidy()
    return status != "done"


def _failure(directory: RunDirectory) -> PretrainingError:
    return PretrainingError(
        f"the pre-training {directory.name} failed: {directory.failure_reason()} (retry=true takes it again)"
    )


def _train_or_record_failure(
    config: Mapping[str, Any], directory: RunDirectory, device: torch.device, command: list[str], stop: Stop
) -> None:
    try:
        _train(config, directory, device, command, stop)
    except (InputError, Interrupted):
        raise
    except Exception as error:  # as for a run: record it, let others go on
        reason = " ".join(str(error).split()) or type(error).__name__
        directory.fail(reason, f"command: {' '.join(command)}\n\n{traceback.format_exc()}")
        raise _failure(directory) from error


@told_of_lost_readers()
def _train(
    config: Mapping[str, Any], directory: RunDirectory, device: torch.device, command: list[str], stop: Stop
) -> None:
    provenance.reset_peak_memory(device)
    data = _all_images(config)
    check_enough_images(data, config, "pretrain")
    mean_and_std = models.normalisation(config["model"], data.train.images.shape[1])
    images = Images(data.train.images, *(mean_and_std or (data.train.mean, data.train.std)))
    keep_freed_memory()
    set_matrix_precision(device, config["pretrain"]["precision"])
    warn_where_slow("pretrain.precision", device, config["pretrain"]["precision"])
    simclr = SimCLR(config, images, data.train.num_classes, device)
    identity = encoder_identity(config)
    directory.begin(identity)
    output.say(f"images   {simclr.bank.source}")
    saved = checkpoint.resume(directory.checkpoint, simclr.load, identity)
    rows: Rows = saved["rows"] if saved else []
    directory.rewrite_metrics(COLUMNS, rows)
    epochs = int(config["pretrain"]["epochs"])
    pace = checkpoint.Pace(config["trainer"]["checkpoint_every"])
    progress = Progress(directory.name, epochs, simclr.epochs_done, verb="pretrain", every=max(1, epochs // LINES))
    with stop_signals() as signalled:
        try:
            while simclr.epochs_done < epochs:
                rows.append(simclr.train_epoch(progress.step))
                directory.append_metrics(COLUMNS, rows[-1])
                stopping = signalled() or stop()
                if pace.due() or stopping or simclr.epochs_done == epochs:
                    with pace.saving():
                        state = {"trainer": simclr.state(), "rows": rows, "identity": identity}
                        checkpoint.save(directory.checkpoint, state)
                progress.epoch(rows[-1])
                if stopping:
                    raise Interrupted(f"asked to stop at epoch {simclr.epochs_done} of the encoder {directory.name}")
        finally:
            progress.close()
    checkpoint.save(directory.path / WEIGHTS, simclr.encoder())
    directory.finish(_result(directory, simclr, data, rows, command), keep_checkpoint=False)


def _all_images(config: Mapping[str, Any]) -> Data:
    """The run's data before noise and split, so that the record depends on nothing but the encoder's identity."""
    everything = {**config["data"], "validation": 0.0, "test_subset": None}
    return prepare(everything, {"name": "none"}, Path(config["cache_dir"]).expanduser())


def _result(directory: RunDirectory, simclr: SimCLR, data: Data, rows: Rows, command: list[str]) -> dict[str, Any]:
    seconds = sum(row["seconds"] for row in rows)
    return {
        "name": directory.name,
        "epochs": len(rows),
        "loss": rows[-1]["loss"],
        "linear_probe_accuracy": linear_probe(simclr.features, data),
        **provenance.cost(seconds, len(rows) * simclr.count, simclr.device),
        **provenance.code(),
        "overrides": command,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
