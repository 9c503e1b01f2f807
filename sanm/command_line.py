"""What command lines that take plain options share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from sanm.errors import InputError

CONFIG = "config.yaml"
RECORD = (
    CONFIG, "metrics.csv", "label_quality.csv", "probabilities.npz", "samples.npz", "labels.json", "model.pt",
    "left_out.csv", "checkpoint.pt", "result.json", "failure.txt",
)  # fmt: skip
"""What a run leaves in its folder."""


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        """Raises what the command line prints."""
        raise InputError(f"{message} (see {self.prog} --help)")


def exit_status(work: Callable[[], int]) -> int:
    """Do the work of a command that writes one file at its end; bad input is one line, and status 2."""
    try:
        return work()
    except InputError as error:
        print(f"error    {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        sys.exit("\ninterrupted: nothing was written")


def check_output(path: Path, overwrite: bool, inputs: Iterable[Path]) -> None:
    """Raises InputError for a file that is there already, unless it may be replaced; what is read never may."""
    if path.is_dir():
        raise InputError(f"{path} is a folder: give --out a file")
    check_not_read(path, inputs)
    if path.exists() and not overwrite:
        raise InputError(f"{path} is there already: give another --out, or --overwrite to replace it")


def check_not_read(path: Path, inputs: Iterable[Path] = ()) -> None:
    """Raises InputError for an output that is one of the ``inputs``, by whatever name, or a file of a run's record."""
    try:
        there = path.stat()
    except OSError:  # nothing that could be lost
        return
    real = path.resolve()
    if real.name in RECORD and (real.parent / CONFIG).is_file():
        raise InputError(f"{path} is part of the record of a run, which nothing replaces: give another --out")
    if any(_is(each, there) for each in inputs):
        raise InputError(f"{path} is read here, and nothing replaces what is read: give another --out")


def _is(path: Path, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), file)
    except (OSError, ValueError):  # not there, or no name at all
        return False
