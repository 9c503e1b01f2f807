"""What a study is: its YAML and the command line, checked, before anything heavy is imported."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import OmegaConf

from sanm.config import CONF, checked
from sanm.errors import InputError
from sanm.fetch import fetch
from sanm.identity import digest, identity

Value = int | float | str | bool
Plain = dict[str, Any]

SELECTIONS = {
    "validation": "accuracy on the held-out noisy labels, at each run's best epoch",
    "test_oracle": "TEST ORACLE: highest test accuracy of any epoch; chosen on the test set, so no fair comparison",
}
COLUMNS = {"validation": "validation_accuracy", "test_oracle": "test_accuracy"}
"""The column of a run's metrics whose maximum is the run's score, for each selection rule."""

REPORTS = ("run", "epoch")
BASE = "base"
DIMENSION_KEYS = {"low", "high", "log", "step", "choices"}


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
        if self.choices:
            return {"choices": list(self.choices)}
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}


@dataclass(frozen=True)
class Cell:
    """One run of a trial: a noise rate, where there is one, and a seed."""

    rate: float | None
    seed: int

    @property
    def key(self) -> str:
        return f"seed{self.seed}" if self.rate is None else f"noise{self.rate:g}/seed{self.seed}"

    def overrides(self) -> list[str]:
        rate = [] if self.rate is None else [f"noise.rate={self.rate:g}"]
        return [*rate, f"seed={self.seed}"]


@dataclass(frozen=True)
class Study:
    """A checked study. ``overrides`` are those of all its runs; ``folder`` takes its files."""

    name: str
    space: Mapping[str, Dimension]
    overrides: tuple[str, ...]
    noise_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    selection: str
    n_trials: int
    workers: int
    storage: str | None
    sampler: Plain
    pruner: Plain
    report: str
    folder: Path
    retry: bool

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        rates: tuple[float | None, ...] = self.noise_rates or (None,)
        return tuple(Cell(rate, seed) for rate in rates for seed in self.seeds)

    def run_overrides(self, params: Mapping[str, Value], cell: Cell) -> list[str]:
        """The command line of one run."""
        return [*self.overrides, *assignments(params), *cell.overrides()]

    @cached_property
    def definition(self) -> Plain:
        """All that must stay as it is while a study goes on, as dotted keys and plain values."""
        first = {key: dimension.ends[0] for key, dimension in self.space.items()}
        run = _flat(identity(run_config(self.run_overrides(first, self.cells[0]))))
        own = {key for key in run if key in self.space or any(key.startswith(f"{group}.") for group in self.space)}
        return {
            "space": {key: dimension.record() for key, dimension in self.space.items()},
            "noise_rates": list(self.noise_rates),
            "seeds": list(self.seeds),
            "selection": self.selection,
            "report": self.report,
            "run": {key: value for key, value in run.items() if key not in own | {"noise.rate", "noise.seed", "seed"}},
        }


def assignments(params: Mapping[str, Value]) -> list[str]:
    """Overrides that set the parameters."""
    return [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in params.items()]


def run_config(overrides: Sequence[str]) -> Plain:
    """The checked config of one run. Raises InputError, or an error of Hydra that ``one_line`` explains."""
    return checked(compose("config", overrides=list(overrides)))


# ---- from words to a study


def study_of(words: Sequence[str]) -> Study:
    """The study that a command line asks for. Hydra is initialised. Raises InputError; writes nothing."""
    name, own, others = _sorted_out(words)
    settings = _settings(name, own)
    space = _space(settings["space"])
    _refuse_varied(others, space)
    given = {_key(word) for word in others}
    always = settings["overrides"] or []
    if not isinstance(always, list) or not all(isinstance(word, str) and "=" in word for word in always):
        raise InputError(f"study.overrides={always}: must be a list of overrides, like ['trainer.epochs=30']")
    overrides = [word for word in always if _key(word) not in given] + others
    place = checked(compose("config", overrides=overrides))
    report = settings["pruner"].pop("report", None)
    if report not in REPORTS:
        raise InputError(f"study.pruner.report={report}: choose one of {', '.join(REPORTS)}")
    return Study(
        name=_name(settings["name"]),
        space=space,
        overrides=tuple(overrides),
        noise_rates=tuple(float(rate) for rate in _numbers(settings, "noise_rates", float)),
        seeds=tuple(int(seed) for seed in _numbers(settings, "seeds", int)),
        selection=_selection(settings["selection"], place),
        n_trials=_count(settings, "n_trials"),
        workers=_count(settings, "workers"),
        storage=settings["storage"],
        sampler=settings["sampler"],
        pruner=settings["pruner"],
        report=report,
        folder=Path(place["runs_dir"]).expanduser().absolute() / "studies" / settings["name"],
        retry=place["retry"],
    )


def check_runs(study: Study) -> None:
    """See that every rate, seed and end of the space makes a run that is allowed, and that each key has an effect.

    Fetches data that is to be downloaded. Raises InputError.
    """
    low = {key: dimension.ends[0] for key, dimension in study.space.items()}
    for cell in study.cells:
        config = run_config(study.run_overrides(low, cell))
    fetch(config)
    first = study.cells[0]
    at_low = digest(identity(run_config(study.run_overrides(low, first))))
    for key, dimension in study.space.items():
        others = dimension.choices[1:] or (dimension.high,)
        found = [identity(run_config(study.run_overrides({**low, key: value}, first))) for value in others]
        if at_low in map(digest, found):
            raise InputError(f"study.space.{key} changes nothing in these runs: leave it out, or change the overrides")


def _sorted_out(words: Sequence[str]) -> tuple[str, list[str], list[str]]:
    """The study's name, the overrides of the study itself, those of its runs."""
    names = [word.partition("=")[2] for word in words if word.startswith("study=")]
    flags = [word for word in words if word.startswith("-") or "=" not in word]
    if flags:
        raise InputError(f"{flags[0]}: not understood; python -m sweeps.tune --help says what is")
    if len(names) != 1:
        raise InputError(f"give one study=NAME; there are {', '.join(study_names())}")
    rest = [word for word in words if not word.startswith("study=")]
    own = [word for word in rest if _key(word).startswith(("study.", "study/"))]
    return names[0], own, [word for word in rest if word not in own]


def study_names() -> list[str]:
    return sorted(file.stem for file in (CONF / "study").glob("*.yaml") if file.stem != BASE)


def _settings(name: str, own: Sequence[str]) -> Plain:
    if name not in study_names():
        raise InputError(f"study={name}: no such study; choose one of {', '.join(study_names())}")
    composed = [word for word in own if not word.startswith("study.storage=")]  # an URL is not in Hydra's grammar
    known = {str(key) for key in OmegaConf.load(CONF / "study" / f"{BASE}.yaml")} - {"defaults"} | {"sampler", "pruner"}
    for word in composed:
        key = _key(word).partition("study.")[2].partition(".")[0]
        if key and key not in known:
            raise InputError(f"study.{key}: no such key; there are {', '.join(sorted(known))}")
    plain = OmegaConf.to_container(compose(f"study/{name}", overrides=composed).study, resolve=True)
    assert isinstance(plain, dict)
    settings: Plain = {str(key): value for key, value in plain.items()}
    unknown = set(settings) - known
    if unknown:
        raise InputError(f"conf/study/{name}.yaml: {min(unknown)} is no key of a study")
    for word in own:
        if word.startswith("study.storage="):
            settings["storage"] = _storage(word.partition("=")[2])
    return settings


def _storage(text: str) -> str | None:
    bare = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
    found = OmegaConf.create({"storage": bare}).storage  # ${oc.env:NAME} keeps a password off the command line
    return None if found in ("", "null") else str(found)


def _name(name: object) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise InputError(f"study.name={name}: use letters, digits, '.', '_' and '-', since a folder is named by it")
    return name


def _selection(selection: object, config: Plain) -> str:
    if selection not in SELECTIONS:
        raise InputError(f"study.selection={selection}: choose one of {', '.join(SELECTIONS)}")
    if selection == "validation" and not config["data"].get("validation"):
        raise InputError("study.selection=validation needs held-out images: set data.validation above 0, such as 0.1")
    return str(selection)


def _count(settings: Plain, key: str) -> int:
    value = settings[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"study.{key}={value}: must be a whole number, at least 1")
    return value


def _numbers(settings: Plain, key: str, kind: type) -> list[Any]:
    values = settings[key] or []
    allowed = (int,) if kind is int else (int, float)
    if not isinstance(values, list) or any(isinstance(v, bool) or not isinstance(v, allowed) for v in values):
        raise InputError(f"study.{key}={values}: must be a list of numbers, like [1, 2]")
    if len(set(values)) < len(values) or (kind is int and not values):
        raise InputError(f"study.{key}={values}: give at least one, and each once")
    return values


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0].partition("@")[0]


def _refuse_varied(others: Sequence[str], space: Mapping[str, Dimension]) -> None:
    for word in others:
        key = _key(word)
        if key in ("noise.rate", "seed"):
            own = "noise_rates" if key == "noise.rate" else "seeds"
            raise InputError(f"{word}: the study sets it; give study.{own}=[...] instead")
        if key in space or _sets_only(key, word.partition("=")[2], space):
            raise InputError(f"{word}: the study varies it; leave it out, or narrow study.space.{key}")


def _sets_only(group: str, option: str, space: Mapping[str, Dimension]) -> bool:
    """Whether an option of a group holds nothing but what the study varies."""
    file = CONF / group / f"{option}.yaml"
    if "." in group or not file.is_file():
        return False
    values = OmegaConf.to_container(OmegaConf.load(file))
    return isinstance(values, dict) and bool(values) and all(f"{group}.{key}" in space for key in map(str, values))


# ---- the space


def _space(nested: object) -> dict[str, Dimension]:
    space = {key: _dimension(key, leaf) for key, leaf in _leaves("", nested)}
    if not space:
        raise InputError("study.space is empty: say what varies, as a key with {low, high} or {choices}")
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
    if "choices" in leaf:
        choices = leaf["choices"]
        plain = isinstance(choices, list) and all(isinstance(c, Value) for c in choices)
        if len(leaf) > 1 or not plain or len(choices) < 2 or len(set(choices)) < len(choices):
            raise InputError(f"{where}: choices stand alone: a list of two or more different words or numbers")
        return Dimension(choices=tuple(choices))
    return _range(where, leaf)


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


def _flat(node: Mapping[str, Any], place: str = "") -> Plain:
    found: Plain = {}
    for key, value in node.items():
        below = f"{place}.{key}" if place else str(key)
        found.update(_flat(value, below) if isinstance(value, Mapping) else {below: value})
    return found


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two definitions, as ``key was A, is B``."""
    old, new = _flat(before), _flat(now)
    keys = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
    return [f"{key.removeprefix('run.')} was {old.get(key)}, is {new.get(key)}" for key in keys]
