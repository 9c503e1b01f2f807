"""Cells of a grid: from override strings to run directories.

Composing and checking a cell takes about 0.2 s. What it came to is remembered in ``runs_dir/.cells.json``, so that a
grid of a thousand finished runs is recognised in seconds. The file is only ever an answer to "what does this command
line compose to?": which files the config names, what they hold, and whether the run is done is looked up each time.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hydra import compose

from sanm.config import checks as config_module
from sanm.config import limits as limits_module
from sanm.config.checks import CONF, checked
from sanm.errors import InputError
from sanm.fetch import check_backbone, check_mask_weights, fetch
from sanm.files import write_bytes
from sanm.record.directory import RunDirectory
from sanm.record.identity import identity, run_name

Plain = dict[str, Any]

FILE = ".cells.json"


@dataclass(frozen=True)
class Cell:
    """One run of a grid: its command line, the checked config that it came to, its directory."""

    overrides: tuple[str, ...]
    config: Plain
    run: RunDirectory


class CellCache:
    """What command lines composed to, in a file that may vanish, be damaged or be out of date without harm."""

    def __init__(self, runs_dir: Path, usable: bool = True) -> None:
        """``usable`` is False where configs come from elsewhere too: nothing is then found or kept."""
        self._path, self._stamp = runs_dir / FILE, composing_stamp()
        self._usable = usable and not _configs_read_the_environment()
        self._configs, self._grown = self._read() if self._usable else {}, False

    def config(self, overrides: Sequence[str]) -> Plain | None:
        """The checked config of a command line that was seen before."""
        return self._configs.get(_key(overrides))

    def remember(self, overrides: Sequence[str], config: Plain) -> None:
        """Keep what is a function of the command line alone and survives JSON."""
        if not self._usable or _depends_on_more(overrides) or json.loads(json.dumps(config)) != config:
            return
        self._configs[_key(overrides)] = config
        self._grown = True

    def save(self) -> None:
        """Write what is new, if there is a folder that takes it."""
        if not self._grown or not self._path.parent.is_dir():
            return
        body = json.dumps(self._configs, separators=(",", ":"))
        text = f"{self._stamp} {_sha(body.encode())}\n{body}"
        with suppress(InputError):  # it saves time, nothing else
            write_bytes(self._path, text.encode())
            self._grown = False

    def _read(self) -> dict[str, Plain]:
        try:
            head, _, body = self._path.read_text().partition("\n")
        except (OSError, UnicodeError):
            return {}
        if head != f"{self._stamp} {_sha(body.encode())}":
            return {}
        found: dict[str, Plain] = json.loads(body)
        return found


def cells_of(
    command_lines: Iterable[Sequence[str]], cache: CellCache, config_name: str = "config", to_train: bool = True
) -> list[Cell]:
    """The cells of a grid in their order, each run once. Hydra has to be initialised.

    Data that the config asks for is downloaded, since it is part of a run's name; the frozen network that a run takes
    masks from is looked for, and fetched, if it is ``to_train``. Raises InputError, or what Hydra raises, for the first
    cell that is wrong.
    """
    cells: dict[str, Cell] = {}
    for overrides in command_lines:
        try:
            cell = _cell(tuple(overrides), cache, config_name)
            if to_train and cell.run.status() != "done":
                check_mask_weights(cell.config)
                check_backbone(cell.config)
        except InputError as error:
            raise InputError(f"{error} (in the cell {' '.join(overrides)})") from error
        cells.setdefault(cell.run.name, cell)
    return list(cells.values())


def _cell(overrides: tuple[str, ...], cache: CellCache, config_name: str) -> Cell:
    config = cache.config(overrides)
    if config is None:
        config = checked(compose(config_name, overrides=list(overrides)))
        cache.remember(overrides, config)
    fetch(config)
    record = identity(config)
    run = RunDirectory(Path(config["runs_dir"]).expanduser(), run_name(record), record)
    return Cell(overrides, config, run)


def _key(overrides: Sequence[str]) -> str:
    return json.dumps(list(overrides))


def _depends_on_more(overrides: Sequence[str]) -> bool:
    """Whether a command line reads the environment, or looks for configs elsewhere."""
    return any("${" in word or word.lstrip("+~").startswith("hydra") for word in overrides)


@cache
def _configs_read_the_environment() -> bool:
    return any("oc.env" in file.read_text() for file in CONF.rglob("*.yaml"))


@cache
def composing_stamp() -> str:
    """Hash of all that decides what a command line composes to: conf/, the code that checks, the libraries."""
    found = hashlib.sha256()
    files = sorted(CONF.rglob("*.yaml"))
    for file in (*files, Path(config_module.__file__), Path(limits_module.__file__), Path(__file__)):
        found.update(f"{file.name} {file.parent.name} {_sha(file.read_bytes())}\n".encode())
    for package in ("hydra-core", "omegaconf", "pyyaml"):
        found.update(f"{package} {version(package)}\n".encode())
    return found.hexdigest()


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
