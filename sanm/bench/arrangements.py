"""The same step with one feature on or off."""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from sanm.bench.floor import networks_of
from sanm.bench.settings import Settings
from sanm.trainer import Trainer

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Arrangement:
    """What is changed of a config, and of the trainer made from it."""

    name: str
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # group -> settings that replace its own
    prepare: Callable[[Trainer], None] = lambda trainer: None
    limit: int = 0  # seconds that its first step may take; 0: any

    def config(self, config: Config) -> Config:
        changed = dict(copy.deepcopy(config))
        for group, values in self.changes.items():
            changed[group] = {**changed[group], **values}
        return changed


def arrangements(config: Config, settings: Settings, device: torch.device) -> list[Arrangement]:
    """What there is to switch in this config on this device."""
    found = [*_components(config), *_precisions(config, device)]
    found.append(Arrangement("channels_last off", prepare=_contiguous))
    if device.type == "cuda":
        found.append(Arrangement("optimizer one tensor at a time", prepare=_optimizer(foreach=False)))
    else:
        found.append(Arrangement("optimizer over all tensors at once", prepare=_optimizer(foreach=True)))
    found.append(Arrangement("fused optimizer", prepare=_optimizer(fused=True)))
    if settings.compile_seconds:
        switched = not config["trainer"]["compile"]
        name = f"compile {'on' if switched else 'off'}"
        found.append(Arrangement(name, {"trainer": {"compile": switched}}, limit=settings.compile_seconds))
    return found


def _components(config: Config) -> Iterator[Arrangement]:
    own = tuple(bool(config["components"][part]) for part in ("amg", "nlr", "smr"))
    less = {
        "components=none": (False, False, False),
        "components=amg (masks alone)": (True, False, False),
        "components=amg_nlr (no reconstruction)": (True, True, False),
        "components=amg_smr (targets as they are)": (True, False, True),
    }
    for name, parts in less.items():
        if parts != own and all(had or not has for has, had in zip(parts, own, strict=True)):
            yield Arrangement(name, {"components": dict(zip(("amg", "nlr", "smr"), parts, strict=True))})


def _precisions(config: Config, device: torch.device) -> Iterator[Arrangement]:
    for precision in ("fp32", "tf32", "bf16") if device.type == "cuda" else ("fp32", "bf16"):
        if precision != config["trainer"]["precision"]:
            yield Arrangement(f"trainer.precision={precision}", {"trainer": {"precision": precision}})


def _contiguous(trainer: Trainer) -> None:
    """Weights and images channel by channel, as torch has them when nobody asks for more."""
    trainer.to(memory_format=torch.contiguous_format)
    for network in networks_of(trainer):
        network.to(memory_format=torch.contiguous_format)
        features = network.features
        network.features = lambda x, features=features: features(x.contiguous())  # type: ignore[method-assign, misc]


def _optimizer(foreach: bool = False, fused: bool = False) -> Callable[[Trainer], None]:
    def prepare(trainer: Trainer) -> None:
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["foreach"], group["fused"] = foreach, fused

    return prepare


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raises TimeoutError within, after so many seconds; 0 is no limit. For the main thread of a process alone."""

    def over(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
