"""Food-101N (Lee et al., CVPR 2018): 310,009 images of 101 dishes from the web; tested on Food-101's test images.

As released: ``Food-101N_release/`` with ``meta/classes.txt`` and ``meta/imagelist.tsv``, whose first lines are headers,
``meta/verified_train.tsv``, ``meta/verified_val.tsv`` and ``images/<class>/<hash>.jpg``; beside it ``food-101/`` with
``meta/test.txt`` and ``images/``. A verification says whether a label is right, not what is right instead.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sanm.data.datasets._image_files import Entries, FileParts, root_of
from sanm.data.datasets._label_lists import lines_of, warn_of_empty_classes
from sanm.data.types import UNKNOWN, Labels, LeftOut, Source
from sanm.errors import InputError

RELEASE, TESTED = "Food-101N_release", "food-101"
EXPECTED = f"expected {RELEASE}/ and {TESTED}/ in it"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


def load(settings: Mapping[str, Any], cache_dir: Path) -> Source:
    """Images ``[N, 3, image_size, image_size]``; the truth is known of those whose label was verified.

    Raises InputError for lists that are not there and, unless ``skip_bad``, for images of classes that are not listed,
    listed twice, verified by another word than 0 or 1, or that cannot be decoded.
    """
    root = root_of(settings, EXPECTED)
    meta, tested = root / RELEASE / "meta", root / TESTED / "meta" / "test.txt"
    if not (meta / "imagelist.tsv").is_file():
        raise InputError(f"data.root={root} has no {RELEASE}/meta/imagelist.tsv; {EXPECTED}")
    parts, names = FileParts(settings, root, cache_dir), tuple(sorted(lines_of(meta / "classes.txt")[1:]))
    listed = _entries(lines_of(meta / "imagelist.tsv")[1:], names, f"{RELEASE}/images/", "")
    train = parts.part("train", listed, meta / "imagelist.tsv")
    if train is None:
        raise InputError(f"{meta / 'imagelist.tsv'} lists no image")
    warn_of_empty_classes(train.labels.tolist(), names, meta)
    verified, bad = _verified(meta)
    parts.leave_out(bad, meta)
    test = None
    if tested.is_file():
        test = parts.part("test", _entries(lines_of(tested), names, f"{TESTED}/images/", ".jpg"), tested)
    return Source(
        train=train,
        test=test,
        class_names=names,
        mean=MEAN,
        std=STD,
        true_labels=_truth(listed, verified, len(names)),
        left_out=tuple(parts.left_out),
    )


def _entries(lines: list[str], names: tuple[str, ...], folder: str, extension: str) -> Entries:
    """Lines ``class/name``; the file of each is in the folder of its class."""
    number = {name: label for label, name in enumerate(names)}
    found, seen = Entries(), set[str]()
    for line in lines:
        name = line.partition("/")[0]
        if name not in number or "/" not in line:
            found.reject(line, "is of no class of classes.txt")
        elif line in seen:
            found.reject(line, "is listed twice")
        else:
            found.add(f"{folder}{line}{extension}", number[name])
        seen.add(line)
    return found


def _verified(meta: Path) -> tuple[dict[str, bool], list[LeftOut]]:
    """Whether the label of ``class/name`` is right, for those that somebody looked at."""
    found: dict[str, bool] = {}
    bad: list[LeftOut] = []
    for name in ("verified_train.tsv", "verified_val.tsv"):
        for line in lines_of(meta / name)[1:] if (meta / name).is_file() else []:
            key, _, verdict = line.rpartition("\t")
            if key and verdict in ("0", "1"):
                found[key] = verdict == "1"
            else:
                bad.append(LeftOut(line, f"has no verification label, 0 or 1, in {name}"))
    return found, bad


def _truth(listed: Entries, verified: Mapping[str, bool], num_classes: int) -> Labels:
    folder = f"{RELEASE}/images/"
    verdicts = [verified.get(key.removeprefix(folder)) for key in listed.keys]
    truth = [
        UNKNOWN if verdict is None else label if verdict else num_classes
        for verdict, label in zip(verdicts, listed.labels, strict=True)
    ]
    return np.array(truth, dtype=np.int64)
