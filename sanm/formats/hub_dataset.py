"""Data sets of Hugging Face's `datasets`: folders of `save_to_disk`, Parquet, names on the hub.

Light until one is opened, since a run is named by what it holds.
"""

import hashlib
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sanm import given_files
from sanm.errors import InputError
from sanm.formats.image_table import SPLIT_OF, SPLITS

KINDS = (".arrow", ".parquet")
"""What the data is in; other files of a data set's folder say nothing of it."""
MARKS = ("dataset_dict.json", "state.json")
"""By which a folder of `save_to_disk` is known."""
NONE = "none"
PATIENCE = 10
"""Seconds that the hub has to answer."""

Stamps = tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True)
class HubDataset:
    """A data set that is open: its splits, memory-mapped."""

    called: str  # as messages name it
    splits: Mapping[str, Any]  # name -> `datasets.Dataset`
    files: tuple[Path, ...]  # that a local one consists of
    folder: Path  # where decoded images may lie, and what names of files are relative to
    commit: str | None  # of one on the hub

    def column(self, split: str, name: str, key: str) -> Any:
        """A column, as Arrow's; `key` is the setting that names it. Raises InputError where the split has none so."""
        there = self.splits[split].column_names
        if name not in there:
            raise InputError(
                f"{self.called} has no column {name!r} in its split {split} (only {', '.join(there)}): set {key}=NAME"
            )
        return self.splits[split].data.column(name)


def open_dataset(data: Mapping[str, Any], cache_dir: Path) -> HubDataset:
    """The data set of a config's group ``data``. Raises InputError, one line, where it cannot be had."""
    if not data.get("path"):
        raise InputError("data.path is not set: give a folder of save_to_disk, a Parquet file or folder, or a hub name")
    text = str(data["path"])
    path = Path(text).expanduser()
    files = _files(path)
    words = (text, data.get("configuration"), data.get("revision"), cache_dir, _stamps(files))
    return _opened(*words)


def chosen_splits(found: HubDataset, wanted: Mapping[str, str | None]) -> dict[str, str]:
    """Which split of the data set is which part: as ``wanted``, else by name; a part that it lacks is not there.

    Raises InputError where a split is not there, is to be two parts, or none is to be trained on.
    """
    chosen: dict[str, str] = {}
    for part in SPLITS:
        name = wanted.get(part)
        if name == NONE:
            continue
        if name is not None and name not in found.splits:
            there = ", ".join(found.splits)
            raise InputError(f"{found.called} has no split {name!r} (only {there}): set data.splits.{part} to one")
        free = [each for each in found.splits if each not in wanted.values()]
        named = name or next((each for each in free if SPLIT_OF.get(each.lower()) == part), None)
        if named:
            chosen[part] = named
    if "train" not in chosen and len(found.splits) == 1:
        chosen = {"train": next(iter(found.splits))}
    if "train" not in chosen:
        raise InputError(f"{found.called} has no split to train on ({', '.join(found.splits)}): set data.splits.train")
    if len(set(chosen.values())) < len(chosen):
        raise InputError(f"{found.called}: data.splits names one split for two parts: {chosen}")
    return chosen


def unread_splits(found: HubDataset, chosen: Mapping[str, str]) -> None:
    """A warning for each split that is no part."""
    for name in sorted(set(found.splits) - set(chosen.values())):
        rows = len(found.splits[name])
        warnings.warn(f"{found.called}: its split {name} ({rows} rows) is not read: data.splits", stacklevel=3)


def image_files(column: Any) -> list[str | None]:
    """Of each row of a column of images the file that it names; None where the image itself is in the row, or none.

    Raises InputError for a column that holds neither files nor encoded images.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.to_pylist()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return [None] * len(column)
    if pa.types.is_struct(kind) and {"bytes", "path"} <= {field.name for field in kind}:
        inside = pc.is_valid(pc.struct_field(column, "bytes"))
        return pc.if_else(inside, None, pc.struct_field(column, "path")).to_pylist()
    raise InputError(f"holds {kind}: images are files, their bytes, or the feature Image")


def image_bytes(column: Any, row: int) -> bytes | None:
    """The encoded image in a row; None where there is none."""
    value = column[row].as_py()
    found: bytes | None = value.get("bytes") if isinstance(value, dict) else value
    return found


def _files(path: Path) -> tuple[Path, ...]:
    """What a local data set consists of; nothing where nothing is there."""
    if not given_files.is_folder(path):
        return (path,) if path.exists() else ()
    inside = sorted(each for each in path.rglob("*") if each.suffix in KINDS)
    files = [each for each in inside if not any(part.startswith(".") for part in each.relative_to(path).parts)]
    if not files:
        raise InputError(f"data.path={path} holds neither Arrow nor Parquet files: give a folder of save_to_disk")
    return tuple(files)


def _stamps(files: Sequence[Path]) -> Stamps:
    found = []
    for file in files:
        try:
            state = given_files.status_of(file)
        except OSError as error:
            raise InputError(f"data.path: {file} cannot be read ({error.strerror})") from error
        found.append((str(file.absolute()), state.st_size, state.st_mtime_ns, state.st_ino, state.st_ctime_ns))
    return tuple(found)


@lru_cache(maxsize=8)
def _opened(text: str, configuration: str | None, revision: str | None, cache_dir: Path, stamps: Stamps) -> HubDataset:
    try:
        import datasets
    except ImportError as error:
        raise InputError("data=huggingface needs a package: pip install 'sanm[datasets]'") from error
    datasets.disable_progress_bars()
    for name in ("datasets", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)
    path = Path(text).expanduser()
    files = tuple(Path(stamp[0]) for stamp in stamps)
    try:
        if not files:
            return _from_hub(text, configuration, revision)
        if any((path / mark).exists() for mark in MARKS):
            found = datasets.load_from_disk(str(path))
        else:  # of Parquet an Arrow copy is made, of this state of the files
            state = hashlib.sha256(repr(stamps).encode(errors="surrogateescape")).hexdigest()[:16]
            copies = str(cache_dir / "parquet" / state)
            if path.is_dir():
                found = datasets.load_dataset(str(path), configuration, cache_dir=copies)
            else:
                found = datasets.load_dataset("parquet", data_files=str(path), cache_dir=copies)
    except InputError:
        raise
    except Exception as error:  # a damaged file raises nearly anything
        raise InputError(f"data.path={text} cannot be read ({_one_line(error)})") from error
    splits = dict(found) if isinstance(found, dict) else {"train": found}
    return HubDataset(f"data.path={text}", splits, files, path if path.is_dir() else path.parent, None)


def _from_hub(name: str, configuration: str | None, revision: str | None) -> HubDataset:
    import datasets
    from huggingface_hub import HfApi

    try:
        if not os.environ.get("HF_HUB_OFFLINE"):
            HfApi().dataset_info(name, revision=revision, timeout=PATIENCE)  # at once, where the reader tries for long
        splits = dict(datasets.load_dataset(name, configuration, revision=revision))
    except Exception as error:
        raise InputError(
            f"data.path={name} is no file or folder here, and the hub does not give it ({_one_line(error)}); with "
            "HF_HUB_OFFLINE=1 what is in its cache is used"
        ) from error
    held = Path(next(iter(splits.values())).cache_files[0]["filename"]).parent
    return HubDataset(f"data.path={name}", splits, (), held, held.name)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
