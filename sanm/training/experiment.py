"""One run from its config to its record: data, training, scores, checkpoints, result."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from sanm.data import UNKNOWN, Data, check_enough_images, prepare
from sanm.data.bad_entries import warn_of
from sanm.data.copies import COLUMNS as COPY_COLUMNS
from sanm.data.copies import in_words
from sanm.data.noise import write_dividemix_json
from sanm.data.streaming import told_of_lost_readers
from sanm.errors import InputError, Interrupted
from sanm.machine.compilation import make_room_for_compiled
from sanm.machine.device import choose_device
from sanm.machine.memory import keep_freed_memory
from sanm.machine.precision import set_matrix_precision, warn_where_slow
from sanm.machine.several import processes
from sanm.machine.stopping import stop_signals
from sanm.methods import Method
from sanm.parts.mixture import CLEAR_GAP, CleanProbability
from sanm.pretraining.encoders import encoder_for
from sanm.record import checkpoint, provenance
from sanm.record.directory import RunDirectory
from sanm.record.identity import encoder_identity, encoder_name
from sanm.step import Predictions
from sanm.terminal import output
from sanm.terminal.progress import Progress
from sanm.trained_model import FILE_NAME, WEIGHTS, described, write_model
from sanm.training import label_evidence, samples
from sanm.training.scoring import Scorer
from sanm.training.sight import Seen, as_seen
from sanm.training.trainer import Trainer

COLUMNS = (
    "epoch",
    "phase",
    "loss",
    "test_accuracy",
    "validation_accuracy",
    "labeled_fraction",
    "clean_auroc",
    "learning_rate",
    "seconds",
)

COPIES = "copies.csv"
"""Which images are in the data more than once."""

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
) -> bool:
    """Train what is left of the run and write its result.

    Signals of ``STOP_SIGNALS`` are heard from the first step to the result; before, they do what they did. Returns
    whether one came when there was nothing left to stop.

    ``config`` is the checked config, ``identity`` what of it the record keeps. ``watch`` is given the rows of all
    epochs so far after each new one. The caller holds the directory's
    claim. Raises InputError before training starts when data or device are not there, DivergedError when a loss is not
    finite, PretrainingError when the encoder that the run starts from could not be trained, ReadingError when images
    cannot be read any more, Interrupted once ``stop()`` is true or a signal came: the step is finished then, and
    all that is done is in the checkpoint. Of several processes each calls this, and raises LostProcessError when
    another one is gone.
    """
    device = choose_device(config["device"])
    cache_dir = Path(config["cache_dir"]).expanduser()
    data = processes.leader_first("data", lambda: prepare(config["data"], config["noise"], cache_dir))
    warn_of(data.left_out)
    check_enough_images(data, config, "trainer")
    resumed = directory.checkpoint.exists()

    def encoder() -> Mapping[str, Tensor] | None:
        weights = processes.from_leader("encoder", lambda: encoder_for(config, data.train, device, command, stop))
        set_matrix_precision(device, config["trainer"]["precision"])  # which pre-training may have changed
        return weights

    provenance.reset_peak_memory(device)
    keep_freed_memory()
    set_matrix_precision(device, config["trainer"]["precision"])
    warn_where_slow("trainer.precision", device, config["trainer"]["precision"])
    if config["trainer"]["compile"]:
        make_room_for_compiled()
    sight = as_seen(config, data, device, encoder)
    trainer = Trainer(sight.config, sight.data.train, device, sight.encoder, resumed)
    scorer = Scorer(sight.data)
    check_validation(data, trainer.method)
    warn_of_warm_up(config, trainer.method)
    directory.begin(identity)
    output.say(f"images   {trainer.bank.source}")
    _tell_of_copies(directory, data)
    rows, images = _resume(directory, trainer, identity)
    if config["save_labels"] and directory.recorded_here:
        write_dividemix_json(directory.path / "labels.json", data.selected_labels.numpy())
    directory.rewrite_metrics(COLUMNS, rows)
    progress = Progress(
        directory.name, config["trainer"]["epochs"], trainer.epochs_done, validation_labels=data.validation_labels
    )
    epochs, pace = config["trainer"]["epochs"], checkpoint.Pace(config["trainer"]["checkpoint_every"])

    def save() -> None:
        if directory.recorded_here:
            with pace.saving():
                state = {"trainer": trainer.state(), "rows": rows, "images": images, "identity": dict(identity)}
                checkpoint.save(directory.checkpoint, state)

    with stop_signals() as signalled:
        asked_to_stop = processes.agreed(lambda: signalled() or stop())
        try:
            while trainer.epochs_done < epochs:
                try:
                    row, seen = _epoch(trainer, scorer, progress, asked_to_stop)
                    if row["validation_accuracy"] is not None and data.validation_labels != "true":
                        trainer.validated(row["validation_accuracy"])
                except Interrupted:
                    save()
                    raise
                rows.append(row)
                images += seen
                directory.append_metrics(COLUMNS, row)
                saves = pace.due() or trainer.epochs_done == epochs
                if saves:
                    save()
                progress.epoch(row)
                if watch is not None:
                    try:
                        watch(rows)
                    except Exception:  # it has seen enough, or has nowhere to tell of it: the run goes on from here
                        if not saves:
                            save()
                        raise
        finally:
            progress.close()
        if config["trainer"]["save_model"] and directory.recorded_here:
            _save_model(config, identity, directory, trainer, sight, rows)
        _finish(config, directory, trainer, scorer, data, sight, rows, images, command)
        return signalled()


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


def warn_of_overlap(quality: CleanProbability) -> None:
    """Says so when a network's mixture has two components that lie on one another: it then told nothing apart."""
    gaps = [each["gap"] for each in quality.clarity() if each["gap"] is not None]
    if gaps and min(gaps) < CLEAR_GAP:
        warnings.warn(
            f"the losses of right and of wrong labels lie on one another (their means are {min(gaps):.1f} deviations "
            f"apart, {CLEAR_GAP:g} would be clear): the clean probability of this run says little",
            stacklevel=2,
        )


def check_validation(data: Data, method: Method) -> None:
    """Raises InputError when the method chooses by held-out given labels and there are none."""
    if method.validated_for is not None and data.validation_labels in (None, "true"):
        found = "none are" if data.validation_labels is None else "true ones are"
        raise InputError(
            f"{method.validated_for} chooses by held-out labels that are noisy, and {found} held out here: set "
            "data.validation=0.1 where the data set has no validation part of its own, or choose last"
        )


def _tell_of_copies(directory: RunDirectory, data: Data) -> None:
    if data.copies and directory.recorded_here:
        directory.write_table(COPIES, COPY_COLUMNS, data.copies)
        warnings.warn(f"{in_words(data.copies)}: see {directory.path / COPIES}", stacklevel=2)


def _resume(directory: RunDirectory, trainer: Trainer, identity: Mapping[str, Any]) -> tuple[Rows, int]:
    saved = checkpoint.resume(directory.checkpoint, trainer.load, identity)
    return (saved["rows"], int(saved["images"])) if saved else ([], 0)


def _epoch(
    trainer: Trainer, scorer: Scorer, progress: Progress, stop: Callable[[], bool]
) -> tuple[dict[str, Any], int]:
    summary = trainer.train_epoch(progress.step, stop)
    row = {
        "epoch": summary.epoch + 1,
        "phase": summary.phase,
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
    sight: Seen,
    rows: Rows,
) -> None:
    data = sight.data
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
        described(config, sight.pixels, sight.size, data.train.class_names),
        record,
        sight.backbone,
    )


def _finish(
    config: Mapping[str, Any],
    directory: RunDirectory,
    trainer: Trainer,
    scorer: Scorer,
    data: Data,
    sight: Seen,
    rows: Rows,
    images: int,
    command: list[str],
) -> None:
    predicted = trainer.measure_and_predict()
    if sight.backbone is None:  # frozen features judge the labels themselves
        warn_of_overlap(trainer.quality)
    _write_label_quality(directory, trainer, data, predicted)
    directory.write_file("samples.npz", samples.packed(trainer, data, predicted))
    if predicted.probabilities.numel() <= MOST_PROBABILITIES:
        directory.write_file("probabilities.npz", _probabilities(data, predicted))
        if sight.backbone is not None and directory.recorded_here:
            _write_label_evidence(directory, sight)
    if data.left_out:
        directory.write_table("left_out.csv", ("key", "reason"), data.left_out)
    result = {
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
        "mixture": trainer.quality.clarity(),
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
    itself, whose labels are noisy as a rule, says of that epoch: no test accuracy. Of a run in phases, all are of the
    last one's epochs.
    """
    rows = [row for row in rows if row.get("phase", 0) == rows[-1].get("phase", 0)]
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


def _write_label_evidence(directory: RunDirectory, sight: Seen) -> None:
    began = time.monotonic()
    if content := label_evidence.packed(sight.data.train):
        directory.write_file(label_evidence.FILE, content)
        output.say(f"labels   judged by frozen features in {time.monotonic() - began:.1f} s: python -m analysis.labels")


def _probabilities(data: Data, predicted: Predictions) -> bytes:
    """The content of ``probabilities.npz``: a row a sample, in the order of ``label_quality.csv``."""
    file = io.BytesIO()
    np.savez_compressed(
        file,
        class_names=np.array(data.train.class_names, dtype=np.str_),
        probabilities=predicted.probabilities.cpu().numpy(),
    )
    return file.getvalue()
