"""From a config to the images and labels of a run: load, select, corrupt, hold out.

All of it is a pure function of the two config groups and the files they name; no global random state is touched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sanm.data import datasets, noise
from sanm.data.noise._settings import seed_of
from sanm.data.types import Data, Images, LabeledImages, Labels, LabelTask, Source, TrainingSet
from sanm.errors import InputError

__all__ = ["Data", "Images", "LabelTask", "LabeledImages", "Source", "TrainingSet", "prepare"]

SUBSET_SEED = 20_000  # constant: every run, whatever its seed, sees the same subset
VALIDATION_SEED = 30_000  # with the noise seed: the split is redrawn exactly when the noise is


def prepare(data: Mapping[str, Any], noise_settings: Mapping[str, Any], cache_dir: Path) -> Data:
    """Load the data set, select samples, corrupt their labels and cut off the noisy validation split.

    ``data`` and ``noise_settings`` are the config's groups of these names; ``cache_dir`` takes decoded images that
    cannot be kept beside the originals. The shipped labels count as the truth unless they are unverified and no noise
    was put on them. Raises InputError that names the key or the file at fault.
    """
    source = datasets.load(data, cache_dir)
    selected = balanced_subset(source.train_labels.numpy(), data.get("subset"), "data.subset")
    tested = balanced_subset(source.test_labels.numpy(), data.get("test_subset"), "data.test_subset")
    task = _label_task(source, selected, str(data["name"]))
    given = noise.corrupt(task, noise_settings)
    kept, held_out = validation_split(given, data.get("validation", 0), seed_of(noise_settings))
    truth_known = source.labels_verified or noise_settings["name"] != "none"
    truth = task.labels[kept] if truth_known else None
    return Data(
        train=_training_set(source, selected[kept], given[kept]),
        validation=_labeled(source.train_images, selected[held_out], given[held_out]) if len(held_out) else None,
        test=_labeled(source.test_images, tested, source.test_labels.numpy()[tested]),
        true_labels=None if truth is None else torch.from_numpy(truth),
        realised_noise_rate=None if truth is None else float((given[kept] != truth).mean()),
        per_class_noise=None if truth is None else _noise_per_class(given[kept], truth, task.num_classes),
        selected_labels=torch.from_numpy(given),
    )


def balanced_subset(labels: Labels, size: int | None, key: str) -> Labels:
    """Ascending positions of ``size`` samples, as many of each class as class sizes allow; None means all.

    A pure function of labels and size; a larger subset contains the smaller one of the same labels. Raises InputError
    naming ``key`` when the size is not a count between the number of classes and the number of samples.
    """
    if size is None:
        return np.arange(len(labels), dtype=np.int64)
    classes, counts = np.unique(labels, return_counts=True)
    if isinstance(size, bool) or not isinstance(size, int):
        raise InputError(f"{key}={size}: must be a whole number, or null for all samples")
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
    data.validation for another fraction, or one so small that no sample is held out.
    """
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction <= 0.5:
        raise InputError(f"data.validation={fraction}: must be a number in [0, 0.5]")
    if fraction == 0:
        return np.arange(len(given_labels), dtype=np.int64), np.empty(0, dtype=np.int64)
    classes, counts = np.unique(given_labels, return_counts=True)
    quotas = _proportional_quotas(counts, fraction)
    if quotas.sum() == 0:
        raise InputError(
            f"data.validation={fraction} of {len(given_labels)} training samples is not one sample: "
            "raise it, or set it to 0 for no validation split"
        )
    held_out = np.zeros(len(given_labels), dtype=bool)
    for label, quota in zip(classes, quotas, strict=True):
        held_out[_shuffled_members(given_labels, label, VALIDATION_SEED, seed)[:quota]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


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


def _label_task(source: Source, selected: Labels, dataset: str) -> LabelTask:
    return LabelTask(
        labels=source.train_labels.numpy()[selected],
        index=selected,
        full_size=len(source.train_labels),
        num_classes=len(source.class_names),
        class_names=source.class_names,
        dataset=dataset,
        images=lambda: _rows(source.train_images, selected),
        mean=source.mean,
        std=source.std,
    )


def _training_set(source: Source, index: Labels, given: Labels) -> TrainingSet:
    return TrainingSet(
        images=_rows(source.train_images, index),
        given_labels=torch.from_numpy(given),
        index=torch.from_numpy(index),
        keys=tuple(source.train_keys[position] for position in index),
        num_classes=len(source.class_names),
        class_names=source.class_names,
        mean=source.mean,
        std=source.std,
    )


def _labeled(images: Tensor, index: Labels, labels: Labels) -> LabeledImages:
    return LabeledImages(_rows(images, index), torch.from_numpy(labels))


def _rows(images: Tensor, index: Labels) -> Tensor:
    # Ascending and complete means all rows in place: spare the copy.
    return images if len(index) == len(images) else images[torch.from_numpy(index)]


def _noise_per_class(given: Labels, truth: Labels, num_classes: int) -> list[float]:
    wrong = np.bincount(truth[given != truth], minlength=num_classes)
    total = np.bincount(truth, minlength=num_classes)
    rates: list[float] = (wrong / np.maximum(total, 1)).tolist()
    return rates
