"""Where the runs of a grid are trained. One file a launcher; conf/launch/ has its settings.

A launcher's module has a dataclass ``Settings`` and ``launch(cells, settings, job) -> Outcome``, which returns when it
can do no more. What became of the cells is in their run directories; an outcome holds only what is not.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sanm.config.checks import CONF
from sanm.errors import InputError

if TYPE_CHECKING:  # a worker is a module of this package: what starts it is not to be imported before it
    from sanm.grids.cells import Cell
    from sweeps.grids.states import Progress
    from sweeps.launchers.workers import Outcome

LAUNCHERS = ("local", "parallel", "slurm")


@dataclass
class Job:
    """What a launcher has to know beside the cells."""

    progress: Progress  # of the whole grid, before anything was started
    runs_dir: Path
    arguments: list[str] = field(default_factory=list)  # added to every command line


def settings_of(words: Sequence[str]) -> tuple[ModuleType, Any]:
    """The launcher's module and its settings, from ``launch=OPTION`` and ``launch.KEY=VALUE``.

    Raises InputError for an option, a key or a value that is none.
    """
    option = next((word.partition("=")[2] for word in reversed(words) if word.startswith("launch=")), "local")
    options = sorted(file.stem for file in (CONF / "launch").glob("*.yaml"))
    if option not in options:
        raise InputError(f"launch={option}: choose one of {', '.join(options)}")
    given = OmegaConf.load(CONF / "launch" / f"{option}.yaml")
    assert isinstance(given, DictConfig)
    name = str(given.pop("name", option))
    if name not in LAUNCHERS:
        raise InputError(f"conf/launch/{option}.yaml: name must be one of {', '.join(LAUNCHERS)}")
    module = importlib.import_module(f"sweeps.launchers.{name}")
    typed = OmegaConf.structured(module.Settings)
    try:
        typed.merge_with(given)
        typed.merge_with(OmegaConf.from_dotlist([word[7:] for word in words if word.startswith("launch.")]))
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise InputError(_explained(error, option, list(typed))) from error
    settings = OmegaConf.to_object(typed)
    module.check(settings)
    return module, settings


def _explained(error: Exception, option: str, keys: list[Any]) -> str:
    reason = " ".join(str(error).partition("full_key")[0].split())
    key, known = getattr(error, "full_key", None) or "KEY=VALUE", ", ".join(map(str, keys)) or "no settings"
    return f"launch.{key}: {reason}; launch={option} has {known}"


def launch(cells: Sequence[Cell], words: Sequence[str], job: Job) -> Outcome:
    """Train the cells with the launcher that ``words`` choose."""
    module, settings = settings_of(words)
    outcome: Outcome = module.launch(cells, settings, job)
    return outcome
