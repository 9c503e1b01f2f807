"""Clothing1M (Xiao et al., CVPR 2015): a million shop images of 14 classes with labels from the surrounding text.

As released: ``images/<d>/<dd>/<a>,<b>.jpg`` (the comma is part of the name), ``*_key_list.txt`` and ``*_label_kv.txt``
in the root, in ``annotations/`` or in ``label/``. Lists that hold names and labels together (``noisy_train.txt``,
``clean_val.txt``, ``clean_test.txt``) do as well, and so does a root that is the folder of images itself. Validation
and test part are labelled by hand.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sanm.data.datasets._image_files import Entries, FileParts, root_of
from sanm.data.datasets._label_lists import all_entries, entries_of, lines_of, read_labels, warn_of_empty_classes
from sanm.data.types import UNKNOWN, Labels, Part, Source
from sanm.errors import InputError

CLASSES = (
    "T-Shirt", "Shirt", "Knitwear", "Chiffon", "Sweater", "Hoodie", "Windbreaker", "Jacket", "Downcoat", "Suit",
    "Shawl", "Dress", "Vest", "Underwear",
)  # fmt: skip
MEAN, STD = (0.6959, 0.6537, 0.6371), (0.3113, 0.3192, 0.3214)  # of DivideMix's code
PREFIX = "images/"
FOLDERS = (".", "annotations", "label")
EXPECTED = "expected images/, noisy_train_key_list.txt, noisy_label_kv.txt and the like, as released"


def load(settings: Mapping[str, Any], cache_dir: Path) -> Source:
    """Images ``[N, 3, image_size, image_size]``; ``train_part`` says which labels are trained on, noisy or clean ones.

    Raises InputError for lists that are not there and, unless ``skip_bad``, for names without a label of the 14
    classes, names that are listed twice and images that cannot be decoded.
    """
    root = root_of(settings, EXPECTED)
    parts, trained_on = FileParts(settings, root, cache_dir), settings["train_part"]

    def part(name: str) -> Part | None:
        entries, where = _entries(root, name)
        return parts.part(name, entries, where) if entries is not None else None

    train = part(f"{trained_on}_train")
    if train is None:
        raise InputError(f"data.root={root} has no list of {trained_on} training images; {EXPECTED}")
    warn_of_empty_classes(train.labels.tolist(), CLASSES, root)
    clean = trained_on == "clean"
    return Source(
        train=train,
        test=part("clean_test"),
        validation=part("clean_val"),
        validation_verified=True,
        class_names=CLASSES,
        mean=MEAN,
        std=STD,
        labels_verified=clean,
        true_labels=None if clean else _known_truth(root, train.keys),
        left_out=tuple(parts.left_out),
    )


def _entries(root: Path, name: str) -> tuple[Entries | None, Path]:
    """What the lists say of a part, by key list and labels or in one file; None without lists."""
    kind = name.partition("_")[0]
    listed, together = _find(root, f"{name}_key_list.txt"), _find(root, f"{name}.txt")
    if listed is not None:
        labels = _find(root, f"{kind}_label_kv.txt")
        if labels is None:
            raise InputError(f"{listed} is there, {kind}_label_kv.txt is not: restore this file of the data set")
        found = entries_of(lines_of(listed), read_labels(labels, len(CLASSES)), listed.name, labels.name)
    elif together is not None:
        found = all_entries(read_labels(together, len(CLASSES)))
    else:
        return None, root
    found.keys = [_path(root, key) for key in found.keys]
    return found, listed or together or root


def _find(root: Path, name: str) -> Path | None:
    return next((root / folder / name for folder in FOLDERS if (root / folder / name).is_file()), None)


def _path(root: Path, key: str) -> str:
    """Below a root that is the folder of images itself, names are without its name."""
    return key if (root / PREFIX).is_dir() else key.removeprefix(PREFIX)


def _known_truth(root: Path, keys: Sequence[str]) -> Labels | None:
    """The labels by hand of training images that have one too. As released, none of the million has."""
    file = _find(root, "clean_label_kv.txt")
    if file is None:
        return None
    by_hand = {_path(root, key): label for key, label in read_labels(file, len(CLASSES)).labels.items()}
    return np.array([by_hand.get(key, UNKNOWN) for key in keys], dtype=np.int64)
