"""A grid of runs (``-m``): every cell is checked before the first one trains, and the end says what is missing.

Cells are then trained one after another, from the configs that were checked: Hydra's own launcher would compose each
of them twice more. Another launcher that a user installs (``hydra/launcher=...``) takes them from Hydra as ever.
"""

import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from sanm.config.checks import CONF
from sanm.config.override_words import typed
from sanm.errors import InputError
from sanm.grids.cells import Cell, CellCache, cells_of
from sanm.machine import gpu
from sanm.machine.stopping import REQUEUE
from sanm.run import FAILED, MISSING, answered, train_or_skip
from sanm.terminal import output

HYDRAS_OWN = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


class Cells(Callback):
    """Hydra callback around a multirun."""

    def __init__(self) -> None:
        self._cells: list[Cell] = []

    def on_multirun_start(self, config: DictConfig, config_name: str | None = None, **_: Any) -> None:
        """Refuse the whole grid, with exit status 2, when one of its cells is wrong; else train what is left of it.

        Ends the process, unless another launcher has been chosen: from whatever is raised here Hydra would go on to
        train the cells itself.
        """
        try:
            status = answered(lambda: self._check_and_train(config, config_name or "config"))
        except Exception:  # what no user can mend
            traceback.print_exc()
            status = FAILED
        if status:
            sys.exit(status)

    def _check_and_train(self, config: DictConfig, config_name: str) -> int:
        self._cells = _cells_of(config, config_name)
        if config.hydra.launcher._target_ == HYDRAS_OWN or self._all_done():
            for cell in self._cells:
                if _train(cell) == FAILED and gpu.lost():
                    output.refuse("this process can use its GPU no more: the same command goes on with the other cells")
                    break
            self.on_multirun_end(config)
            sys.exit(0)
        return 0

    def _all_done(self) -> bool:
        return all(cell.run.status() == "done" for cell in self._cells)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Count what there is; exit status 3 when cells are missing or failed."""
        states = {cell.run.name: cell.run.status() for cell in self._cells}
        done = sum(state == "done" for state in states.values())
        output.say(f"grid     {done} of {len(states)} runs done, in {config.runs_dir}")
        if done == len(states):
            return
        for run in (cell.run for cell in self._cells):
            if states[run.name] == "failed":
                output.say(f"failed   {run.name}: {run.failure_reason()}")
            elif states[run.name] == "unreadable":
                output.say(f"missing  {run.name}: {run.trouble()}")
            elif states[run.name] == "interrupted":
                output.say(f"missing  {run.name}: not finished; the same command goes on with it")
            elif states[run.name] == "missing":
                output.say(f"missing  {run.name}: not started, for the reason given above")
        sys.exit(MISSING)


def _train(cell: Cell) -> int:
    """What is left of a cell, and an exit status. What goes wrong is said, and the others go on; a signal to stop is
    for all of them."""
    status = answered(lambda: train_or_skip(cell.config, list(cell.overrides)))
    if status == REQUEUE:
        sys.exit(REQUEUE)
    return status


def _cells_of(config: DictConfig, config_name: str) -> list[Cell]:
    runs_dir = Path(config.runs_dir).expanduser()
    cache = CellCache(runs_dir, usable=_only_our_configs(config) and config_name == "config")
    cells = cells_of(swept(typed(config.hydra.overrides.task)), cache, config_name)
    check_writable(runs_dir)
    cache.save()
    return cells


def swept(overrides: list[str]) -> list[list[str]]:
    """The command lines that a command line with comma lists stands for, in Hydra's order."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    (cells,) = BasicSweeper.split_arguments(parser.parse_overrides(overrides), max_batch_size=None)
    return [list(cell) for cell in cells]


def _only_our_configs(config: DictConfig) -> bool:
    sources = [source for source in config.hydra.runtime.config_sources if source["schema"] == "file"]
    return all(Path(source["path"]).resolve() == CONF for source in sources)


def check_writable(runs_dir: Path) -> None:
    """Raises InputError when no file can be made in the folder, which is made if need be."""
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs_dir) as probe:
            probe.write(b"probe")
    except OSError as error:
        raise InputError(f"runs_dir={runs_dir} cannot be written ({error.strerror})") from error
