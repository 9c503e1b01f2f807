"""From a config to the images and labels of a run: load, select, corrupt, hold out.

All of it is a pure function of the two config groups and the files they name; no global random state is touched.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sanm.data import datasets, noise
from sanm.data.copies import Looked, check_not_all_alike, copies_among, looked_at
from sanm.data.pixels import mean_and_std
from sanm.data.types import (
    UNKNOWN,
    Data,
    Decoded,
    Images,
    LabeledImages,
    Labels,
    LabelTask,
    LeftOut,
    Part,
    Source,
    TrainingSet,
    rows,
)
from sanm.errors import InputError

__all__ = ["UNKNOWN", "Data", "Images", "LabelTask", "LabeledImages", "Source", "TrainingSet"]

SUBSET_SEED = 20_000  # constant: every run, whatever its seed, sees the same subset
TRUSTED_SEED = 40_000  # with the noise seed, as the validation split
VALIDATION_SEED = 30_000  # with the noise seed: the split is redrawn exactly when the noise is


def prepare(data: Mapping[str, Any], noise_settings: Mapping[str, Any], cache_dir: Path) -> Data:
    """Load the data set, select samples, corrupt their labels and cut off the noisy validation split.

    ``data`` and ``noise_settings`` are the config's groups of these names; ``cache_dir`` takes decoded images that
    cannot be kept beside the originals. The shipped labels count as the truth unless they are unverified and no noise
    was put on them. ``data.trusted`` samples keep their true label and are never held out. Nothing is held out of a
    data set that has a validation part of its own. Raises InputError that names the key or the file at fault.
    """
    source = datasets.load(data, cache_dir)
    selected = balanced_subset(source.train.labels, data.get("subset"), "data.subset")
    decoded = source.train.decode(selected)  # what cannot be decoded is out before anything is indexed
    check_not_all_alike(decoded.likeness, data.get("background"))
    task = _label_task(source, decoded, str(data["name"]))
    given, seed = noise.corrupt(task, noise_settings), noise_settings.get("seed", 0)
    truth = _truth(source, task, noise_settings["name"] != "none")
    trusted = trusted_positions(truth, task.num_classes, data.get("trusted"), seed)
    if truth is not None:
        given[trusted] = truth[trusted]
    fraction = 0.0 if source.validation else data.get("validation", 0)
    doubted = np.setdiff1d(np.arange(len(given)), trusted)
    kept, held_out = validation_split(given[doubted], fraction, seed)
    kept, held_out = np.sort(np.concatenate([trusted, doubted[kept]])), doubted[held_out]
    held = LabeledImages(rows(decoded.images, held_out), torch.from_numpy(given[held_out])) if len(held_out) else None
    names = source.class_names
    looked = [
        looked_at(name, source.train, decoded, given, names, chosen)
        for name, chosen in (("train", kept), ("validation", held_out))
    ]
    validation, bad_validation = _part("validation", source.validation, None, names, looked)
    test, bad_test = _part("test", source.test, data.get("test_subset"), names, looked)
    found = Data(
        train=_training_set(source, task, kept, given, trusted),
        validation=validation or held,
        validation_labels=_kind_of_validation(source, held, noise_settings["name"] != "none"),
        test=test,
        true_labels=None if truth is None else torch.from_numpy(truth[kept]),
        realised_noise_rate=None if truth is None else _noise_rate(given[kept], truth[kept]),
        per_class_noise=None if truth is None else _noise_per_class(given[kept], truth[kept], task.num_classes),
        selected_labels=torch.from_numpy(given),
        left_out=(*source.left_out, *decoded.left_out, *bad_validation, *bad_test),
        copies=copies_among(looked),
    )
    _say_what_is_missing(found, str(data["name"]))
    return found


def check_enough_images(data: Data, config: Mapping[str, Any], group: str) -> None:
    """Raises InputError when a batch of the ``group``'s size, ``trainer`` or ``pretrain``, cannot be filled."""
    count, batch_size = len(data.train.given_labels), config[group]["batch_size"]
    if count < batch_size:
        raise InputError(
            f"data={config['data']['name']} has {count} training images, fewer than one batch: "
            f"lower {group}.batch_size={batch_size}"
        )


def balanced_subset(labels: Labels, size: int | None, key: str) -> Labels:
    """Ascending positions of ``size`` samples, as many of each class as class sizes allow; None means all.

    A pure function of labels and size; a larger subset contains the smaller one of the same labels. Raises InputError
    naming ``key`` when the size is not between the number of classes and the number of samples.
    """
    if size is None:
        return np.arange(len(labels), dtype=np.int64)
    classes, counts = np.unique(labels, return_counts=True)
    if size > len(labels):
        raise InputError(f"{key}={size}: there are only {len(labels)} samples; lower it or set it to null for all")
    if size < len(classes):
        raise InputError(f"{key}={size}: must be at least {len(classes)}, one sample for each class")
    members = [
        _shuffled_members(labels, label, SUBSET_SEED)[:quota]
        for label, quota in zip(classes, _even_quotas(counts, size), strict=True)
    ]
    return np.sort(np.concatenate(members))


def validation_split(given_labels: Labels, fraction: float, seed: int) -> tuple[Labels, Labels]:
    """Ascending positions to train on and to hold out, stratified by given label.

    ``fraction`` lies in [0, 0.5]; every class keeps at least one training sample. Raises InputError naming
    data.validation for one so small that no sample is held out.
    """
    if fraction == 0:
        return np.arange(len(given_labels), dtype=np.int64), np.empty(0, dtype=np.int64)
    classes, counts = np.unique(given_labels, return_counts=True)
    quotas = _proportional_quotas(counts, fraction)
    if counts.max() < 2:
        raise InputError(
            f"data.validation={fraction}: every class keeps a training sample, and of {len(classes)} classes none has "
            "two: set it to 0 for no validation split"
        )
    if quotas.sum() == 0:
        raise InputError(
            f"data.validation={fraction} of {len(given_labels)} training samples is not one sample: "
            "raise it, or set it to 0 for no validation split"
        )
    held_out = np.zeros(len(given_labels), dtype=bool)
    for label, quota in zip(classes, quotas, strict=True):
        held_out[_shuffled_members(given_labels, label, VALIDATION_SEED, seed)[:quota]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def trusted_positions(truth: Labels | None, num_classes: int, size: int | None, seed: int) -> Labels:
    """Ascending positions of ``size`` samples whose true label is known, as many of each class; None means none.

    Raises InputError naming data.trusted where there are not so many true labels.
    """
    if size is None:
        return np.empty(0, dtype=np.int64)
    known = np.empty(0, dtype=np.int64) if truth is None else np.flatnonzero((truth >= 0) & (truth < num_classes))
    if truth is None or size >= len(known):
        raise InputError(
            f"data.trusted={size}: of this data {len(known)} true labels are known, and some samples have to be left "
            "that are not trusted; lower it, or set it to null and choose a method that needs none"
        )
    classes, counts = np.unique(truth[known], return_counts=True)
    members = [
        _shuffled_members(truth, label, TRUSTED_SEED, seed)[:quota]
        for label, quota in zip(classes, _even_quotas(counts, size), strict=True)
    ]
    return np.sort(np.concatenate(members))


def _shuffled_members(labels: Labels, label: int, *seeds: int) -> Labels:
    # RandomState, since its streams are frozen for good; one of its own per class, so that classes do not interact.
    stream = np.random.RandomState([*seeds, int(label)])
    members: Labels = stream.permutation(np.flatnonzero(labels == label))
    return members


def _even_quotas(counts: Labels, size: int) -> Labels:
    """The same number for every class; what small classes lack is spread over the others."""
    quotas = np.zeros_like(counts)
    while (missing := size - int(quotas.sum())) > 0:
        unfilled = np.flatnonzero(quotas < counts)
        share = missing // len(unfilled)
        if share == 0:
            quotas[unfilled[:missing]] += 1
        else:
            quotas[unfilled] += np.minimum(share, counts[unfilled] - quotas[unfilled])
    return quotas


def _proportional_quotas(counts: Labels, fraction: float) -> Labels:
    """The fraction of every class, rounded so that the fraction of the total comes out."""
    exact = counts * fraction
    quotas: Labels = np.floor(exact).astype(np.int64)
    missing = math.floor(counts.sum() * fraction + 0.5) - int(quotas.sum())
    largest_rest_first = np.argsort(quotas - exact, kind="stable")
    able = [position for position in largest_rest_first if quotas[position] < counts[position] - 1]
    quotas[able[: max(missing, 0)]] += 1
    return quotas


def _part(
    name: str, part: Part | None, size: int | None, names: Sequence[str], looked: list[Looked]
) -> tuple[LabeledImages | None, tuple[LeftOut, ...]]:
    """A part that is not trained on, and what of it is left out; its images are added to those looked at."""
    if part is None:
        return None, ()
    found = part.decode(balanced_subset(part.labels, size, f"data.{name}_subset"))
    labels = part.labels[found.positions]
    looked.append(looked_at(name, part, found, labels, names, np.arange(len(labels))))
    return LabeledImages(found.images, torch.from_numpy(labels)), found.left_out


def _label_task(source: Source, decoded: Decoded, dataset: str) -> LabelTask:
    images, index = decoded.images, decoded.positions
    mean, std = (source.mean, source.std) if source.mean and source.std else mean_and_std(images)
    return LabelTask(
        labels=source.train.labels[index],
        index=index,
        full_size=len(source.train.labels),
        num_classes=len(source.class_names),
        class_names=source.class_names,
        dataset=dataset,
        images=lambda: images,
        mean=mean,
        std=std,
    )


def _training_set(source: Source, task: LabelTask, kept: Labels, given: Labels, trusted: Labels) -> TrainingSet:
    index = task.index[kept]
    return TrainingSet(
        images=rows(task.images(), kept),
        given_labels=torch.from_numpy(given[kept]),
        index=torch.from_numpy(index),
        keys=tuple(source.train.keys[position] for position in index),
        num_classes=task.num_classes,
        class_names=task.class_names,
        mean=task.mean,
        std=task.std,
        trusted=torch.from_numpy(np.isin(kept, trusted)) if len(trusted) else None,
    )


def _truth(source: Source, task: LabelTask, corrupted: bool) -> Labels | None:
    """True labels of the selected samples; None where nobody knows any."""
    if source.true_labels is not None and (source.true_labels != UNKNOWN).any():
        truth: Labels = source.true_labels[task.index]
        return truth
    return task.labels if source.labels_verified or corrupted else None


def _kind_of_validation(source: Source, held: LabeledImages | None, corrupted: bool) -> str | None:
    if source.validation is not None:
        return "true" if source.validation_verified else "given"
    if held is None:
        return None
    return "true" if source.labels_verified and not corrupted else "noisy"


def _say_what_is_missing(data: Data, dataset: str) -> None:
    if data.test is not None:
        return
    if data.validation is None:
        warnings.warn(f"data={dataset} has no test part and data.validation=0: no accuracy will be known", stacklevel=3)
    else:
        words = "true labels" if data.validation_labels == "true" else f"{data.validation_labels} labels"
        warnings.warn(
            f"data={dataset} has no test part: accuracy is known on the {words} of {len(data.validation.labels)} "
            "validation images alone",
            stacklevel=3,
        )


def _noise_rate(given: Labels, truth: Labels) -> float | None:
    known = truth != UNKNOWN
    return float((given != truth)[known].mean()) if known.any() else None


def _noise_per_class(given: Labels, truth: Labels, num_classes: int) -> list[float] | None:
    """Share of wrong labels in each true class; None where some true classes are not known, only that they differ."""
    if (truth >= num_classes).any():
        return None
    known = truth != UNKNOWN
    wrong = np.bincount(truth[known & (given != truth)], minlength=num_classes)
    total = np.bincount(truth[known], minlength=num_classes)
    rates: list[float] = (wrong / np.maximum(total, 1)).tolist()
    return rates
