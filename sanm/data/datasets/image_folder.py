"""A folder of your own images: ``train/<class>/...`` below ``data.root``, and ``test/<class>/...`` if there is any.

Images are decoded once, to squares of ``image_size``, and kept in a cache that is redone when any of them changes.
The user's own files are never written to.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sanm.data.bad_entries import refuse_or_leave_out
from sanm.data.datasets._class_names import check_classes, warn_of_absent
from sanm.data.datasets._decoded import DecodedImages, left_out
from sanm.data.datasets._image_files import root_of
from sanm.data.pixels import mean_and_std
from sanm.data.types import Decoded, Labels, LeftOut, Part, Source, rows
from sanm.errors import InputError
from sanm.formats.image_table import SPLIT_OF
from sanm.formats.image_tree import EXTENSIONS, class_folders, folders_in, ignored, is_image, not_read, tree_below
from sanm.given_files import is_folder, is_there

EXPECTED = "expected train/<class>/<images> and, if there are any, test/<class>/<images> below data.root"

REMEDY = {
    "train": "training images are those of {}/train alone; move its images there",
    "validation": "data.validation=SHARE holds out training images instead, and a table (data=csv) may name validation "
    "images",
    "test": "test images are those of {}/test alone; rename it, or move its images there",
}
"""What to do about the folder of a part that is not read, by the part."""

FEWER = "list a part of them in a table for data=csv (data.subset does not help, all are decoded for their statistics)"


class _Split(NamedTuple):
    keys: list[str]  # paths relative to the root, POSIX style; by class, then by path
    labels: list[int]
    closed: list[LeftOut]  # folders that cannot be listed


def load(settings: Mapping[str, Any], cache_dir: Path) -> Source:
    """Images ``[N, 3, image_size, image_size]``; classes are the folders below ``train``, in the order of
    ``sanm.formats.image_table.class_names``.

    Reads ``root``, ``image_size``, ``background``, ``skip_bad`` and ``cache_dir`` (where decoded images are kept; null:
    beside the originals, or in the argument ``cache_dir`` where that cannot be written). The folders' labels are given,
    not verified. Images are decoded at once, all of them, since statistics are those of all training images. Raises
    InputError for a missing folder, a class without images, a class that only the test part has, and, unless
    ``skip_bad``, images that cannot be decoded and folders that cannot be listed; warns about a class that the test
    part lacks, and about files and folders that are not read.
    """
    root = root_of(settings, EXPECTED)
    decoded = DecodedImages(
        root, settings["image_size"], settings.get("cache_dir"), cache_dir, FEWER, settings.get("background")
    )
    _check_training_folder(root)
    skip_bad = bool(settings.get("skip_bad"))
    class_names = _class_names(root / "train")
    if len(class_names) < 2:
        raise InputError(f"{root / 'train'} has one class folder only ({class_names[0]}): two or more are needed")
    tested = is_there(root / "test")
    if tested:
        _check_test_classes(root / "test", class_names)
    _say_what_is_not_read(root)
    train = _scan(root, "train", class_names)
    check_classes(
        str(root / "train"), [class_names[label] for label in train.labels], f"are its folders classes? {EXPECTED}"
    )
    test = _scan(root, "test", class_names) if tested else None
    closed = refuse_or_leave_out([*train.closed, *(test.closed if test else ())], str(root), skip_bad)
    part = _decoded_part(decoded, "train", train, skip_bad)
    mean, std = mean_and_std(part.decode(np.arange(len(part.labels))).images)
    return Source(
        train=part,
        test=test and _decoded_part(decoded, "test", test, skip_bad),
        class_names=class_names,
        mean=mean,
        std=std,
        left_out=closed,
    )


def _decoded_part(decoded: DecodedImages, name: str, split: _Split, skip_bad: bool) -> Part:
    images, bad, *_, likeness = decoded.read(name, split.keys, skip_bad)
    row_of = np.cumsum([position not in bad for position in range(len(split.keys))])
    missing = left_out(split.keys, bad)

    def decode(positions: Labels) -> Decoded:
        good = np.array([position for position in positions if position not in bad], dtype=np.int64)
        lost = {split.keys[position] for position in positions if position in bad}
        there = row_of[good] - 1
        return Decoded(
            rows(images, there),
            good,
            tuple(each for each in missing if each.key in lost),
            tuple(likeness[row] for row in there),
        )

    return Part(np.asarray(split.labels, dtype=np.int64), tuple(split.keys), decode)


def _class_names(folder: Path) -> tuple[str, ...]:
    if not is_folder(folder):
        raise InputError(f"{folder} is not a folder; {EXPECTED}")
    names = class_folders(folder)
    if not names:
        raise InputError(f"{folder} has no class folders; {EXPECTED}")
    return names


def _check_training_folder(root: Path) -> None:
    other = next((name for name, split in _parts_by_other_names(root) if split == "train"), None)
    if other and not is_there(root / "train"):
        raise InputError(f"{root / other} is not read: training images are those of {root / 'train'}; rename it")


def _check_test_classes(folder: Path, class_names: tuple[str, ...]) -> None:
    tested = set(_class_names(folder))
    unknown = sorted(tested - set(class_names))
    if unknown:
        raise InputError(
            f"{folder / unknown[0]}: train has no such class; rename the folder, or give it training images"
        )
    warn_of_absent(str(folder), class_names, tested)


def _say_what_is_not_read(root: Path) -> None:
    for split in ("train", "test"):
        for said in not_read(tree_below(root / split), split):
            warnings.warn(f"{root}: {said}", stacklevel=3)
        if loose := _loose_images(root / split):
            images = "1 image lies" if loose == 1 else f"{loose} images lie"
            warnings.warn(f"{root / split}: {images} in no class folder: left out", stacklevel=3)
    for name, split in _parts_by_other_names(root):
        if count := len(tree_below(root / name).images()):
            images = "1 image" if count == 1 else f"{count} images"
            warnings.warn(f"{root / name} is not read ({images}): {REMEDY[split].format(root)}", stacklevel=3)


def _parts_by_other_names(root: Path) -> list[tuple[str, str]]:
    """Folders below the root that are called like a part but not read, and which part that is."""
    read = [root / part for part in ("train", "test") if is_there(root / part)]
    return [
        (name, SPLIT_OF[name.lower()])
        for name in folders_in(root, lambda name: name.lower() in SPLIT_OF)
        if not any((root / name).samefile(part) for part in read)
    ]


def _loose_images(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    return sum(is_image(entry) and entry.is_file() and not ignored(entry.name) for entry in folder.iterdir())


def _scan(root: Path, split: str, class_names: tuple[str, ...]) -> _Split:
    found = _Split([], [], [])
    for label, name in enumerate(class_names):
        folder = root / split / name
        if split == "test" and not folder.is_dir():
            continue
        below = tree_below(folder)
        closed = [LeftOut(each.path.relative_to(root).as_posix(), each.reason) for each in below.unreadable]
        keys = sorted(path.relative_to(root).as_posix() for path in below.images())
        if not keys and closed:
            raise InputError(f"{root / closed[0].key} {closed[0].reason}, and {folder} has no other images: open it")
        if not keys:
            raise InputError(f"{folder} has no images ({' '.join(EXTENSIONS)}): add some or remove the folder")
        check_names(keys, root)
        found.keys.extend(keys)
        found.labels.extend([label] * len(keys))
        found.closed.extend(closed)
    return found


def check_names(keys: list[str], root: Path) -> None:
    """Raises InputError for a name that cannot be written in UTF-8."""
    for key in keys:
        try:
            key.encode()
        except UnicodeEncodeError as error:  # the name goes into tables, which are UTF-8
            raise InputError(f"{root}: the file name {key!r} is not valid UTF-8: rename it") from error
