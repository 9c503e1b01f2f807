"""What the figures of mask ratios share: how a run masks, and which runs may be compared."""

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from analysis import paper
from analysis.compare import provenance
from analysis.compare.blocks import Group, group_by_protocol, settings_of_sanm, shown, titles
from analysis.compare.comparison import COMPONENTS, FOLLOW_THE_RATE, HEAD_OF_SANM, PLAIN
from analysis.compare.summary import SEEDS, STATISTICS, selection_rules
from analysis.records.load import finished, setting_columns, with_factors

RATE, TAU = "noise.rate", "tau.value"
STRATEGY = "mask_strategy.name"
ORDER = (PLAIN, "fixed", "random", "adaptive")
NAMES = {PLAIN: "no masks", "fixed": "fixed ratio", "random": "random ratio", "adaptive": "adaptive ratio"}
# How a strategy is drawn, the same in all figures.
STYLES: dict[str, dict[str, Any]] = {
    "none": {"color": "#000000", "marker": "X", "linestyle": ":"},
    "fixed": {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    "random": {"color": "#009E73", "marker": "^", "linestyle": "-."},
    "adaptive": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
}


def masked_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that mask in a known way, or not at all, with their strategy's name ("none" without SANM).

    Raises `InputError` when no run is finished, or none has a noise rate and a component set.
    """
    finished(runs)
    usable = with_factors(runs, COMPONENTS, RATE).reindex(columns=list(dict.fromkeys([*runs.columns, STRATEGY, TAU])))
    strategies = usable[STRATEGY].astype(object).where(usable[COMPONENTS] != PLAIN, PLAIN)
    usable = usable.assign(**{STRATEGY: strategies, TAU: pd.to_numeric(usable[TAU], errors="coerce")})
    return usable[strategies.isin(ORDER) & (usable[TAU].notna() | (strategies == PLAIN))]


def protocols(runs: pd.DataFrame, rows: str, varying: Collection[str]) -> list[Group]:
    """Groups of runs that differ in nothing but `varying`, rate and seeds.

    A group has one component set beside the runs without SANM. `rows` is the factor whose values are compared.
    """
    groups = []
    for components in sorted(set(runs[COMPONENTS]) - {PLAIN}):
        own = runs[runs[COMPONENTS].isin([components, PLAIN])]
        found = group_by_protocol(own, rows, ("components", RATE, *SEEDS, *FOLLOW_THE_RATE, rows, *varying))
        groups += [Group(group.settings | {COMPONENTS: components}, group.runs) for group in found]
    return groups


def named(groups: list[Group]) -> list[tuple[str, Group]]:
    """The groups with what tells them apart, in its order."""
    return sorted(zip(titles(groups, HEAD_OF_SANM), groups, strict=True), key=lambda pair: pair[0])


def statistics(runs: pd.DataFrame) -> list[str]:
    """Best and last; selected too where every finished run has a validation split."""
    done = runs[runs["status"] == "done"]
    tested = [name for name in STATISTICS if name != "validation"]  # which is no test accuracy
    return [name for name in tested if name != "selected" or done[STATISTICS[name]].notna().all()]


def beside_the_paper(cells: pd.DataFrame, group: Group, adaptive: str) -> tuple[pd.DataFrame, list[str]]:
    """The cells with `paper` and `difference` (ours - paper), and a sentence on the paper's own numbers.

    `adaptive` is the row of the cells that is SANM at the paper's tau. The paper's Figs. 2 and 4 are drawings without
    numbers; Table 5 has two of their points: SANM as published, and the method alone.
    """
    cells = cells.assign(paper=float("nan"), difference=float("nan"))
    settings = group.settings
    same = all(settings.get(key) == value for key, value in paper.EXPERIMENT.items())
    if not same or settings.get("data.name") not in paper.DATASETS or settings[COMPONENTS] != "full":
        return cells, []
    numbers = paper.reported_components(str(settings["data.name"]))
    rows = {"full": adaptive, PLAIN: PLAIN}
    for column, known in (("statistic", cells["statistic"]), ("rate", cells[RATE]), ("components", rows)):
        numbers = numbers[numbers[column].isin(list(known))]
    if numbers.empty:
        return cells, []
    told = _told(numbers)
    departures = paper.departures(group)
    if departures:
        return cells, [f"{told} That is another setting: {', '.join(departures)}."]
    index = pd.MultiIndex.from_frame(cells[["statistic", cells.columns[1], RATE]])
    papers = numbers.assign(row=numbers["components"].map(rows)).set_index(["statistic", "row", "rate"])["paper"]
    cells["paper"] = papers.reindex(index).to_numpy()
    cells["difference"] = cells["mean"] - cells["paper"]
    return cells, [f"Stars: {told}"]


def caption(
    sentences: Sequence[str], group: Group, cells: pd.DataFrame, rows: str, runs: pd.DataFrame, usable: pd.DataFrame
) -> str:
    """What is shown, in the figure's own sentences, then what holds for both: n, rule, gaps, warnings, protocol, code.

    `runs` are all there are, `usable` those that this figure could take.
    """
    first, *others = sentences
    return " ".join(
        [
            first,
            _points(cells),
            selection_rules(group.runs, list(cells["statistic"].unique())),
            *others,
            *_unfinished(group.runs, cells, rows),
            *_left_out(runs, usable),
            *_warnings(group.runs),
            provenance.protocol(group.settings),
            provenance.code(group.runs),
        ]
    )


def mark_paper(axes: Axes) -> None:
    """Marks, on an axis of taus, the paper's own one and the range that it finds good."""
    low, high = paper.GOOD_TAU
    axes.axvspan(low, high, color="0.93", zorder=0, label=f"paper's good range, {low} to {high}")
    axes.axvline(
        paper.TAU, color="0.6", linewidth=0.9, linestyle=(0, (1, 2)), zorder=1, label=f"paper's tau, {paper.TAU}"
    )


def percent(rate: float) -> str:
    """A noise rate as a heading."""
    return f"{shown(rate * 100)} % noise"


def _left_out(runs: pd.DataFrame, usable: pd.DataFrame) -> list[str]:
    lines = provenance.left_out(runs, usable, COMPONENTS, RATE)
    return [line.replace(f"without {COMPONENTS} or {RATE}", f"without {RATE}, or masked without tau") for line in lines]


def _points(cells: pd.DataFrame) -> str:
    counts = sorted(set(cells.loc[cells["runs"] > 0, "n"]))
    numbers = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"Mean ± sample standard deviation over seeds, n = {numbers} finished runs a point."


def _warnings(runs: pd.DataFrame) -> list[str]:
    following = [key for key in FOLLOW_THE_RATE if key in setting_columns(runs)]
    mixed = [
        *provenance.mixed_code(runs),
        *provenance.mixed_settings(runs, settings_of_sanm(runs)),
        *provenance.mixed_settings(runs, following, within=[RATE]),
    ]
    return [f"Warning: {warning}." for warning in mixed]


def _unfinished(runs: pd.DataFrame, cells: pd.DataFrame, rows: str) -> list[str]:
    lines = provenance.unfinished(runs, rows, RATE)
    return [*([f"Not drawn: {'; '.join(lines)}."] if lines else []), *provenance.not_started(cells, rows, RATE)]


def _told(numbers: pd.DataFrame) -> str:
    wide = numbers.pivot(index=["statistic", "rate"], columns="components", values="paper").reset_index()
    parts = [
        f"{row['statistic']} at {percent(row['rate'])} {row['full']:g} (none: {row[PLAIN]:g})"
        for row in wide.to_dict("records")
    ]
    footnotes = [f" {note}" for note in numbers["footnote"].unique() if note]
    return f"The paper's Table 5, SANM at tau {paper.TAU:g}: {', '.join(parts)}.{''.join(footnotes)}"
