"""The head of the report: what these runs are, in a dozen lines."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from analysis.compare import provenance
from analysis.compare.blocks import shown
from analysis.compare.summary import STATISTICS, selection_rules
from analysis.records.load import STATUSES

# What is counted, under which name.
COUNTED = {
    "base_method.name": "Methods",
    "components.name": "Components",
    "data.name": "Data sets",
    "model.name": "Networks",
    "seed": "Seeds",
}
NOISE = ("noise.name", "noise.convention", "noise.rate")


@dataclass(frozen=True)
class Overview:
    """Counts by status, named facts, and what a reader must know before comparing these runs."""

    statuses: dict[str, int]
    facts: dict[str, str]
    warnings: list[str]
    selection: str


def overview(runs: pd.DataFrame) -> Overview:
    """The overview of a frame of runs, as `analysis.load` gives it."""
    done = runs[runs["status"] == "done"]
    counts = runs["status"].value_counts()
    chosen = [name for name, column in STATISTICS.items() if done[column].notna().any()]
    if done["best_accuracy"].notna().all():  # what stands in for tests where there are none
        chosen = [name for name in chosen if name != "validation"]
    return Overview(
        statuses={status: int(counts[status]) for status in STATUSES if status in counts},
        facts={name: text for name, text in _facts(runs, done).items() if text},
        warnings=provenance.mixed_code(runs),
        selection=selection_rules(runs, chosen) if chosen else "",
    )


def duration(seconds: float) -> str:
    """A time as a person says it: 42 s, 3.5 min, 12 h; nothing for an unknown one."""
    if math.isnan(seconds):
        return ""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit != "days" and seconds >= size):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def noise_names(runs: pd.DataFrame) -> pd.Series:
    """The noise of each run in words, "symmetric 50 %"; missing where a config says nothing."""
    parts = runs.reindex(columns=["noise.name", "noise.rate"])
    rates = pd.to_numeric(parts["noise.rate"], errors="coerce").map(lambda rate: f" {100 * rate:.3g} %", "ignore")
    return parts["noise.name"].astype(object) + rates.astype(object).fillna("")


def _facts(runs: pd.DataFrame, done: pd.DataFrame) -> dict[str, str]:
    facts = {title: _tally(runs[key]) for key, title in COUNTED.items() if key in runs}
    facts["Noise"] = _tally(noise_names(runs))
    facts["Realised noise"] = _span(f"{100 * rate:.3g} %" for rate in sorted(done["realised_noise_rate"].dropna()))
    facts["Finished"] = _span(minute(time) for time in sorted(done["finished"].dropna()))
    facts["Training time"] = duration(done["seconds"].sum()) if len(done) else ""
    facts["Made by"] = provenance.code(runs).removeprefix("Code: ").removesuffix(".") if len(done) else ""
    return facts


def _tally(values: pd.Series) -> str:
    counts = values.dropna().map(shown).value_counts()
    names = sorted(counts.index, key=lambda name: (-counts[name], name))
    listed = [f"{name} ({counts[name]})" for name in names]
    return ", ".join(provenance.shortened(listed) if len(listed) > 12 else listed)


def _span(values: Iterable[str]) -> str:
    """The first and the last of sorted values."""
    return " to ".join(dict.fromkeys([*(ordered := list(values))[:1], *ordered[-1:]]))


def minute(time: object) -> str:
    """When, to the minute."""
    return str(time)[:16].replace("T", " ")
