"""What a study is: its YAML and the command line, checked, before anything heavy is imported."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import OmegaConf

from sanm.config.checks import CONF, checked
from sanm.config.limits import ASIDE
from sanm.config.override_words import check_words, key_of
from sanm.errors import InputError
from sanm.fetch import fetch
from sanm.record.identity import digest, flat, identity
from sanm.run import ONE_AT_A_TIME
from sweeps.studies.space import Dimension, Value, space_of

Plain = dict[str, Any]

SELECTIONS = {
    "validation": "accuracy on the held-out noisy labels, at each run's best epoch",
    "test_oracle": "TEST ORACLE: highest test accuracy of any epoch; chosen on the test set, so no fair comparison",
}
COLUMNS = {"validation": "validation_accuracy", "test_oracle": "test_accuracy"}
"""The column of a run's metrics whose maximum is the run's score, for each selection rule."""

REPORTS = ("run", "epoch")
BASE = "base"
MOST_TRIALS, MOST_WORKERS = 1_000_000, 1024


@dataclass(frozen=True)
class Cell:
    """One run of a trial: overrides of its own, where there are some, a noise rate, where there is one, and a seed."""

    rate: float | None
    seed: int
    own: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        rate = [] if self.rate is None else [f"noise{self.rate:g}"]
        return "/".join([*([",".join(self.own)] if self.own else []), *rate, f"seed{self.seed}"])

    @property
    def kind(self) -> str:
        """What it has in common with the same run of other seeds, for people."""
        rate = [] if self.rate is None else [f"noise {self.rate:g}"]
        return ", ".join([*self.own, *rate]) or "all runs"

    def overrides(self) -> list[str]:
        rate = [] if self.rate is None else [f"noise.rate={self.rate:g}"]
        return [*self.own, *rate, f"seed={self.seed}"]


def cells_of(across: Sequence[Sequence[str]], rates: Sequence[float], seeds: Sequence[int]) -> tuple[Cell, ...]:
    """The runs of a trial."""
    each: Sequence[float | None] = rates or (None,)
    return tuple(Cell(rate, seed, tuple(own)) for own in across or ((),) for rate in each for seed in seeds)


@dataclass(frozen=True)
class Study:
    """A checked study. ``overrides`` are those of all its runs; ``folder`` takes its files."""

    name: str
    space: Mapping[str, Dimension]
    overrides: tuple[str, ...]
    across: tuple[tuple[str, ...], ...]
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
        return cells_of(self.across, self.noise_rates, self.seeds)

    def run_overrides(self, params: Mapping[str, Value], cell: Cell) -> list[str]:
        """The command line of one run."""
        return [*self.overrides, *assignments(params), *cell.overrides()]

    def point(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Of values for all keys, those that have a part together."""
        found: dict[str, Value] = {}
        for key, dimension in self.space.items():
            if dimension.applies(found):
                found[key] = values[key]
        return found

    def example(self, wanted: str | None = None) -> dict[str, Value]:
        """The low ends, with whatever choice it takes that the wanted key has a part."""
        values = {key: dimension.ends[0] for key, dimension in self.space.items()}
        while wanted is not None and (condition := self.space[wanted].when) is not None:
            wanted, values[condition[0]] = condition
        return self.point(values)

    @cached_property
    def definition(self) -> Plain:
        """All that must stay as it is while a study goes on, as dotted keys and plain values."""
        run = flat(identity(run_config(self.run_overrides(self.example(), self.cells[0]))))
        own = {key for key in run if key in self.space or any(key.startswith(f"{group}.") for group in self.space)}
        return {
            "space": {key: dimension.record() for key, dimension in self.space.items()},
            "noise_rates": list(self.noise_rates),
            "seeds": list(self.seeds),
            **({"across": [list(own) for own in self.across]} if self.across else {}),
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
    space = space_of(settings["space"])
    _refuse_varied(others, space)
    given = {key_of(word) for word in others}
    always = settings["overrides"] or []
    if not isinstance(always, list) or not all(isinstance(word, str) and "=" in word for word in always):
        raise InputError(f"study.overrides={always}: must be a list of overrides, like ['trainer.epochs=30']")
    overrides = [word for word in always if key_of(word) not in given] + others
    across = _across(settings["across"], space, given)
    place = checked(compose("config", overrides=overrides))
    report = settings["pruner"].pop("report", None)
    if report not in REPORTS:
        raise InputError(f"study.pruner.report={report}: choose one of {', '.join(REPORTS)}")
    return Study(
        name=_name(settings["name"]),
        space=space,
        overrides=tuple(overrides),
        across=across,
        noise_rates=tuple(float(rate) for rate in _numbers(settings, "noise_rates", float)),
        seeds=tuple(int(seed) for seed in _numbers(settings, "seeds", int)),
        selection=_selection(settings["selection"], place),
        n_trials=_count(settings, "n_trials", MOST_TRIALS),
        workers=_count(settings, "workers", MOST_WORKERS),
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
    for cell in study.cells:
        fetch(run_config(study.run_overrides(study.example(), cell)))
    first = study.cells[0]
    for key, dimension in study.space.items():
        low = study.example(key)
        at_low = digest(identity(run_config(study.run_overrides(low, first))))
        others = dimension.choices[1:] or (dimension.high,)
        ends = {each: dimension.ends[0] for each, dimension in study.space.items()}
        found = [run_config(study.run_overrides(study.point({**ends, **low, key: value}), first)) for value in others]
        if at_low in map(digest, map(identity, found)):
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
    check_words([word for word in rest if not word.startswith("study.storage=")], ONE_AT_A_TIME)
    own = [word for word in rest if key_of(word).startswith(("study.", "study/"))]
    return names[0], own, [word for word in rest if word not in own]


def study_names() -> list[str]:
    return sorted(file.stem for file in (CONF / "study").glob("*.yaml") if file.stem != BASE)


def _settings(name: str, own: Sequence[str]) -> Plain:
    if name not in study_names():
        raise InputError(f"study={name}: no such study; choose one of {', '.join(study_names())}")
    composed = [word for word in own if not word.startswith("study.storage=")]  # an URL is not in Hydra's grammar
    known = {str(key) for key in OmegaConf.load(CONF / "study" / f"{BASE}.yaml")} - {"defaults"} | {"sampler", "pruner"}
    for word in composed:
        key = key_of(word).partition("study.")[2].partition(".")[0]
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


def _count(settings: Plain, key: str, most: int) -> int:
    value = settings[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InputError(f"study.{key}={value}: must be a whole number, at least 1 and at most {most}")
    return value


def _numbers(settings: Plain, key: str, kind: type) -> list[Any]:
    values = settings[key] or []
    allowed = (int,) if kind is int else (int, float)
    if not isinstance(values, list) or any(isinstance(v, bool) or not isinstance(v, allowed) for v in values):
        raise InputError(f"study.{key}={values}: must be a list of numbers, like [1, 2]")
    if len(set(values)) < len(values) or (kind is int and not values):
        raise InputError(f"study.{key}={values}: give at least one, and each once")
    return values


def _across(lists: object, space: Mapping[str, Dimension], given: set[str]) -> tuple[tuple[str, ...], ...]:
    words = lists or []
    if not isinstance(words, list) or not all(isinstance(own, list) and own for own in words):
        raise InputError(f"study.across={lists}: must be a list of lists of overrides, like [[base_method=elr]]")
    for own in words:
        if not all(isinstance(word, str) and "=" in word for word in own):
            raise InputError(f"study.across: {own}: must be overrides, like base_method=elr")
        _refuse_varied(own, space)
        twice = [word for word in own if key_of(word) in given]
        if twice:
            raise InputError(f"{twice[0]}: study.across sets it, and so does the command line; leave one out")
    if len({tuple(own) for own in words}) < len(words):
        raise InputError("study.across: each list once")
    return tuple(tuple(own) for own in words)


def _refuse_varied(others: Sequence[str], space: Mapping[str, Dimension]) -> None:
    for word in others:
        key = key_of(word)
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
    own = [str(key) for key in OmegaConf.load(file) if key not in ASIDE]
    return bool(own) and all(f"{group}.{key}" in space for key in own)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two definitions, as ``key was A, is B``."""
    old, new = flat(before), flat(now)
    keys = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
    return [f"{key.removeprefix('run.')} was {old.get(key)}, is {new.get(key)}" for key in keys]
