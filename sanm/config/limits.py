"""What a setting may be, read from the YAML file that gives it its value: a setting has one home.

A value there shows its kind (a word, a whole number, a number, true or false, a list, a table); what it cannot show
stands in the same file, below ``allowed``:

    allowed:
      guess_mode: [train, eval]                    # one of these words
      lambda_u: {at_least: 0}                      # also above, at_most; of a list: each of its numbers
      learn_from: {some_of: [weak, none]}          # one of these words, or a list of different ones
      warm_up: {whole: true, at_least: 0}          # where the value does not show that it is whole
      path: text                                   # where the value is null: text, or table
      augment.crop: {whole: true, at_least: 8}     # of a table in the group

It holds for the key in all options of the group, but for those that say another of their own. A setting may be null
where an option of the same name has it null.

A setting that runs were made without has a line below ``came_later``, with the value that they had in effect. It is
left out of a run's identity where it has that value, so that those runs keep their names.

``reading: ours`` in the file of a method says that it is read out of a paper that came without code. It is no setting
and no part of a run; tables mark the method's rows by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from sanm.errors import InputError

CONF = Path(__file__).resolve().parents[2] / "conf"
ALLOWED, TABLES, CAME_LATER, READING = "allowed", "tables", "came_later", "reading"
OURS = "ours"
ASIDE = (ALLOWED, TABLES, CAME_LATER, READING, "defaults")
"""What a group's file holds beside settings."""
TOP = ""
"""The group of the settings in ``conf/config.yaml`` itself."""

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Five times as fast, where PyYAML has it."""

Plain = dict[str, Any]


@dataclass(frozen=True)
class Limit:
    """What ``allowed`` says of one setting."""

    choices: tuple[Any, ...] = ()
    several: bool = False
    kind: Literal["text", "table", "number"] | None = "number"
    whole: bool = False
    at_least: float = -math.inf
    at_most: float = math.inf
    above: float = -math.inf

    @classmethod
    def of(cls, entry: Any) -> Limit:
        if isinstance(entry, list):
            return cls(choices=tuple(entry))
        if isinstance(entry, dict) and "some_of" in entry:
            return cls(choices=tuple(entry["some_of"]), several=True)
        return cls(**entry) if isinstance(entry, dict) else cls(kind=entry)

    def holds(self, number: float) -> bool:
        """Ends included but for ``above``; what is not finite is never allowed."""
        return math.isfinite(number) and self.at_least <= number <= self.at_most and number > self.above

    def chooses(self, value: Any) -> bool:
        """Whether the value is among the choices, or, where several are allowed, a list of different ones."""
        chosen = value if self.several and isinstance(value, list) else [value]
        return bool(chosen) and all(each in self.choices and chosen.count(each) == 1 for each in chosen)

    def __str__(self) -> str:
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}" + (", or a list of some" if self.several else "")
        if self.kind != "number":
            return self.kind or ""
        low, bracket = (self.above, "(") if math.isfinite(self.above) else (self.at_least, "[")
        if math.isfinite(self.at_most):
            return f"in {bracket}{low}, {self.at_most}]"
        return "" if math.isinf(low) else f"{'above' if bracket == '(' else 'at least'} {low}"


NO_LIMIT = Limit(kind=None)


def groups() -> tuple[str, ...]:
    """The groups that a run's config has, in the order of the defaults list."""
    entries = [entry for entry in _options(CONF, TOP)["config"]["defaults"] if isinstance(entry, dict)]
    names = [str(name) for entry in entries for name in entry]
    return tuple(name for name in names if name != "preset" and not name.startswith("override "))


def limits(group: str, of: Iterable[Plain] = ()) -> dict[str, Limit]:
    """The limits of a group's settings, by their names within it: of each what the first file that has it says, but
    what the options ``of`` say of their own comes before it."""
    found: dict[str, Limit] = {}
    for option in (*of, *_options(CONF, group).values()):
        for key, entry in option.get(ALLOWED, {}).items():
            found.setdefault(key, Limit.of(entry))
    return found


def came_later() -> dict[str, Plain]:
    """Of each group: the settings that earlier runs did not have, and what those did."""
    found: dict[str, Plain] = dict(_options(CONF, TOP)["config"].get(CAME_LATER, {}))
    for group in groups():
        for option in _options(CONF, group).values():
            if CAME_LATER in option:
                found[group] = {**found.get(group, {}), **option[CAME_LATER]}
    return found


def our_readings(group: str) -> frozenset[str]:
    """The options that are our reading of a paper, no replication. Raises InputError for another word than ours."""
    said = {name: option[READING] for name, option in _options(CONF, group).items() if READING in option}
    for name, word in said.items():
        if word != OURS:
            raise InputError(f"conf/{group}/{name}.yaml: {READING}: {_shown(word)}: must be {OURS}, or left out")
    return frozenset(said)


def described() -> str:
    """All limits, a line each, for people."""
    lines = []
    for group in (*groups(), TOP):
        for key, limit in limits(group).items():
            if limit.kind == "number":
                lines.append(f"{_at(group, key)}: {_expected(_examples_of(group, key), limit)}")
    return "\n".join(lines)


def options(group: str) -> list[str]:
    """The names of a group's options."""
    return list(_options(CONF, group))


def option(group: str, name: str) -> Plain:
    """The settings of an option as its file gives them."""
    return {key: value for key, value in _options(CONF, group)[name].items() if key not in ASIDE}


def keys() -> list[str]:
    """Every setting that there is in some option, by its full name."""
    every = [(group, option) for group in (*groups(), TOP) for option in _options(CONF, group).values()]
    return sorted({_at(group, key) for group, option in every for key in _flat(option)})


def check_keys(config: Mapping[str, Any]) -> None:
    """Raises InputError for a setting that is missing or that nobody knows; values may be unresolved."""
    whole = [{**option, **{group: {} for group in groups()}} for option in _options(CONF, TOP).values()]
    _check_keys(TOP, {key: {} if key in groups() else value for key, value in config.items()}, whole)
    for group in groups():
        if not isinstance(config[group], dict):
            raise InputError(f"{group}={_shown(config[group])}: choose an option of the group")
        _check_keys(group, config[group], _named(group, config[group]))


def checked_values(group: str, values: Mapping[str, Any]) -> Plain:
    """The resolved values of a group, whole numbers as such, without what it holds beside settings.

    Raises InputError, one line that names the setting.
    """
    named = _named(group, values)
    return _checked(group, values, named, limits(group, named), "")


def check_value(group: str, key: str, value: Any) -> None:
    """Raises InputError, one line that names the setting, when it may not have the value."""
    _fitting(_at(group, key), value, _examples_of(group, key), limits(group).get(key, NO_LIMIT))


def check_number(key: str, value: Any, limit: Limit) -> None:
    """Raises InputError, which names the key, for a value that is set and is no number within the limit."""
    if value is not None and _fit(value, None, limit) is None:
        raise InputError(f"{key}={_shown(value)}: must be {_expected((), limit)}")


# ---- reading


def _read(file: Path) -> Plain:
    found: Plain = yaml.load(file.read_bytes(), Loader=LOADER)
    return found


@cache
def _options(conf: Path, group: str) -> dict[str, Plain]:
    """The options of a group as their files give them; values that are looked up, as one that is found."""
    if group == TOP:
        config = _read(conf / "config.yaml")
        del config["hydra"]
        return {"config": {**_examples(config), "quality": _examples(config["quality"])}}
    return {file.stem: _examples(_read(file)) for file in sorted((conf / group).glob("*.yaml"))}


def _examples(option: Plain) -> Plain:
    found = dict(option)
    for key, value in option.items():
        if isinstance(value, str) and "from_table" in value and key in option.get(TABLES, {}):
            leaf = option[TABLES][key]
            while isinstance(leaf, dict):
                leaf = next(iter(leaf.values()))
            found[key] = float(leaf) if isinstance(leaf, int) and not isinstance(leaf, bool) else leaf
    return found


def _named(group: str, values: Mapping[str, Any]) -> list[Plain]:
    """The options of the group that have the name that the values have; all, where options have none."""
    options = list(_options(CONF, group).values())
    names = {str(option["name"]) for option in options if "name" in option}
    if not names:
        return options
    if str(values.get("name")) not in names:
        raise InputError(f"{group}.name={_shown(values.get('name'))}: choose one of {', '.join(sorted(names))}")
    return [option for option in options if option.get("name") == values["name"]]


def _examples_of(group: str, key: str) -> tuple[Any, ...]:
    options = [_flat(option) for option in _options(CONF, group).values()]
    return tuple(option[key] for option in options if key in option)


def _flat(option: Mapping[str, Any]) -> Plain:
    found: Plain = {}
    for key, value in option.items():
        if key not in ASIDE:
            below = _flat(value) if isinstance(value, dict) else {"": value}
            found |= {f"{key}.{name}".rstrip("."): each for name, each in below.items()}
    return found


# ---- checking


def _check_keys(place: str, values: Mapping[str, Any], options: list[Plain]) -> None:
    known = dict.fromkeys(key for option in options for key in option if key not in ASIDE)
    for key in values:
        if str(key) not in known and key not in ASIDE:
            raise InputError(f"{_at(place, key)}: no such key; there are {', '.join(known)}")
    for key in known:
        if key not in values or values[key] == "???":
            raise InputError(f"{_at(place, key)} is missing: give it a value, or leave its deletion out")
        tables = _tables(options, key)
        if tables and isinstance(values[key], dict):
            _check_keys(_at(place, key), values[key], tables)


def _checked(
    place: str, values: Mapping[str, Any], options: list[Plain], limits: Mapping[str, Limit], below: str
) -> Plain:
    found: Plain = {}
    for key in dict.fromkeys(key for option in options for key in option if key not in ASIDE):
        value, name = values[key], f"{below}{key}"
        tables = _tables(options, key)
        if tables and isinstance(value, dict):
            found[key] = _checked(_at(place, key), value, tables, limits, f"{name}.")
        else:
            examples = tuple(option[key] for option in options if key in option)
            found[key] = _fitting(_at(place, key), value, examples, limits.get(name, NO_LIMIT))
    return found


def _tables(options: Iterable[Plain], key: str) -> list[Plain]:
    return [option[key] for option in options if isinstance(option.get(key), dict)]


def _fitting(key: str, value: Any, examples: tuple[Any, ...], limit: Limit) -> Any:
    """The value, if it is of a kind with the examples and within the limit."""
    if value is None and any(each is None or (_is_reference(each) and each.endswith(",null}")) for each in examples):
        return None
    expected = _expected(examples, limit)
    if limit.choices:
        if not limit.chooses(value):
            raise InputError(f"{key}={_shown(value)}: choose {expected}")
        return value
    kinds = [each for each in examples if each is not None and not _is_reference(each)]
    fits = value if not kinds and limit.kind is None else _fit(value, kinds[0] if kinds else None, limit)
    if fits is None:
        raise InputError(f"{key}={_shown(value)}: must be {expected}")
    return fits


def _fit(value: Any, example: Any, limit: Limit) -> Any:
    """The value as one of the example's kind, or of the limit's; None where it is none."""
    if isinstance(example, list):
        literal = [each for each in example if not _is_reference(each)]
        if not isinstance(value, list):
            return None
        fits = [_fit(each, literal[0] if literal else None, limit) for each in value]
        return None if None in fits else fits
    if isinstance(example, bool):
        return value if isinstance(value, bool) else None
    if isinstance(example, dict) or limit.kind == "table":
        return value if isinstance(value, dict) else None
    if isinstance(example, str) or limit.kind == "text":
        return value if isinstance(value, str) and value.strip() else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not limit.holds(value):
        return None
    if not (limit.whole or isinstance(example, int)):
        return value
    return int(value) if value == int(value) else None


def _is_reference(example: Any) -> bool:
    return isinstance(example, str) and "${" in example


def _expected(examples: Iterable[Any], limit: Limit) -> str:
    if limit.choices:
        return str(limit)
    kinds = [each for each in examples if each is not None and not _is_reference(each)]
    example = kinds[0] if kinds else None
    if isinstance(example, list):
        return f"a list, each {_expected((), limit)}, like {example}"
    if isinstance(example, bool):
        return "true or false"
    if isinstance(example, dict) or limit.kind == "table":
        return "a table"
    if isinstance(example, str) or limit.kind == "text":
        return "text that is not empty (in quotes, where it looks like a number)"
    whole = limit.whole or isinstance(example, int)
    return f"a {'whole ' if whole else ''}number {limit}".rstrip()


def _at(place: str, key: object) -> str:
    return f"{place}.{key}" if place else str(key)


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
