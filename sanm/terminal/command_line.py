"""What command lines that take plain options share."""

import argparse
import os
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from sanm.errors import InputError
from sanm.files import unwritable
from sanm.formats.image_tree import is_image
from sanm.terminal import output

CONFIG = "config.yaml"
RECORD = (
    CONFIG, "metrics.csv", "label_quality.csv", "probabilities.npz", "samples.npz", "labels.json", "model.pt",
    "label_evidence.npz", "left_out.csv", "checkpoint.pt", "result.json", "failure.txt", "encoder.pt",
)  # fmt: skip
"""What a run, or the training of an encoder, leaves in its folder."""
STUDY = ("token", "locks")
"""What the folder of a study has in it; all its files are the record of the study."""


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        """Raises what the command line prints."""
        raise InputError(f"{message} (see {self.prog} --help)")


def exit_status(work: Callable[[], int]) -> int:
    """Do the work of a command that writes one file at its end; bad input is one line, and status 2."""
    output.begin()
    try:
        return work()
    except InputError as error:
        output.refuse(error)
        return 2
    except KeyboardInterrupt:
        sys.exit("\ninterrupted: nothing was written")


def check_output(
    path: Path,
    overwrite: bool,
    inputs: Iterable[Path] = (),
    option: str = "--out",
    ours: Callable[[Path], bool] = lambda _: False,
    image: bool = False,
) -> None:
    """The rule of every file that a command writes, before there is any work. ``option`` is what named it.

    Raises InputError where no file can be written: at a folder, at what is no regular file, in no folder. A file that
    is there may be replaced where the user says ``overwrite`` or it is one of ``ours``, that this command wrote before.
    Neither is enough for one of the ``inputs``, for a file of a record, or for one that is called like an image while
    what is written is no ``image``. Of a link all this is asked of the file that it leads to.
    """
    mode = _mode(path)
    if mode is not None and stat.S_ISDIR(mode):
        raise InputError(f"cannot write: {path} is a folder: give {option} a file")
    if mode is not None and not stat.S_ISREG(mode):
        raise InputError(f"cannot write: {path} is no regular file: give {option} a file")
    if not image and (is_image(path) or is_image(_real(path))):
        raise InputError(f"{option} {path}: is called like an image, and none is written: give another name")
    check_not_read(path, inputs, option)
    if mode is not None and not overwrite and not ours(path):
        raise InputError(f"{path} is there already: give another {option}, or --overwrite to replace it")
    folder = _real(path).parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"cannot write {path} ({folder} is no folder, or one that cannot be written)")


def check_not_read(path: Path, inputs: Iterable[Path] = (), option: str = "--out") -> None:
    """Raises InputError for an output that is one of the ``inputs``, by whatever name, or a file of a record, whether
    it is there yet or not.
    """
    real = _real(path)
    of_run = real.name in RECORD and (real.parent / CONFIG).is_file()
    if of_run or all((real.parent / name).exists() for name in STUDY):
        whose = "run" if of_run else "study"
        raise InputError(f"{path} is part of the record of a {whose}, which nothing replaces: give another {option}")
    try:
        there = path.stat()
    except OSError:  # nothing that could be lost
        return
    if any(_is(each, there) for each in inputs):
        raise InputError(f"{path} is read here, and nothing replaces what is read: give another {option}")


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # links in a circle, a name too long
        raise unwritable(path, error) from error


def _is(path: Path, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), file)
    except (OSError, ValueError):  # not there, or no name at all
        return False
