"""What a study varies: keys of a run's config, each with its choices or its range."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sanm.errors import InputError

Value = int | float | str | bool
Plain = dict[str, Any]

DIMENSION_KEYS = {"low", "high", "log", "step", "choices", "when"}


@dataclass(frozen=True)
class Dimension:
    """One key that a study varies: ``choices``, or the numbers from ``low`` to ``high``, ends included.

    Whole numbers when both ends are written as such. Numbers off a grid are rounded to six digits, so that a setting
    can be typed and is the same run when it is.
    """

    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    choices: tuple[Value, ...] = ()
    when: tuple[str, Value] | None = None  # another key of the space, and the choice with which this one has a part

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[Value, Value]:
        return (self.choices[0], self.choices[-1]) if self.choices else (self.low, self.high)

    def settle(self, value: Value) -> Value:
        """The value as it goes into a config: a drawn 0.15000000000000002 is 0.15."""
        if self.choices or not isinstance(value, float):
            return value
        return min(max(float(f"{value:.6g}"), self.low), self.high)

    def record(self) -> Plain:
        """As plain values, to compare and to store."""
        condition = {} if self.when is None else {"when": {self.when[0]: self.when[1]}}
        if self.choices:
            return {"choices": list(self.choices), **condition}
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step, **condition}

    def applies(self, params: Mapping[str, Value]) -> bool:
        """Whether the key has a part in a trial, given what was drawn before it."""
        return self.when is None or params.get(self.when[0]) == self.when[1]


def space_of(nested: object) -> dict[str, Dimension]:
    space = {key: _dimension(key, leaf) for key, leaf in _leaves("", nested)}
    if not space:
        raise InputError("study.space is empty: say what varies, as a key with {low, high} or {choices}")
    before: list[str] = []
    for key, dimension in space.items():
        if dimension.when is not None and not (
            dimension.when[0] in before and dimension.when[1] in space[dimension.when[0]].choices
        ):
            raise InputError(f"study.space.{key}.when: must be a key before it in the space, and one of its choices")
        before.append(key)
    return space


def _leaves(place: str, node: object) -> list[tuple[str, Plain]]:
    if not isinstance(node, dict):
        raise InputError(f"study.space.{place}={node}: give {{low, high}} or {{choices}}")
    if place and set(node) & DIMENSION_KEYS:
        return [(place, node)]
    return [leaf for key, below in node.items() for leaf in _leaves(f"{place}.{key}" if place else str(key), below)]


def _dimension(key: str, leaf: Plain) -> Dimension:
    where = f"study.space.{key}"
    unknown = set(leaf) - DIMENSION_KEYS
    if unknown:
        raise InputError(f"{where}.{min(unknown)}: no such key; there are {', '.join(sorted(DIMENSION_KEYS))}")
    condition = leaf.get("when")
    if condition is not None and not (isinstance(condition, dict) and len(condition) == 1):
        raise InputError(f"{where}.when={condition}: must be one key of the space and its choice, like {{KEY: CHOICE}}")
    when = None if condition is None else next(iter(condition.items()))
    if "choices" in leaf:
        choices = leaf["choices"]
        plain = isinstance(choices, list) and all(isinstance(c, Value) for c in choices)
        if set(leaf) - {"choices", "when"} or not plain or len(choices) < 2 or len(set(choices)) < len(choices):
            raise InputError(f"{where}: choices stand alone: a list of two or more different words or numbers")
        return Dimension(choices=tuple(choices), when=when)
    return replace(_range(where, leaf), when=when)


def _range(where: str, leaf: Plain) -> Dimension:
    low, high, step, log = leaf.get("low"), leaf.get("high"), leaf.get("step"), leaf.get("log", False)
    for name, value in (("low", low), ("high", high), ("step", step)):
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number and not (name == "step" and value is None):
            raise InputError(f"{where}.{name}={value}: must be a number")
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if low >= high:
        raise InputError(f"{where}: low={low} has to lie below high={high}")
    if log and (low <= 0 or step is not None):
        raise InputError(f"{where}: log=true needs low above 0 and no step")
    whole = isinstance(low, int) and isinstance(high, int)
    if step is not None:
        steps = (high - low) / step if step > 0 else 0.5
        if not math.isclose(steps, round(steps), abs_tol=1e-6) or (whole and not isinstance(step, int)):
            raise InputError(f"{where}.step={step}: must divide {low} to {high} evenly")
    if not whole:
        low, high = float(low), float(high)
    return Dimension(low, high, bool(log), step)
