"""One run from its config to its record: data, training, scores, checkpoints, result."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sanm import checkpoint, provenance, samples
from sanm.compilation import forget_compiled
from sanm.data import UNKNOWN, Data, prepare
from sanm.data.bad_entries import warn_of
from sanm.data.noise import write_dividemix_json
from sanm.data.streaming import told_of_lost_readers
from sanm.encoders import encoder_for
from sanm.errors import InputError, Interrupted
from sanm.identity import encoder_identity, encoder_name
from sanm.methods import Method
from sanm.model_file import FILE_NAME, WEIGHTS, described, write_model
from sanm.progress import Progress
from sanm.scoring import Scorer
from sanm.several import processes
from sanm.store import RunDirectory
from sanm.trainer import Trainer
from sanm.types import Predictions

COLUMNS = (
    "epoch",
    "loss",
    "test_accuracy",
    "validation_accuracy",
    "labeled_fraction",
    "clean_auroc",
    "learning_rate",
    "seconds",
)

MOST_PROBABILITIES = 20_000_000
"""Of samples times classes; more of them (40 MB before they are packed) are not kept."""

Rows = list[dict[str, Any]]


@told_of_lost_readers()
def run(
    config: Mapping[str, Any],
    identity: Mapping[str, Any],
    directory: RunDirectory,
    command: list[str],
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[Rows], None] | None = None,
) -> None:
    """Train what is left of the run and write its result.

    ``config`` is the checked config, ``identity`` what of it the record keeps. ``watch`` is given the rows of all
    epochs so far after each new one. The caller holds the directory's
    claim. Raises InputError before training starts when data or device are not there, DivergedError when a loss is not
    finite, PretrainingError when the encoder that the run starts from could not be trained, ReadingError when images
    cannot be read any more, Interrupted once ``stop()`` is true: the step is finished then, and all that is done is in
    the checkpoint. Of several processes each calls this, and raises LostProcessError when another one is gone.
    """
    device = choose_device(config["device"])
    cache_dir = Path(config["cache_dir"]).expanduser()
    data = processes.leader_first("data", lambda: prepare(config["data"], config["noise"], cache_dir))
    warn_of(data.left_out)
    check_enough_images(data, config)
    resumed = directory.checkpoint.exists()
    encoder = None
    if not resumed:
        encoder = processes.from_leader("encoder", lambda: encoder_for(config, data.train, device, command, stop))
    provenance.reset_peak_memory(device)
    if config["trainer"]["compile"]:
        forget_compiled()
    trainer, scorer = Trainer(config, data.train, device, encoder), Scorer(data)
    warn_of_warm_up(config, trainer.method)
    directory.begin(identity)
    print(f"images   {trainer.bank.source}", flush=True)
    rows, images = _resume(directory, trainer)
    if config["save_labels"] and directory.recorded_here:
        write_dividemix_json(directory.path / "labels.json", data.selected_labels.numpy())
    directory.rewrite_metrics(COLUMNS, rows)
    progress = Progress(
        directory.name, config["trainer"]["epochs"], trainer.epochs_done, validation_labels=data.validation_labels
    )
    asked_to_stop = processes.agreed(stop)
    try:
        while trainer.epochs_done < config["trainer"]["epochs"]:
            try:
                row, seen = _epoch(trainer, scorer, progress, asked_to_stop)
            except Interrupted:
                _save(directory, trainer, rows, images)
                raise
            rows.append(row)
            images += seen
            directory.append_metrics(COLUMNS, row)
            _save(directory, trainer, rows, images)
            progress.epoch(row)
            if watch is not None:
                watch(rows)
    finally:
        progress.close()
    if config["trainer"]["save_model"] and directory.recorded_here:
        _save_model(config, identity, directory, trainer, data, rows)
    _finish(config, directory, trainer, scorer, data, rows, images, command)


def choose_device(wanted: str) -> torch.device:
    """``auto`` is the GPU when there is one; of several processes each has its own already.

    Raises InputError for a device that is not there.
    """
    team = processes.joined_team()
    if team is not None:
        return team.device
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"device={wanted} is not there ({reason}); set device=cpu or device=auto") from error
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # threads that begin without one, as those that pin batches, use the current one
    return device


def warn_of_warm_up(config: Mapping[str, Any], method: Method) -> None:
    """Says so when the run ends before what it is named by has begun: SANM, or the method's own division of samples."""
    epochs, name, warm_up = config["trainer"]["epochs"], config["base_method"]["name"], config["base_method"]["warm_up"]
    start = config["components"]["start"] if config["components"]["amg"] else 0
    late = []
    if method.divides_after_warm_up and method.warming_up(epochs - 1):
        late.append(f"{name} divides samples (base_method.warm_up={warm_up})")
    if start >= epochs:
        late.append(f"SANM sets in (components.start={start})")
    if late:
        lower = "base_method.warm_up" if start in (0, warm_up) else "components.start"
        warnings.warn(
            f"trainer.epochs={epochs} is over before {' and '.join(late)}: train longer, or lower {lower}", stacklevel=2
        )


def check_enough_images(data: Data, config: Mapping[str, Any]) -> None:
    """Raises InputError when a batch cannot be filled."""
    count, batch_size = len(data.train.given_labels), config["trainer"]["batch_size"]
    if count < batch_size:
        raise InputError(
            f"data={config['data']['name']} has {count} training images, fewer than one batch: "
            f"lower trainer.batch_size={batch_size}"
        )


def _resume(directory: RunDirectory, trainer: Trainer) -> tuple[Rows, int]:
    saved = checkpoint.resume(directory.checkpoint, trainer.load)
    return (saved["rows"], int(saved["images"])) if saved else ([], 0)


def _save(directory: RunDirectory, trainer: Trainer, rows: Rows, images: int) -> None:
    if directory.recorded_here:
        checkpoint.save(directory.checkpoint, {"trainer": trainer.state(), "rows": rows, "images": images})


def _epoch(
    trainer: Trainer, scorer: Scorer, progress: Progress, stop: Callable[[], bool]
) -> tuple[dict[str, Any], int]:
    summary = trainer.train_epoch(progress.step, stop)
    row = {
        "epoch": summary.epoch + 1,
        "loss": summary.loss,
        "test_accuracy": scorer.test_accuracy(trainer),
        "validation_accuracy": scorer.validation_accuracy(trainer),
        "labeled_fraction": summary.labeled_fraction,
        "clean_auroc": scorer.clean_auroc(trainer.quality.probability, summary.drawn) if summary.measured else None,
        "learning_rate": summary.learning_rate,
        "seconds": round(summary.seconds, 3),
    }
    return row, summary.images


def _save_model(
    config: Mapping[str, Any],
    identity: Mapping[str, Any],
    directory: RunDirectory,
    trainer: Trainer,
    data: Data,
    rows: Rows,
) -> None:
    predictors = trainer.method.predictors(list(trainer.networks))
    record = {
        "run": {
            "name": directory.name,
            "run_id": directory.name.rpartition("-")[2],
            "weights": WEIGHTS,
            "epochs": len(rows),
            "config": dict(identity),
        },
        "accuracy": {
            "test_accuracy": rows[-1]["test_accuracy"],
            "validation_accuracy": rows[-1]["validation_accuracy"],
            "validation_labels": data.validation_labels,
            "of_the_run": accuracies(rows, config["trainer"]["last_window"]),
        },
        **provenance.code(),
    }
    write_model(
        directory.path / FILE_NAME,
        [network for network in predictors if isinstance(network, nn.Module)],
        described(config, data.train, trainer.bank.size, data.train.class_names),
        record,
    )


def _finish(
    config: Mapping[str, Any],
    directory: RunDirectory,
    trainer: Trainer,
    scorer: Scorer,
    data: Data,
    rows: Rows,
    images: int,
    command: list[str],
) -> None:
    predicted = trainer.measure_and_predict()
    _write_label_quality(directory, trainer, data, predicted)
    directory.write_file("samples.npz", samples.packed(trainer, data, predicted))
    if predicted.probabilities.numel() <= MOST_PROBABILITIES:
        directory.write_file("probabilities.npz", _probabilities(data, predicted))
    if data.left_out:
        directory.write_table("left_out.csv", ("key", "reason"), data.left_out)
    result = {
        "status": "done",
        "name": directory.name,
        "run_id": directory.name.rpartition("-")[2],
        "seed": config["seed"],
        "epochs": len(rows),
        "encoder": encoder_name(encoder_identity(config)) if config["pretrain"]["name"] == "simclr" else None,
        **accuracies(rows, config["trainer"]["last_window"]),
        "validation_labels": data.validation_labels,
        "nominal_noise_rate": config["noise"].get("rate"),
        "realised_noise_rate": data.realised_noise_rate,
        "per_class_noise": data.per_class_noise,
        "true_labels_known": 0 if data.true_labels is None else int((data.true_labels != UNKNOWN).sum()),
        "left_out": len(data.left_out),
        "clean_auroc": scorer.clean_auroc(trainer.quality.probability),
        "label_errors": scorer.label_errors(trainer.quality.probability),
        "labeled_fraction": rows[-1]["labeled_fraction"],
        **provenance.cost(sum(row["seconds"] for row in rows), images, trainer.device),
        "images": "streamed" if trainer.bank.source.streamed else "resident",
        "processes": processes.count(),
        **provenance.code(),
        "overrides": command,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    directory.finish(result, config["keep_checkpoint"])


def accuracies(rows: Rows, last_window: int) -> dict[str, Any]:
    """The figures of a run, each with its selection rule, in percent; None where there is nothing to take them from.

    ``best`` looks at the test labels; ``last`` is the mean of the final epochs; ``selected`` is the test accuracy at
    the epoch that the validation split likes best (the first of equals). ``validation_accuracy`` is what the split
    itself, whose labels are noisy as a rule, says of that epoch: no test accuracy.
    """
    tested = [row for row in rows if row["test_accuracy"] is not None]
    best = max(tested, key=lambda row: row["test_accuracy"], default=None)
    final = [row["test_accuracy"] for row in tested[-last_window:]]
    judged = [row for row in rows if row["validation_accuracy"] is not None]
    selected = max(judged, key=lambda row: row["validation_accuracy"], default=None)
    return {
        "best_accuracy": best and best["test_accuracy"],
        "best_epoch": best and best["epoch"],
        "last_accuracy": sum(final) / len(final) if final else None,
        "last_window": last_window,
        "selected_accuracy": selected and selected["test_accuracy"],
        "selected_epoch": selected and selected["epoch"],
        "validation_accuracy": selected and selected["validation_accuracy"],
    }


def _write_label_quality(directory: RunDirectory, trainer: Trainer, data: Data, predicted: Predictions) -> None:
    names, train = data.train.class_names, data.train
    probability = trainer.quality.probability.mean(0).tolist()
    given = train.given_labels.tolist()
    classes, confidence = predicted.classes.tolist(), predicted.confidence.tolist()
    directory.write_table(
        "label_quality.csv",
        ("index", "key", "given_label", "predicted_label", "clean_probability", "confidence"),
        [
            # of the clean probability every digit: most of the suspects are within a millionth of 0, and it ranks them
            (index, key, names[label], names[guess], f"{clean:.9g}", f"{sure:.6f}")
            for index, key, label, guess, clean, sure in zip(
                train.index.tolist(), train.keys, given, classes, probability, confidence, strict=True
            )
        ],
    )


def _probabilities(data: Data, predicted: Predictions) -> bytes:
    """The content of ``probabilities.npz``: a row a sample, in the order of ``label_quality.csv``."""
    file = io.BytesIO()
    np.savez_compressed(
        file,
        class_names=np.array(data.train.class_names, dtype=np.str_),
        probabilities=predicted.probabilities.cpu().numpy(),
    )
    return file.getvalue()
