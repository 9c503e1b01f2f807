"""Rows that are base methods, each alone and with SANM on it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from analysis import paper
from analysis.compare import provenance
from analysis.compare.blocks import settings_of_sanm, shown
from analysis.compare.comparison import COMPONENTS, FOLLOW_THE_RATE, Comparison, Row
from analysis.paper.beside_paper import PaperTable
from analysis.records.load import setting_columns
from sanm.config.limits import our_readings

METHOD, PRETRAIN, ROWS = "base_method.name", "pretrain.name", "method"
LABELS = {"none": "{}", "full": "SANM({})", "gain": "{}: gain"}
OTHER_PARTS = "{} + {}"
COMPARED = ("none", "full")
OUR_READING = "Our reading of its paper, which comes without code and leaves much open: no replication."
# What belongs to a method, so that methods of one block may differ in it.
OF_A_METHOD = ("base_method.", "pretrain.")
QUALITY = ("quality.window", "quality.iterations")
VARIES = ("components", "base_method", "pretrain", *QUALITY)
# All methods have these, and a gain must not be that of another pool of views.
ALIKE = ("base_method.learn_from", "base_method.guess_on")
FOLLOWS = tuple(key for key in FOLLOW_THE_RATE if not key.startswith(OF_A_METHOD) and key not in QUALITY)
HEAD = {"data.name": "{}", "noise.name": "{} noise", "noise.convention": "{}"}
MAKE = "python -m sanm.run -m base_method=ce,coteaching,cdr,elr_plus,dividemix components=none,full"
# What the paper's numbers ask for; it reports no hyper-parameters of the methods it lifts, but from what they start.
PAPER = paper.PROTOCOL | {"base_method.learn_from": "weak"}


def label(method: object, components: object) -> str:
    """What a method with this component set is called: ce, SANM(ce), ce + amg."""
    return LABELS.get(str(components), OTHER_PARTS).format(method, components)


def labels(runs: pd.DataFrame) -> pd.Series:
    """The row of each run; none for a run without a method."""
    known = runs.reindex(columns=[METHOD, COMPONENTS])
    found = [label(method, parts) for method, parts in known.itertuples(index=False)]
    return pd.Series(found, runs.index, dtype=object).where(known.notna().all(axis=1))


def rows(present: pd.Series, gains: bool = False, every: bool = True) -> list[Row]:
    """Of each method its plain row, its other component sets, SANM's, and the difference of SANM's to the plain one.

    `gains` shows the difference in any case, under the name of a gain; `every`: rows that no run has, too.
    """
    found: dict[str, set[str]] = {}
    for name in present.unique():
        method, parts = split(name)
        found.setdefault(method, set()).add(parts)
    result = []
    for method in ordered(found):
        plain, lifted = label(method, "none"), label(method, "full")
        shown_parts = {*found[method], *(COMPARED if every else ())}
        in_order = sorted(shown_parts, key=lambda name: (name == "full", name != "none", name))
        result += [Row(label(method, parts), about=_about(method, parts)) for parts in in_order]
        name = LABELS["gain"].format(method) if gains else f"{lifted} − {plain}"
        result.append(Row(name, (lifted, plain), _about(method, "gain"), always=gains))
    return result


def printed_rows(table: str, present: pd.Series) -> list[Row]:
    """All rows of a table of the paper, in its order and also those that no run has, then ours as `rows` has them."""
    place = {label(*row): number for number, row in enumerate(paper.rows_of(table))}
    every = rows(pd.Series([*present, *place]), every=False)
    return sorted(
        every, key=lambda row: place.get(row.difference_of[0] if row.difference_of else row.label, len(place))
    )


def _about(method: str, parts: str) -> dict[str, object]:
    note = OUR_READING if method in our_readings("base_method") else ""
    return {METHOD: method, COMPONENTS: parts, "note": note}


def ordered(methods: Iterable[str]) -> list[str]:
    """The paper's methods in its order, then others by name."""
    known, names = paper.order(), {*methods}
    return [*(name for name in known if name in names), *sorted(names - {*known})]


def split(name: str) -> tuple[str, str]:
    """The method and the component set of a row's label."""
    if name.startswith("SANM("):
        return name.removeprefix("SANM(").removesuffix(")"), "full"
    method, _, parts = name.partition(" + ")
    return method, parts or "none"


def numbers(table: str, noise: str | None, settings: Mapping[str, object]) -> pd.DataFrame:
    """A table of the paper whose rows are methods, for a block's data set and noise (any, where None)."""
    found = paper.numbers_of(table, settings.get("data.name"))
    if noise is not None and settings.get("noise.name") != noise:
        found = found.iloc[:0]
    rows_here = [label(method, parts) for method, parts in zip(found["base_method"], found["components"], strict=True)]
    return found.assign(row=rows_here, printed=found["method"])[
        ["row", "printed", "dataset", "rate", "statistic", "paper", "footnote"]
    ]


def with_gains(found: pd.DataFrame) -> pd.DataFrame:
    """The paper's numbers of methods in our order and by our names, with its gains, which are differences of them."""
    parts = found.drop(columns="printed").assign(
        **{METHOD: [split(name)[0] for name in found["row"]], COMPONENTS: [split(name)[1] for name in found["row"]]},
        reference="",
    )
    cell = [METHOD, "dataset", "rate", "statistic"]
    wide = parts.pivot(index=cell, columns=COMPONENTS, values="paper").reindex(columns=COMPARED)
    gain = (wide["full"] - wide["none"]).round(1).dropna().rename("paper").reset_index()
    gain = gain.assign(
        row=gain[METHOD].map(LABELS["gain"].format), reference=gain[METHOD], **{COMPONENTS: "gain", "footnote": ""}
    )
    order = [row.label for row in rows(found["row"], gains=True)]
    return pd.concat([parts, gain]).sort_values("row", key=lambda names: names.map(order.index), kind="stable")


def own_settings(runs: pd.DataFrame) -> list[str]:
    """The settings in which methods differ, their names left out."""
    keys = [key for key in setting_columns(runs) if key not in (METHOD, *ALIKE)]
    return [key for key in keys if key.startswith(OF_A_METHOD) or key in QUALITY]


def mixed(runs: pd.DataFrame) -> list[str]:
    """A warning for each setting that a method has in several ways at one noise rate."""
    within = [key for key in (METHOD, "noise.rate") if runs[key].notna().all()]
    return provenance.mixed_settings(runs, [*settings_of_sanm(runs), *own_settings(runs)], within=within)


def remarks(runs: pd.DataFrame) -> list[str]:
    """What differs between noise rates, and which methods start from a pretrained encoder."""
    methods = _methods(runs)
    return [*_follow_the_rate(runs, methods), *_pretrained(runs, methods)]


def _follow_the_rate(runs: pd.DataFrame, methods: list[str]) -> list[str]:
    differing = []
    varying = [key for key in own_settings(runs) if runs[key].nunique() > 1]
    for method in methods:
        own = runs.loc[runs[METHOD] == method, ["noise.rate", *varying]].sort_values("noise.rate")
        for key in varying:
            values = own[["noise.rate", key]].dropna(subset=[key]).drop_duplicates()
            if values[key].nunique() > 1 and not values["noise.rate"].duplicated().any():
                differing.append(f"{method} {key} {', '.join(map(shown, values[key]))}")
    return [f"Differ between noise rates: {'; '.join(differing)}."] if differing else []


def _pretrained(runs: pd.DataFrame, methods: list[str]) -> list[str]:
    pretrained = runs[runs[PRETRAIN] != "none"]
    used = {method: provenance.distinct(own) for method, own in pretrained.groupby(METHOD)[PRETRAIN]}
    named = [f"{method} ({used[method]})" for method in methods if method in used]
    return [f"From a pre-trained encoder: {', '.join(named)}."] if named else []


def cost(runs: pd.DataFrame) -> list[str]:
    """Seconds an epoch of every method, and how many times as long it takes with SANM.

    An epoch's length can follow the noise (DivideMix's does), so both are of the noise rates that both have.
    """
    done = runs[runs["status"] == "done"]
    by_rate = (done["seconds"] / done["epochs"]).groupby([done["noise.rate"], done[ROWS]]).mean().unstack()
    parts = []
    for method in _methods(runs):
        own = by_rate.reindex(columns=[label(method, name) for name in COMPARED])
        shared = own.dropna()
        seconds = (own if shared.empty else shared).mean().dropna()
        if seconds.empty:
            continue
        plain, *lifted = seconds
        ratio = [f"({lifted[0] / plain:.2g} times)"] if lifted and plain and not shared.empty else []
        parts.append(" ".join([", ".join(f"{name} {each:.3g}" for name, each in seconds.items()), *ratio]))
    machine = f"device {provenance.distinct(done['device'])}, threads {provenance.distinct(done['threads'])}"
    return [f"Seconds an epoch, mean of the finished runs ({machine}): {'; '.join(parts)}."] if parts else []


def _methods(runs: pd.DataFrame) -> list[str]:
    """The methods of the runs in the order of their rows."""
    return list(dict.fromkeys(split(row.label)[0] for row in rows(runs[ROWS]) if not row.difference_of))


def of_methods(title: str, make: str, paper_table: PaperTable | None = None, **changes: Any) -> Comparison:
    """A table whose rows are methods, alone and with SANM on them; `changes` are of its declaration."""
    settings: dict[str, Any] = {
        "title": title,
        "rows": ROWS,
        "row_of": labels,
        "rows_of": partial(rows, every=False),
        "needs": METHOD,
        "make": make,
        "varies": VARIES,
        "alike": ALIKE,
        "follows": FOLLOWS,
        "head": HEAD,
        "paper": paper_table and replace(paper_table, whole=True, who=lambda row: split(row)[0]),
        "warnings_of": mixed,
        "notes_of": remarks,
    }
    return Comparison(**{**settings, **changes})
