"""Phases of a run: stretches of epochs that train otherwise, from the key ``phases`` of a method's YAML.

Nothing heavy is imported here, so that bad phases are refused before anything loads.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from sanm.errors import InputError

OWN = ("begin", "repeat", "fresh", "trust")
"""Keys of a phase itself."""
FRESH = ("nothing", "classifier", "network")
TRUST = ("estimated", "kept", "once")
OF_THE_TRAINER = (
    "optimizer", "lr", "momentum", "weight_decay", "schedule", "milestones", "decay", "restart_every", "lr_min",
    "late_momentum",
)  # fmt: skip
"""Keys of the group ``trainer`` that a phase may have otherwise."""
NUMBERS = ("lr", "momentum", "weight_decay", "decay", "restart_every", "lr_min", "late_momentum")
"""Those of them that are numbers."""
SCALED = "scaled"
OF_THE_METHOD = ("views", "learn_from", "guess_on", "guess_mode")
"""Keys of the method that a phase may have otherwise."""
MADE_BY = ("optimizer", "weight_decay")
"""Settings that an optimizer is made with: a phase that changes one begins with a new optimizer."""


@dataclass(frozen=True)
class Phase:
    """A stretch of epochs, ``begin`` to before ``end``, and what it does otherwise than the run.

    ``fresh`` is what its first epoch draws anew, ``trust`` whether the clean probability is estimated in it, kept as it
    was, estimated once, as the phase begins, or every so many epochs from then on. ``trainer`` and ``method`` are the
    settings that hold in it, whole.
    """

    number: int
    begin: int
    end: int
    trainer: Mapping[str, Any]
    method: Mapping[str, Any]
    fresh: str = "nothing"
    trust: str | int = "estimated"
    own_schedule: bool = field(default=True)  # counted from ``begin``; else the run's goes on
    new_optimizer: bool = field(default=True)

    def estimates_trust(self, epoch: int) -> bool:
        """Whether the clean probability may be estimated anew before an epoch of the phase."""
        if isinstance(self.trust, int):
            return (epoch - self.begin) % self.trust == 0
        return self.trust == "estimated" or (self.trust == "once" and epoch == self.begin)

    def schedule_epoch(self, epoch: int) -> int:
        """Where an epoch of the run lies in the phase's schedule of learning rates."""
        return epoch - self.begin if self.own_schedule else epoch


def phases_of(config: Mapping[str, Any]) -> list[Phase]:
    """The phases of a config; one, of all epochs, without the key. Raises InputError, one line, for what makes none.

    A phase that has settings of the trainer, or a fresh network, counts its schedule from its own begin. Its
    milestones below 1 are shares of its length, as ``begin`` below 1 is one of the run's; ``scaled`` ones lie in it
    where those of the run lie in the run. A ``scaled`` ``restart_every`` is its length. A phase with ``repeat`` is so
    many phases, each of which begins as it does.
    """
    method, trainer = config["base_method"], config["trainer"]
    given: Sequence[Any] = method.get("phases") or [{"begin": 0}]
    if not isinstance(given, list):
        raise InputError(f"base_method.phases={given}: give a list of phases, each {{begin: EPOCH, ...}}")
    begins = [_begin(phase, number, len(given), trainer["epochs"], method) for number, phase in enumerate(given)]
    if begins[0] != 0 or sorted(set(begins)) != begins or begins[-1] >= trainer["epochs"]:
        raise InputError(
            f"base_method.phases begin at epochs {', '.join(map(str, begins))} of trainer.epochs={trainer['epochs']}: "
            "the first begins at 0, and each has at least one epoch"
        )
    ends = [*begins[1:], trainer["epochs"]]
    parts = [
        (phase, *part)
        for phase, begin, end in zip(given, begins, ends, strict=True)
        for part in _equal_parts(begin, end, int(phase.get("repeat", 1)))
    ]
    return [_phase(number, phase, begin, end, method, trainer) for number, (phase, begin, end) in enumerate(parts)]


def _equal_parts(begin: int, end: int, times: int) -> list[tuple[int, int]]:
    """``times`` stretches in a row, each of one epoch at least: fewer of them where there are fewer epochs."""
    times = min(times, end - begin)
    borders = [begin + part * (end - begin) // times for part in range(times + 1)]
    return list(pairwise(borders))


def in_epochs(given: float, epochs: int) -> float:
    """A stretch that is given in epochs, or below 1 as a share of the run's."""
    return given if given >= 1 else given * epochs


def phase_at(phases: Sequence[Phase], epoch: int) -> Phase:
    """The phase that an epoch, counted from 0, is in; the last one's after the end."""
    return [phase for phase in phases if phase.begin <= epoch][-1]


def epochs_of(share: float, epochs: int, least: int = 1) -> int:
    """A number of epochs that a setting gives as such, or below 1 as a share of ``epochs``: then ``least`` or more."""
    return int(share) if share >= 1 or not share else max(least, round(share * epochs))


def _begin(phase: Any, number: int, phases: int, epochs: int, method: Mapping[str, Any]) -> int:
    key = f"base_method.phases[{number}]"
    if not isinstance(phase, Mapping):
        raise InputError(f"{key}={phase}: give a phase as a table, {{begin: EPOCH, ...}}")
    unknown = [name for name in phase if name not in (*OWN, *OF_THE_TRAINER, *OF_THE_METHOD)]
    if unknown:
        known = ", ".join((*OWN, *OF_THE_TRAINER, *OF_THE_METHOD))
        raise InputError(f"{key}.{unknown[0]}: no such key of a phase; there are {known}")
    times = phase.get("repeat", 1)
    if not _is_number(times) or times < 1 or times % 1:
        raise InputError(f"{key}.repeat={times}: give a whole number at least 1")
    for name, choices in (("fresh", FRESH), ("trust", TRUST)):
        if phase.get(name, choices[0]) not in choices and not (name == "trust" and _is_count(phase[name])):
            more = ", or a number of epochs" if name == "trust" else ""
            raise InputError(f"{key}.{name}={phase[name]}: choose one of {', '.join(choices)}{more}")
    _check_values(key, phase)
    begin: Any = phase.get("begin")
    if not _is_number(begin) or (begin >= 1 and begin % 1):
        source = "".join(f", from base_method.{name}" for name, value in method.items() if begin == value)
        raise InputError(f"{key}.begin={begin}{source}: give an epoch, or below 1 a share of trainer.epochs")
    if begin >= 1 or not begin:
        return int(begin)
    return min(epochs_of(begin, epochs, number), epochs - phases + number)  # those that follow have an epoch each


def _check_values(key: str, phase: Mapping[str, Any]) -> None:
    milestones = phase.get("milestones", [])
    if milestones != SCALED and not (isinstance(milestones, list) and all(map(_is_number, milestones))):
        raise InputError(f"{key}.milestones={milestones}: give a list of epochs, or {SCALED}")
    for name in NUMBERS:
        whole_phase = name == "restart_every" and phase.get(name) == SCALED
        if phase.get(name) is not None and not whole_phase and not _is_number(phase[name]):
            raise InputError(f"{key}.{name}={phase[name]}: must be a number at least 0")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _phase(
    number: int, given: Mapping[str, Any], begin: int, end: int, method: Mapping[str, Any], trainer: Mapping[str, Any]
) -> Phase:
    changed = {key: value for key, value in given.items() if key in OF_THE_TRAINER}
    fresh = given.get("fresh", "nothing")
    own_schedule = bool(changed) or fresh == "network"
    length = end - begin if own_schedule else trainer["epochs"]
    if changed.get("milestones") == SCALED:
        changed["milestones"] = [round(each * length / trainer["epochs"]) for each in trainer["milestones"]]
    elif "milestones" in changed:
        changed["milestones"] = [round(each * length) if each < 1 else each for each in changed["milestones"]]
    if changed.get("restart_every") == SCALED:
        changed["restart_every"] = length
    return Phase(
        number=number,
        begin=begin,
        end=end,
        trainer={**trainer, **changed, "epochs": length},
        method={**method, **{key: value for key, value in given.items() if key in OF_THE_METHOD}},
        fresh=fresh,
        trust=given.get("trust", "estimated"),
        own_schedule=own_schedule,
        new_optimizer=fresh != "nothing" or any(key in MADE_BY for key in changed),
    )
