"""What there is in ``conf/``: tests of every method and plug-in take their lists from here, so that a new one has them.

A method in phases trains one epoch of each in TINY's few. ``CHOICES`` are the ways in which methods and plug-ins meet.
``ENDS`` are the first and the last of them, for tests to which what lies between says nothing that these do not.
Each test of every method costs its share for each method that comes: take few steps, and train once what several need.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import torch
import yaml

from sanm.config.checks import CONF
from sanm.config.phases import phases_of
from sanm.data import TrainingSet
from sanm.training.trainer import Trainer
from tests.conftest import config_of

METHODS = sorted(path.stem for path in (CONF / "base_method").glob("*.yaml"))
PLUGINS = sorted(path.stem for path in (CONF / "plugin").glob("*.yaml") if path.stem != "none")
WITHOUT, WITH_SANM = ("components=none",), ("components=full",)
WITH_PLUGINS = [("components=full", f"plugin={plugin}") for plugin in PLUGINS]
CHOICES = [(method, parts) for method in METHODS for parts in (WITHOUT, WITH_SANM, *WITH_PLUGINS)]
ENDS = [(method, parts) for method in METHODS for parts in (WITHOUT, *WITH_PLUGINS)]

EPOCHS = 4
TINY = (
    f"trainer.epochs={EPOCHS}",
    "trainer.batch_size=32",
    "trainer.lr=0.02",
    "trainer.milestones=[]",
    "base_method.warm_up=1",
    "pretrain=none",
    "model.widths=[8,16]",
    "model.blocks=[1,1]",
)


def tiny_trainer(data: TrainingSet, *overrides: str) -> Trainer:
    """A trainer of small networks on ``data``, on the CPU."""
    return Trainer(tiny_config(*overrides), data, torch.device("cpu"))


@lru_cache(maxsize=32)
def tiny_config(*overrides: str) -> dict[str, Any]:
    """The config that ``tiny_trainer`` takes; a trainer reads it only."""
    return config_of(*TINY, *overrides)


def needs_one_process(method: str) -> bool:
    """Whether the method refuses to be shared out."""
    from sanm.methods import method_class

    return method_class(name_of(method)).one_process


def name_of(method: str) -> str:
    """The ``base_method.name`` of an option."""
    return str(written(method)["name"])


def number_of_phases(method: str) -> int:
    return len(phases_of(config_of(*TINY, f"base_method={method}")))


@cache
def written(method: str) -> dict[str, Any]:
    """The settings in a method's file and in those that it builds on, without composing a config."""
    found: dict[str, Any] = yaml.safe_load((CONF / "base_method" / f"{method}.yaml").read_text())
    for other in found.get("defaults", ()):
        if isinstance(other, str) and other != "_self_":  # a mapping sets another group
            found = written(other) | found
    return found


def same(first: Any, second: Any) -> bool:
    """Whether two states hold the same, bit for bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)
