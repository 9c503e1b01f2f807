"""A data set of Hugging Face's `datasets`: a folder of `save_to_disk`, Parquet, or a name on the hub.

Images are files, encoded bytes, or the feature Image; labels are a ClassLabel, whose classes keep their numbers, or
names or whole numbers, whose classes are those of the training rows. True labels are for scoring alone.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sanm.data.datasets._class_names import check_classes, warn_of_absent
from sanm.data.datasets._contents import Files, Rows
from sanm.data.datasets._image_files import Entries, FileParts
from sanm.data.datasets._label_lists import warn_of_empty_classes
from sanm.data.types import UNKNOWN, LeftOut, Part, Source
from sanm.errors import InputError
from sanm.file_contents import Stamp, memory_of, stamp_of
from sanm.formats.hub_dataset import HubDataset, chosen_splits, image_bytes, image_files, open_dataset, unread_splits
from sanm.formats.image_table import class_names

NO_LABEL = -1
"""How a ClassLabel writes that nobody knows, as in test parts without labels."""
TRUE_LABEL = "true_label"


def load(settings: Mapping[str, Any], cache_dir: Path) -> Source:
    """Images ``[N, 3, image_size, image_size]`` of the splits that ``data.splits`` names, in their order.

    A test row's label is its true label where it has one. Raises InputError for a data set, a split or a column that is
    not there, for columns of another kind, for fewer than two classes, for a part without labels, and, unless
    ``data.skip_bad``, for rows without a label or an image, with their number and the first of them.
    """
    found = open_dataset(settings, cache_dir)
    splits = chosen_splits(found, settings["splits"])
    unread_splits(found, splits)
    labels = _Labels(found, splits, settings["columns"])
    check_classes(found.called, filter(None, labels.given["train"]), "is data.columns.label the right column?")
    read, keys = _images(found, splits, settings)
    root = Path(settings["root"]).expanduser() if settings.get("root") else found.folder
    contents = Rows(read, _stamp_of_all(found.files), Files(root, memory_of(root, cache_dir)))
    parts = FileParts(settings, root, cache_dir, contents)
    where = Path(str(settings["path"]))
    good = {part: labels.usable(part, keys[part], parts, where) for part in splits}

    def part(name: str) -> Part | None:
        if name not in splits:
            return None
        chosen = [labels.of(name, row) for row in good[name]]
        if name != "train":
            warn_of_absent(f"{found.called}: its {name} part", labels.names, set(chosen))
        entries = Entries([str(keys[name][row]) for row in good[name]], [labels.number[label] for label in chosen])
        return parts.part(name, entries, where)

    train = part("train")
    if train is None:
        raise InputError(f"{found.called}: no row of its split {splits['train']} can be trained on")
    if labels.fixed:
        warn_of_empty_classes(train.labels.tolist(), labels.names, where)
    return Source(
        train=train,
        test=part("test"),
        validation=part("validation"),
        class_names=labels.names,
        true_labels=np.array([labels.truth(row) for row in good["train"]], dtype=np.int64),
        left_out=tuple(parts.left_out),
    )


class _Labels:
    """The labels of all parts as texts, empty where there is none, and the classes that they are of."""

    def __init__(self, found: HubDataset, splits: Mapping[str, str], columns: Mapping[str, str | None]) -> None:
        self._called, self._splits = found.called, splits
        name, true = str(columns["label"]), columns.get(TRUE_LABEL)
        feature = found.splits[splits["train"]].features.get(name)
        self.fixed: tuple[str, ...] = tuple(getattr(feature, "names", None) or ())
        self.given = {
            part: self._texts(found, split, name, "data.columns.label", self.fixed) for part, split in splits.items()
        }
        self.true: dict[str, list[str]] = {}
        for part, split in splits.items():
            if true or TRUE_LABEL in found.splits[split].column_names:
                key = "data.columns.true_label"
                self.true[part] = self._texts(found, split, true or TRUE_LABEL, key, self.fixed)
        self.names = self.fixed or class_names(filter(None, self.given["train"]))
        if len(self.names) < 2:
            raise InputError(f"{found.called} has {len(self.names)} classes in column {name!r}: two or more are needed")
        self.number = {label: number for number, label in enumerate(self.names)}

    def of(self, part: str, row: int) -> str:
        """What a row is trained or measured on."""
        true = self.true[part][row] if part == "test" and part in self.true else ""
        return true or self.given[part][row]

    def truth(self, row: int) -> int:
        """The true label of a training row; a class that is none of the classes is their number."""
        text = self.true["train"][row] if "train" in self.true else ""
        return self.number.get(text, len(self.names)) if text else UNKNOWN

    def usable(self, part: str, keys: Sequence[str | None], parts: FileParts, where: Path) -> list[int]:
        """Rows that have an image and a label of the classes, and name no file again; others are bad entries."""
        split = self._splits[part]
        if not any(self.of(part, row) for row in range(len(keys))):
            remedy = f"set data.splits.{part}=none to do without"
            raise InputError(f"{self._called}: none of the {len(keys)} rows of its split {split} has a label: {remedy}")
        good: list[int] = []
        bad: list[LeftOut] = []
        seen: set[str] = set()
        for row, key in enumerate(keys):
            label, reason = self.of(part, row), ""
            if not label:
                reason = "has no label"
            elif label not in self.number:
                reason = f"has the label {label!r}, which is none of the classes of the training rows"
            elif key is None:
                reason = "has no image"
            elif key in seen:
                reason = f"names the file {key} again"
            if reason:
                bad.append(LeftOut(f"row {row} of {split}", reason))
            else:
                good.append(row)
                seen.add(str(key))
        parts.leave_out(bad, where)
        return good

    def _texts(self, found: HubDataset, split: str, name: str, key: str, fixed: tuple[str, ...]) -> list[str]:
        column = found.column(split, name, key)
        names = tuple(getattr(found.splits[split].features.get(name), "names", None) or ())
        values = column.to_pylist()
        if any(isinstance(value, list | dict | bytes) for value in values[:1000]):
            raise InputError(f"{found.called}: column {name!r} holds {column.type}, no label each: set {key}=NAME")
        if (names or fixed) and all(isinstance(value, int | None) for value in values):
            return [_of_class(value, names or fixed) for value in values]
        return _plain(values)


def _of_class(value: int | None, names: tuple[str, ...]) -> str:
    if value is None or value == NO_LABEL:
        return ""
    return names[value] if 0 <= value < len(names) else f"number {value}"


def _plain(values: Sequence[Any]) -> list[str]:
    """Names stripped, whole numbers without a fraction; -1 among classes from 0 on stands for none."""
    texts = ["" if value is None or value != value else str(value).strip() for value in values]
    numbers = [
        isinstance(value, float) and value == int(value) for value in values if value is not None and value == value
    ]
    if numbers and all(numbers):
        texts = [text.partition(".")[0] for text in texts]
    others = set(texts) - {"", str(NO_LABEL)}
    if len(others) > 1 and all(text.isdecimal() for text in others):
        texts = ["" if text == str(NO_LABEL) else text for text in texts]
    return texts


def _images(
    found: HubDataset, splits: Mapping[str, str], settings: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, list[str | None]]]:
    """What reads images that lie in rows, by name; and of each part the names of all rows, None without an image."""
    name = settings["columns"]["image"]
    prefix = (
        [] if not found.files or found.folder == Path(str(settings["path"])).expanduser() else [found.files[0].name]
    )
    prefix += [str(settings["configuration"])] if settings.get("configuration") else []
    read: dict[str, Any] = {}
    keys: dict[str, list[str | None]] = {}
    for part, split in splits.items():
        column = found.column(split, name, "data.columns.image")
        try:
            named = image_files(column)
        except InputError as error:
            raise InputError(f"{found.called}: column {name!r} {error}: set data.columns.image=NAME") from error
        inside = column.is_valid().to_pylist()
        keys[part] = [
            file or ("/".join([*prefix, split, str(row)]) if there else None)
            for row, (file, there) in enumerate(zip(named, inside, strict=True))
        ]
        read |= {str(key): partial(_bytes, column, row) for row, key in enumerate(keys[part]) if key and not named[row]}
    return read, keys


def _bytes(column: Any, row: int) -> bytes:
    return image_bytes(column, row) or b""


def _stamp_of_all(files: Sequence[Path]) -> Stamp:
    """One stamp for all files that rows lie in."""
    stamps = [stamp_of(file.stat()) for file in files]
    settled = all(stamp.touched for stamp in stamps)
    return Stamp(
        sum(stamp.size for stamp in stamps),
        max((stamp.changed for stamp in stamps), default=0),
        sum(stamp.inode for stamp in stamps),
        max((stamp.touched for stamp in stamps), default=1) if settled else 0,
    )
