"""A grid of runs (``-m``): every cell is checked before the first one trains, and the end says what is missing."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from sanm.config import checked
from sanm.errors import InputError
from sanm.explain import one_line
from sanm.fetch import check_mask_weights, fetch
from sanm.identity import identity, run_name
from sanm.store import RunDirectory


class Cells(Callback):
    """Hydra callback around a multirun."""

    def __init__(self) -> None:
        self._cells: list[RunDirectory] = []

    def on_multirun_start(self, config: DictConfig, config_name: str | None = None, **_: Any) -> None:
        """Refuse the whole grid, with exit status 2, when one of its cells is wrong."""
        try:
            self._cells = cells_of(list(config.hydra.overrides.task), config_name or "config")
            check_writable(Path(config.runs_dir).expanduser())
        except Exception as error:
            explained = one_line(error)
            if explained is None:
                raise
            print(f"error    {explained}", file=sys.stderr)
            sys.exit(2)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Count what there is; exit status 3 when cells are missing or failed."""
        states = {cell.name: cell.status() for cell in self._cells}
        done = sum(state == "done" for state in states.values())
        print(f"grid     {done} of {len(states)} runs done, in {config.runs_dir}", flush=True)
        if done == len(states):
            return
        for cell in self._cells:
            if states[cell.name] == "failed":
                print(f"failed   {cell.name}: {cell.failure_reason()}", flush=True)
            elif states[cell.name] == "interrupted":
                print(f"missing  {cell.name}: not finished; the same command goes on with it", flush=True)
            elif states[cell.name] == "missing":
                print(f"missing  {cell.name}: not started, for the reason given above", flush=True)
        sys.exit(3)


def cells_of(overrides: list[str], config_name: str) -> list[RunDirectory]:
    """The run of each cell of a grid, in the order of the command line, each once. Raises on the first bad cell."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    batches = BasicSweeper.split_arguments(parser.parse_overrides(overrides), max_batch_size=None)
    cells: dict[str, RunDirectory] = {}
    for cell in batches[0]:
        try:
            config = checked(compose(config_name, overrides=list(cell)))
            fetch(config)
            name = run_name(identity(config))
            run = RunDirectory(Path(config["runs_dir"]).expanduser(), name)
            if run.status() != "done":
                check_mask_weights(config)
        except InputError as error:
            raise InputError(f"{error} (in the cell {' '.join(cell)})") from error
        cells[name] = run
    return list(cells.values())


def check_writable(runs_dir: Path) -> None:
    """Raises InputError when no file can be made in the folder, which is made if need be."""
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs_dir) as probe:
            probe.write(b"probe")
    except OSError as error:
        raise InputError(f"runs_dir={runs_dir} cannot be written ({error.strerror})") from error
