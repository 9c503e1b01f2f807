"""The encoder that the networks of a run start from: pre-trained once for all runs of its data and model, or a file.

A pre-trained encoder has a directory and a record like a run's, ``runs_dir/encoders/<readable>-<id>``, and
``encoder.pt``. Whoever needs it first trains it, others wait; an interrupted training goes on.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sanm import checkpoint, models, provenance
from sanm.data import Data, Images, TrainingSet, prepare
from sanm.data.streaming import told_of_lost_readers
from sanm.errors import InputError, Interrupted
from sanm.identity import encoder_identity, encoder_name
from sanm.progress import Progress
from sanm.published import read_encoder
from sanm.scoring import linear_probe
from sanm.simclr import SimCLR
from sanm.store import RunDirectory
from sanm.torchvision_weights import imagenet_weights

COLUMNS = ("epoch", "loss", "learning_rate", "seconds")
WEIGHTS = "encoder.pt"
LINES = 50
"""About so many epochs of a pre-training are shown, where there is no bar."""
POLL = 2.0
"""Seconds between two looks at what another process is training."""

Rows = list[dict[str, Any]]
Stop = Callable[[], bool]


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
    ``pretrain=imagenet`` without a file is torchvision's own, fetched when it is not there. Raises InputError for a
    file that does not fit or cannot be had, PretrainingError when the training failed, Interrupted
    once ``stop()`` is true.
    """
    name = config["pretrain"]["name"]
    if name == "none":
        return None
    if name in ("file", "imagenet"):
        return _from_file(config, train)
    directory = pretrained(config, device, command, stop)
    print(f"encoder  {directory.name}", flush=True)
    return _weights(directory)


def _weights(directory: RunDirectory) -> dict[str, Tensor]:
    try:
        found: dict[str, Tensor] = torch.load(directory.path / WEIGHTS, map_location="cpu", weights_only=True)
    except (OSError, *checkpoint.UNREADABLE) as error:
        raise InputError(
            f"{directory.path / WEIGHTS} cannot be read: delete {directory.path} to train this encoder again"
        ) from error
    return found


def _from_file(config: Mapping[str, Any], train: TrainingSet) -> dict[str, Tensor]:
    given = config["pretrain"].get("path")
    path = str(given or imagenet_weights(int(config["model"]["depth"]), "pretrain=imagenet", "pretrain.path"))
    with torch.random.fork_rng(devices=[]), torch.device("meta"):  # shapes alone
        network = models.build(config["model"], train.images.shape[1], train.num_classes)
        wanted = {key: value for key, value in network.state_dict().items() if isinstance(value, Tensor)}
    fit = read_encoder(path, {key: value for key, value in wanted.items() if not key.startswith("classifier.")})
    print(f"encoder  {path}: {fit}", flush=True)
    return fit.loaded


def pretrained(
    config: Mapping[str, Any], device: torch.device, command: list[str], stop: Stop = _never
) -> RunDirectory:
    """The directory of the finished SimCLR encoder of a run, trained now if need be.

    Waits while another process is at it. Raises PretrainingError when it failed, now or, without ``retry``, earlier,
    and Interrupted once ``stop()`` is true, after the epoch then underway.
    """
    name = encoder_name(encoder_identity(config))
    directory = RunDirectory(Path(config["runs_dir"]).expanduser() / "encoders", name)
    told = False
    while _needed(directory, config["retry"]):
        with directory.claim() as mine:
            if mine and _needed(directory, config["retry"]):
                _train_or_record_failure(config, directory, device, command, stop)
        if not mine:
            if stop():
                raise Interrupted(f"asked to stop while {directory.name} was being trained by another process")
            if not told:
                print(f"wait     {directory.name}: another process is at it", flush=True)
            told = True
            time.sleep(POLL)
    return directory


def _needed(directory: RunDirectory, retry: bool) -> bool:
    status = directory.status()
    if status == "failed" and not retry:
        raise _failure(directory)
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
    _check_enough_images(data, config)
    images = Images(data.train.images, data.train.mean, data.train.std)
    simclr = SimCLR(config, images, data.train.num_classes, device)
    directory.begin(encoder_identity(config))
    print(f"images   {simclr.bank.source}", flush=True)
    saved = checkpoint.resume(directory.checkpoint, simclr.load)
    rows: Rows = saved["rows"] if saved else []
    directory.rewrite_metrics(COLUMNS, rows)
    epochs = int(config["pretrain"]["epochs"])
    progress = Progress(directory.name, epochs, simclr.epochs_done, verb="pretrain", every=max(1, epochs // LINES))
    try:
        while simclr.epochs_done < epochs:
            rows.append(_epoch(simclr, progress))
            directory.append_metrics(COLUMNS, rows[-1])
            checkpoint.save(directory.checkpoint, {"trainer": simclr.state(), "rows": rows})
            progress.epoch(rows[-1])
            if stop():
                raise Interrupted(f"asked to stop at epoch {simclr.epochs_done} of the encoder {directory.name}")
    finally:
        progress.close()
    checkpoint.save(directory.path / WEIGHTS, simclr.encoder())
    directory.finish(_result(directory, simclr, data, rows, command), keep_checkpoint=False)


def _all_images(config: Mapping[str, Any]) -> Data:
    """The run's data before noise and split, so that the record depends on nothing but the encoder's identity."""
    everything = {**config["data"], "validation": 0.0, "test_subset": None}
    return prepare(everything, {"name": "none"}, Path(config["cache_dir"]).expanduser())


def _check_enough_images(data: Data, config: Mapping[str, Any]) -> None:
    count, batch_size = len(data.train.images), config["pretrain"]["batch_size"]
    if count < batch_size:
        raise InputError(
            f"data={config['data']['name']} has {count} training images, fewer than one batch: "
            f"lower pretrain.batch_size={batch_size}"
        )


def _epoch(simclr: SimCLR, progress: Progress) -> dict[str, Any]:
    summary = simclr.train_epoch(progress.step)
    return {
        "epoch": summary.epoch + 1,
        "loss": summary.loss,
        "learning_rate": summary.learning_rate,
        "seconds": round(summary.seconds, 3),
    }


def _result(directory: RunDirectory, simclr: SimCLR, data: Data, rows: Rows, command: list[str]) -> dict[str, Any]:
    seconds = sum(row["seconds"] for row in rows)
    return {
        "status": "done",
        "name": directory.name,
        "epochs": len(rows),
        "loss": rows[-1]["loss"],
        "linear_probe_accuracy": linear_probe(simclr.features, data),
        **provenance.cost(seconds, len(rows) * simclr.count, simclr.device),
        **provenance.code(),
        "overrides": command,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
