"""The numbers that the SANM paper reports, and the setting they belong to."""

from collections.abc import Hashable, Mapping
from functools import cache
from pathlib import Path

import pandas as pd

from analysis import provenance
from analysis.blocks import Group, percent, shown

BETWEEN_NOTES = " | "
DATASETS = ("cifar10", "cifar100")
DATASET_TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "clothing1m": "Clothing1M"}
# The paper's methods by their names here; what is not here keeps the paper's.
METHODS = {
    "CE": "ce",
    "Cross-Entropy": "ce",
    "Co-teaching": "coteaching",
    "CDR": "cdr",
    "ELR+": "elr_plus",
    "DivideMix": "dividemix",
    "C2D": "c2d",
}
# The basic mask ratio that the paper takes, and the range in which it finds no other much worse (Fig. 4).
TAU = 0.2
GOOD_TAU = (0.1, 0.3)
# Which experiment Table 5 is, and under which settings its numbers were made.
EXPERIMENT: dict[str, object] = {"base_method.name": "dividemix", "noise.name": "symmetric"}
PROTOCOL: dict[str, object] = {
    "data.subset": None,
    "data.test_subset": None,
    "data.validation": None,
    "data.augment.crop_padding": 4,
    "data.augment.flip": True,
    "noise.convention": "inclusive",
    "model.widths": (64, 128, 256, 512),
    "model.blocks": (2, 2, 2, 2),
    "trainer.epochs": 300,
    "trainer.batch_size": 64,
    "trainer.lr": 0.02,
    "trainer.momentum": 0.9,
    "trainer.weight_decay": 5e-4,
    "trainer.milestones": (150,),
    "trainer.decay": 0.1,
    "trainer.last_window": 10,
    "trainer.optimizer": "sgd",
    "trainer.schedule": "steps",
    "trainer.epoch_samples": None,
}
# What each of the paper's methods starts from, and which networks have its PreAct ResNet-18's place. C2D's is its own.
START: dict[str, tuple[str, ...]] = {"pretrain.name": ("none",), "model.name": ("preact_resnet",)}
START_OF = {"c2d": {"pretrain.name": ("simclr",), "model.name": ("preact_resnet", "resnet")}}
SETTING: dict[str, object] = PROTOCOL | {"base_method.learn_from": "weak"}
# What DivideMix has as it was published, on which the paper builds; a record leaves out what was not yet a setting.
DIVIDEMIX: dict[str, object] = {
    "base_method.views": 2,
    "base_method.guess_on": "weak",
    "base_method.guess_mode": "train",
    "base_method.temperature": 0.5,
    "base_method.alpha": 4,
    "base_method.ramp_up": 16,
    "base_method.unlabeled_rows": True,
    "quality.iterations": 10,
}
# The same by data set and noise.
BY_NOISE = (
    "base_method.warm_up",
    "components.start",  # where there is SANM
    "base_method.lambda_u",
    "base_method.threshold",
    "base_method.confidence_penalty",
    "quality.window",
)
WARM_UP = {"cifar10": 10, "cifar100": 30}
LAMBDA_U = {
    "cifar10": {0.2: 0, 0.5: 25, 0.8: 25, 0.9: 50},
    "cifar100": {0.2: 25, 0.5: 150, 0.8: 150, 0.9: 150},
}
# The same for what only runs with SANM have.
SANM_SETTING: dict[str, object] = {
    "tau.value": TAU,
    "mask_strategy.name": "adaptive",
    "mask_strategy.aspect": 0.8,
    "mask_source.name": "self",
    "variant.masked_views": "joint",
    "variant.masked_target": "method",
    "variant.unmasked_views": "kept",
    "variant.activation": "class",
    "variant.ratio_at_maximum": "two_minus_w",
    "variant.ratio_at_minimum": "one_minus_w",
    "variant.painted_part": 1,
    "variant.anchor": "center",
    "variant.fill": "pixel_uniform",
    "variant.label_ratio": "realised",
    "variant.reconstruction_space": "image",
    "variant.reconstruction_weight": 1,
}


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
    parts = numbers["method"].str.extract(r"^(?P<plugin>SANM\()?(?P<method>.+?)\)?$")
    numbers = numbers.assign(
        base_method=parts["method"].map(lambda printed: METHODS.get(printed, printed)),
        components=parts["plugin"].map(lambda plugin: "none" if pd.isna(plugin) else "full"),
    )
    return numbers.rename(columns={"accuracy": "paper"}).reset_index(drop=True)


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
        if (settings.get(key) or None) != value  # a validation share of 0.0 is none
    ]
    of_method = methods_departures(group.runs).values() if "base_method.name" in settings else ()
    return [*found, *(departure for departures in of_method for departure in departures)]


def methods_departures(runs: pd.DataFrame) -> dict[str, list[str]]:
    """For each method of the paper that is run in another way than in the paper: how."""
    found = {}
    asked = runs.reindex(columns=[*{*runs.columns, "base_method.name", *START, *DIVIDEMIX, *BY_NOISE}])
    for method, own in asked[asked["base_method.name"].isin(METHODS.values())].groupby("base_method.name"):
        departures = [*_other_start(own, str(method)), *(_other_dividemix(own) if method == "dividemix" else ())]
        if departures:
            found[str(method)] = departures
    return found


def _other_start(runs: pd.DataFrame, method: str) -> list[str]:
    found = []
    for key, allowed in {**START, **START_OF.get(method, {})}.items():
        others = runs.loc[~runs[key].isin(allowed), key]
        if len(others):
            found.append(_departure(key, provenance.distinct(others), " or ".join(allowed)))
    return found


def _other_dividemix(runs: pd.DataFrame) -> list[str]:
    found = []
    for key, value in DIVIDEMIX.items():
        others = _others(runs[key], value)
        if len(others):
            found.append(_departure(key, provenance.distinct(others), value))
    place = ["data.name", "noise.name", "noise.rate"]
    for _, own in runs.groupby(place):
        dataset, noise, rate = own[place].iloc[0]
        for key, value in _dividemix(dataset, noise, rate).items():
            others = _others(own[key], value)
            if len(others):
                found.append(_departure(f"{key} at {percent(rate)}", provenance.distinct(others), value))
    return found


def _others(values: pd.Series, expected: object) -> pd.Series:
    """Those that are there and are others."""
    return values[values.notna() & (values != expected)]


def _dividemix(dataset: str, noise: str, rate: float) -> dict[str, object]:
    """DivideMix's settings for a data set and noise; what was not published for them is left out."""
    symmetric = noise == "symmetric"
    hardest = symmetric and rate == 0.9
    warm_up, lambda_u = WARM_UP.get(dataset), LAMBDA_U.get(dataset, {}).get(rate) if symmetric else 0
    values = (warm_up, warm_up, lambda_u, 0.6 if hardest else 0.5, not symmetric, 5 if hardest else 1)
    return {key: value for key, value in zip(BY_NOISE, values, strict=True) if value is not None}


def _departure(key: str, found: str, expected: object) -> str:
    return f"{key} {found} (paper: {shown(expected)})"
