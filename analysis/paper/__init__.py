"""The numbers that the SANM paper reports, and the setting they belong to."""

import csv
from collections.abc import Hashable, Mapping
from functools import cache
from pathlib import Path

import pandas as pd
import yaml

from analysis.compare import provenance
from analysis.compare.blocks import Group, percent, shown
from sanm.config.checks import value_at
from sanm.config.limits import option

BETWEEN_NOTES = " | "
DATASETS = ("cifar10", "cifar100")
DATASET_TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "clothing1m": "Clothing1M"}
# The paper's methods by their names here, and the settings that make ours theirs (paper_methods.csv).
with Path(__file__).with_name("paper_methods.csv").open(newline="") as _file:
    _NAMED = [*csv.DictReader(_file)]
METHODS = {row["method"]: row["base_method"] for row in _NAMED}
ASKED_OF = {row["base_method"]: yaml.safe_load(f"{{{row['asked'].replace('=', ': ')}}}") for row in _NAMED}
# In this order methods stand in tables: those that it lifts first, then as its other tables have them.
TABLES = ("table6_generality", "table1_symmetric", "table2_asymmetric", "table3_clothing1m")
# The paper's settings are those of conf/: its own options and, of DivideMix, on which it builds, as that was published.
_TRAINER = {**option("trainer", "short"), **option("trainer", "paper")}
_DATA, _MODEL = option("data", "cifar10"), option("model", "preact_resnet18")
# The basic mask ratio that the paper takes, and the range in which it finds no other much worse (Fig. 4).
TAU: float = option("tau", "paper")["value"]
GOOD_TAU = (0.1, 0.3)
# Which experiment Table 5 is, and under which settings its numbers were made.
EXPERIMENT: dict[str, object] = {"base_method.name": "dividemix", "noise.name": "symmetric"}
PROTOCOL: dict[str, object] = {
    **{f"data.{key}": _DATA[key] for key in ("subset", "test_subset", "validation")},
    **{f"data.augment.{key}": value for key, value in _DATA["augment"].items()},
    "noise.convention": option("noise", "symmetric")["convention"],
    **{f"model.{key}": tuple(_MODEL[key]) for key in ("widths", "blocks")},
    **{
        f"trainer.{key}": tuple(value) if isinstance(value, list) else value
        for key, value in _TRAINER.items()
        if key not in ("precision", "compile", "save_model", "checkpoint_every", "backbone_lr", "head_epochs")
    },
}
# What each of the paper's methods starts from, and which networks have its PreAct ResNet-18's place. C2D's is its own.
Start = Mapping[str, tuple[str, ...]]
START: Start = {"pretrain.name": ("none",), "model.name": ("preact_resnet",)}
START_OF: dict[str, Start] = {
    "c2d": {"pretrain.name": ("simclr",), "model.name": ("preact_resnet", "resnet")},
    "reed": {"pretrain.name": ("simclr",)},
}
SETTING: dict[str, object] = PROTOCOL | {"base_method.learn_from": "weak"}
# The same for what only runs with SANM have.
SANM_SETTING: dict[str, object] = {
    "tau.value": TAU,
    **{f"mask_strategy.{key}": value for key, value in option("mask_strategy", "adaptive").items()},
    "mask_source.name": "self",
    **{f"variant.{key}": value for key, value in option("variant", "paper").items()},
}
# Of these DivideMix has what its paper or code says, for each data set, noise and rate.
ASKED_OF_DIVIDEMIX = (
    "base_method.views", "base_method.guess_on", "base_method.guess_mode", "base_method.temperature",
    "base_method.alpha", "base_method.ramp_up", "base_method.unlabeled_rows", "base_method.warm_up",
    "components.start", "base_method.lambda_u", "base_method.threshold", "base_method.confidence_penalty",
    "quality.window", "quality.iterations",
)  # fmt: skip


@cache
def reported() -> pd.DataFrame:
    """Every number of the paper: table, method, dataset, noise, rate, statistic, accuracy, setting, footnote.

    `footnote` is what a reader must know before comparing with the number (paper_notes.csv), mostly nothing; several
    are parted by `BETWEEN_NOTES`.
    """
    numbers = pd.read_csv(Path(__file__).with_name("paper.csv"))
    footnotes = pd.Series("", numbers.index)
    for note in notes().to_dict("records"):
        for position in numbers.index[applies(note, numbers)]:
            footnotes[position] = BETWEEN_NOTES.join(filter(None, [footnotes[position], str(note["note"])]))
    return numbers.assign(footnote=footnotes)


@cache
def notes() -> pd.DataFrame:
    """Known traps of the published tables: table, method, dataset, rate, setting, note; an empty field is any."""
    found = pd.read_csv(Path(__file__).with_name("paper_notes.csv")).astype(object)
    return found.where(found.notna(), None)


def applies(note: Mapping[Hashable, object], numbers: pd.DataFrame) -> pd.Series:
    """For each of the numbers, whether the note is about it."""
    about = pd.Series(True, numbers.index)
    for key in ("table", "method", "dataset", "rate", "setting"):
        if note[key] is not None:
            about &= numbers[key] == note[key]
    return about


def numbers_of(table: str, dataset: object) -> pd.DataFrame:
    """The numbers of one table (`table5_components`) for one data set, as columns of `reported` and `paper`.

    Beside them `base_method` and `components`, the method by its name here and full where SANM is on it.
    """
    numbers = reported()
    numbers = numbers[(numbers["table"] == table) & (numbers["dataset"] == dataset)]
    return _by_our_names(numbers).rename(columns={"accuracy": "paper"}).reset_index(drop=True)


@cache
def rows_of(table: str) -> list[tuple[str, str]]:
    """Each row of a table of methods, in print order: the method by its name here, and full where SANM is on it."""
    numbers = _by_our_names(reported()[reported()["table"] == table])
    return [*dict.fromkeys(zip(numbers["base_method"], numbers["components"], strict=True))]


@cache
def order() -> list[str]:
    """The paper's methods by their names here, in the order of `TABLES`."""
    return [*dict.fromkeys(method for table in TABLES for method, _ in rows_of(table))]


def _by_our_names(numbers: pd.DataFrame) -> pd.DataFrame:
    parts = numbers["method"].str.extract(r"^(?P<plugin>SANM\()?(?P<method>.+?)\)?$")
    return numbers.assign(
        base_method=parts["method"].map(lambda printed: METHODS.get(printed, printed)),
        components=parts["plugin"].map(lambda plugin: "none" if pd.isna(plugin) else "full"),
    )


def reported_components(dataset: object) -> pd.DataFrame:
    """Table 5 for one data set, as columns components, rate, statistic, paper, footnote."""
    numbers = numbers_of("table5_components", dataset)
    numbers = numbers.assign(components=numbers["setting"].str.removeprefix("components="))
    return numbers[["components", "rate", "statistic", "paper", "footnote"]]


def departures(group: Group, setting: Mapping[str, object] = SETTING) -> list[str]:
    """How a block departs from the paper's setting; empty where a difference to the paper means something.

    `setting` is what is asked of every run, by default Table 5's; what only runs with SANM have is asked beside it,
    and of a block of one method what that method asks for.
    """
    settings = group.settings
    expected = {**setting} | {key: value for key, value in SANM_SETTING.items() if settings.get(key) is not None}
    found = [
        _departure(key, shown(settings.get(key)), value)
        for key, value in expected.items()
        if (settings.get(key) or None) != (value or None)  # a validation share of 0.0 is none
    ]
    of_method = methods_departures(group.runs).values() if "base_method.name" in settings else ()
    return [*found, *(departure for departures in of_method for departure in departures)]


def methods_departures(
    runs: pd.DataFrame, start: Start = START, start_of: Mapping[str, Start] = START_OF
) -> dict[str, list[str]]:
    """For each method of the paper that is run in another way than in the paper: how.

    `start` is what the table's methods begin from, `start_of` what some of them do instead.
    """
    found = {}
    own_keys = {f"base_method.{key}" for asked in ASKED_OF.values() for key in asked}
    asked = runs.reindex(columns=[*{*runs.columns, "base_method.name", *START, *ASKED_OF_DIVIDEMIX, *own_keys}])
    for method, own in asked[asked["base_method.name"].isin(METHODS.values())].groupby("base_method.name"):
        departures = [
            *_other_start(own, {**start, **start_of.get(str(method), {})}),
            *_other_settings(own, ASKED_OF[str(method)]),
            *(_other_dividemix(own) if method == "dividemix" else ()),
        ]
        if departures:
            found[str(method)] = departures
    return found


def _other_settings(runs: pd.DataFrame, asked: Mapping[str, object]) -> list[str]:
    others = {key: _others(runs[f"base_method.{key}"], value) for key, value in asked.items()}
    return [
        _departure(f"base_method.{key}", provenance.distinct(found), asked[key])
        for key, found in others.items()
        if len(found)
    ]


def _other_start(runs: pd.DataFrame, start: Start) -> list[str]:
    found = []
    for key, allowed in start.items():
        others = runs.loc[~runs[key].isin(allowed), key]
        if len(others):
            found.append(_departure(key, provenance.distinct(others), " or ".join(allowed)))
    return found


def _other_dividemix(runs: pd.DataFrame) -> list[str]:
    place = ["data.name", "noise.name", "noise.rate"]
    groups = [(*own[place].iloc[0], own) for _, own in runs.groupby(place)]
    return [text for key in ASKED_OF_DIVIDEMIX for text in _departures_of(key, groups)]


def _departures_of(key: str, groups: list[tuple[str, str, float, pd.DataFrame]]) -> list[str]:
    """How DivideMix has another value of a setting; said once where that is so at every rate."""
    found = {}
    for dataset, noise, rate, own in groups:
        value = as_published(key, dataset, noise, rate)
        others = _others(own[key], value)
        if value is not None and len(others):
            found[percent(rate)] = (provenance.distinct(others), value)
    if len(set(found.values())) == 1 and len(found) == len({percent(rate) for _, _, rate, _ in groups}) > 1:
        return [_departure(key, *next(iter(found.values())))]
    return [_departure(f"{key} at {rate}", *departure) for rate, departure in found.items()]


def _others(values: pd.Series, expected: object) -> pd.Series:
    """Those that are there and are others."""
    return values[values.notna() & (values != expected)]


@cache
def as_published(key: str, dataset: str, noise: str, rate: float) -> object:
    """DivideMix's setting for a data set and noise; None for what was not published for them."""
    if dataset not in DATASETS:
        return None
    return value_at(
        "base_method.warm_up" if key == "components.start" else key, "dividemix", dataset, noise, float(rate)
    )


def _departure(key: str, found: str, expected: object) -> str:
    return f"{key} {found} (paper: {shown(expected)})"
