"""How runs learn: test accuracy, labeled fraction and clean/noisy AUROC over epochs."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.compare import provenance
from analysis.compare.blocks import SANM_SECTIONS, Group, group_by_protocol, labelled, shown, titles
from analysis.compare.comparison import COMPONENTS, PLAIN
from analysis.compare.method_rows import METHOD, QUALITY, label, ordered
from analysis.compare.summary import SEEDS, selection_rules
from analysis.figures.chart import Chart
from analysis.figures.style import figure, legend_below, line, title
from analysis.records import Records
from analysis.records.load import setting_columns
from sanm.errors import InputError

RATE = "noise.rate"
LINE = "line"
ACCURACY = "test_accuracy"
# The panels: a column of metrics.csv, and what it is.
PANELS = {ACCURACY: "test accuracy, %", "labeled_fraction": "labeled fraction", "clean_auroc": "clean/noisy AUROC"}
MOST_LINES = 8
OF_METHODS = ("base_method", "pretrain", *QUALITY)
HEAD = {"data.name": "{}", METHOD: "{}", "noise.name": "{} noise", RATE: "rate {}", "noise.convention": "{}"}
ALWAYS_ONE = "Labeled fraction: not drawn, it is always 1 here."
MARKERS_A_LINE = 8
BEST: dict[str, Any] = {
    "marker": "*",
    "linestyle": "none",
    "markersize": 8,
    "markeredgecolor": "white",
    "markeredgewidth": 0.5,
    "zorder": 4,
}
CLEAN_SHARE: dict[str, Any] = {"color": "0.4", "linewidth": 0.9, "linestyle": (0, (1, 2))}
FEW = 2  # so many settings of a line are always told
MARKS = "Stars: the best epoch of each run; at the right: mean and deviation of last."


def charts(records: Records) -> tuple[Chart, ...]:
    """A chart a protocol and noise rate; lines are methods, component sets, and settings of SANM where they differ.

    Where that is more than eight lines, a chart a method; where it still is, several parts, each with the runs without
    SANM. Lines are means over seeds of finished runs; unfinished ones are drawn only where a line has no other.
    Raises `InputError` when no run has an epoch.
    """
    runs = records.runs
    usable = _with_epochs(runs, records.epochs)
    groups = [part for group in _groups(usable) for part in _parts(group)]
    named = sorted(zip(titles([group for group, _ in groups], HEAD), groups, strict=True), key=lambda pair: pair[0])
    outside = _left_out(runs, usable)
    return tuple(_chart(f"{about}{part}", group, records.epochs, outside) for about, (group, part) in named)


def _with_epochs(runs: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    usable = runs.iloc[:0]
    if {METHOD, COMPONENTS} <= {*runs.columns}:
        scored = epochs.reindex(columns=["run", ACCURACY]).dropna()["run"]
        usable = runs[runs["run"].isin(scored)].dropna(subset=[METHOD, COMPONENTS])
    if usable.empty:
        raise InputError(
            f"figure curves needs runs with an epoch in metrics.csv and a config.yaml; none of these {len(runs)} runs "
            "has both; make one with: python -m sanm.run"
        )
    return usable


def _left_out(runs: pd.DataFrame, usable: pd.DataFrame) -> list[str]:
    others = runs.drop(usable.index)
    return (
        [f"Left out: {', '.join(provenance.shortened(others['run'].tolist()))} (no epoch yet)."] if len(others) else []
    )


# ---- which runs are a chart, which a line


def _groups(runs: pd.DataFrame) -> list[Group]:
    found = []
    for group in _grouped(runs, OF_METHODS):
        whole = Group(group.settings, _with_lines(group.runs))
        narrower = _grouped(group.runs, ()) if whole.runs[LINE].nunique() > MOST_LINES else []
        found += [Group(part.settings, _with_lines(part.runs)) for part in narrower] or [whole]
    return [Group(group.settings | _only_method(group.runs), group.runs) for group in found]


def _grouped(runs: pd.DataFrame, varying: Sequence[str]) -> list[Group]:
    return group_by_protocol(runs, COMPONENTS, (*SANM_SECTIONS, *SEEDS, *varying))


def _only_method(runs: pd.DataFrame) -> dict[str, object]:
    return {METHOD: runs[METHOD].iloc[0]} if runs[METHOD].nunique() == 1 else {}


def _with_lines(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with the name of their line: method, component set, and what differs between lines of that name."""
    several = runs[METHOD].nunique() > 1
    pairs = zip(runs[METHOD], runs[COMPONENTS], strict=True)
    names = [label(method, parts) if several else parts for method, parts in pairs]
    varying = [key for key in setting_columns(runs) if key.partition(".")[0] in (*OF_METHODS, *SANM_SECTIONS)]
    varying += [key for key in QUALITY if key in runs]
    result = runs.assign(**{LINE: names})
    for _, own in result.groupby(LINE):
        told = _differences(own[[key for key in varying if own[key].nunique() > 1]])
        result.loc[own.index, LINE] += told
    return result


def _differences(settings: pd.DataFrame) -> list[str]:
    """What each of the runs has in these settings: all of them if there are few, else what is not the most common."""
    common = {} if settings.shape[1] <= FEW else {key: settings[key].mode().iloc[0] for key in settings}
    own = [
        [
            f", {_short(str(key))} {shown(run[key])}"
            for key in settings
            if pd.notna(run[key]) and run[key] != common.get(key)
        ]
        for run in settings.to_dict("records")
    ]
    whole = ["".join(told) for told in own]
    brief = [
        "".join(told) if len(told) <= FEW + 1 else f"{''.join(told[:FEW])} and {len(told) - FEW} more" for told in own
    ]
    # Lines that differ keep names that differ.
    return brief if len(set(brief)) == len(set(whole)) else whole


def _short(key: str) -> str:
    """A key without what a reader knows: tau for tau.value, learn_from for base_method.learn_from."""
    return key.removesuffix(".value").removesuffix(".name").removeprefix("variant.").removeprefix("base_method.")


def _parts(group: Group) -> list[tuple[Group, str]]:
    """The group, cut where it has more lines than a chart can hold; the runs without SANM are in every part."""
    runs = group.runs
    plain = runs.loc[runs[COMPONENTS] == PLAIN, LINE].unique().tolist()[: MOST_LINES - 1]
    others = sorted(set(runs[LINE]) - set(plain))
    room = MOST_LINES - len(plain)
    pieces = [others[first : first + room] for first in range(0, len(others), room)] or [[]]
    if len(pieces) == 1:
        return [(group, "")]
    return [
        (Group(group.settings, runs[runs[LINE].isin([*plain, *piece])]), f" · part {place} of {len(pieces)}")
        for place, piece in enumerate(pieces, 1)
    ]


# ---- numbers


def _chart(about: str, group: Group, epochs: pd.DataFrame, outside: list[str]) -> Chart:
    drawn = _drawn(group.runs)
    lines = _ordered(drawn)
    means = _means(drawn, epochs)
    means = _without_idle_fractions(means)
    splits = (means["quantity"] == "labeled_fraction").any()
    numbers = pd.concat([means, _marks(drawn)], ignore_index=True)
    done = group.runs[group.runs["status"] == "done"]
    caption = [
        f"Learning curves: {about}.",
        f"Lines: mean over seeds, band ± sample standard deviation; {_counted(drawn, lines)}.",
        *([] if done.empty else [selection_rules(done, ("best", "last")), MARKS]),
        *([_right_labels(drawn)] if splits else [ALWAYS_ONE]),
        *_unfinished(group.runs, drawn),
        *outside,
        *[f"Warning: {warning}." for warning in provenance.mixed_code(group.runs)],
        provenance.protocol(group.settings),
        provenance.code(group.runs),
    ]
    drawing = _drawing(about, numbers, lines, _clean_share(drawn) if splits else math.nan)
    return Chart(about, " ".join(caption), drawing, labelled(numbers, group.settings, HEAD))


def _drawn(runs: pd.DataFrame) -> pd.DataFrame:
    """The finished runs, and the unfinished ones of lines that have no finished run, which then say so."""
    done = runs["status"] == "done"
    alone = ~runs[LINE].isin(runs.loc[done, LINE])
    names = runs[LINE].where(~alone, runs[LINE] + " (unfinished)")
    return runs.assign(**{LINE: names})[done | alone]


def _ordered(runs: pd.DataFrame) -> list[str]:
    """Lines by method in the tables' order, those without SANM first, then by name."""
    methods = ordered(runs[METHOD])
    first = runs.drop_duplicates(LINE)
    keys = {
        name: (methods.index(method), components != PLAIN, name)
        for name, method, components in zip(first[LINE], first[METHOD], first[COMPONENTS], strict=True)
    }
    return sorted(keys, key=lambda name: keys[name])


def _means(runs: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """Long form: line, quantity, epoch, mean, std (sample, over runs), n (runs that have reached the epoch)."""
    own = epochs.merge(runs[["run", LINE]], on="run").reindex(columns=[LINE, "epoch", *PANELS])
    long = own.melt([LINE, "epoch"], var_name="quantity", value_name="value").dropna(subset=["value"])
    means = long.groupby([LINE, "quantity", "epoch"])["value"].agg(["mean", "std", "count"])
    return means.rename(columns={"count": "n"}).reset_index()


def _without_idle_fractions(means: pd.DataFrame) -> pd.DataFrame:
    """Without the labeled fraction of lines where it is always 1: their methods learn from all labels."""
    fractions = means["mean"].where(means["quantity"] == "labeled_fraction")
    idle = fractions.groupby(means[LINE]).transform("min") == 1
    return means[~(idle & fractions.notna())]


def _marks(runs: pd.DataFrame) -> pd.DataFrame:
    """Best of each finished run, last of each line, in the same form, with the run's name."""
    done = runs[runs["status"] == "done"]
    best = done.rename(columns={"best_epoch": "epoch", "best_accuracy": "mean"})
    best = best[[LINE, "run", "epoch", "mean"]].assign(quantity="best", n=1)
    last = done.groupby(LINE)["last_accuracy"].agg(["mean", "std", "count"]).rename(columns={"count": "n"})
    last = last.join(done.groupby(LINE)["epochs"].max().rename("epoch")).reset_index().assign(quantity="last")
    return pd.concat([best, last], ignore_index=True).dropna(subset=["mean"])


def _counted(runs: pd.DataFrame, lines: Sequence[str]) -> str:
    counts = runs[LINE].value_counts()
    if counts.nunique() == 1:
        return f"n = {counts.iloc[0]} for each"
    return "n = " + ", ".join(f"{counts[name]} ({name})" for name in lines)


def _clean_share(runs: pd.DataFrame) -> float:
    return float(1 - runs["realised_noise_rate"].mean())


def _right_labels(runs: pd.DataFrame) -> str:
    share = _clean_share(runs)
    dotted = "" if math.isnan(share) else f" Dotted: the share of labels that are right, {share:.3f}."
    return f"Labeled fraction: of the lines where it is not always 1.{dotted}"


def _unfinished(runs: pd.DataFrame, drawn: pd.DataFrame) -> list[str]:
    others = runs[(runs["status"] != "done") & ~runs["run"].isin(drawn["run"])]
    lines = [f"{run['line']} ({run['status']}, seed {shown(run['seed'])})" for run in others.to_dict("records")]
    return [f"Not drawn: {'; '.join(provenance.shortened(lines))}."] if lines else []


# ---- drawing


def _drawing(about: str, numbers: pd.DataFrame, lines: list[str], clean_share: float) -> Figure:
    drawn = [name for name in PANELS if name in set(numbers["quantity"])]
    heights = [2.2 if name == ACCURACY else 1.3 for name in drawn]
    drawing = figure(height=sum(heights) + 0.9 + 0.16 * len(lines))
    grid = drawing.subplots(len(drawn), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    by_line = [numbers[numbers[LINE] == name] for name in lines]
    for axes, quantity in zip(grid, drawn, strict=True):
        for place, own in enumerate(by_line):
            _curve(axes, own[own["quantity"] == quantity], place, len(lines))
        axes.set_ylabel(PANELS[quantity])
    for place, own in enumerate(by_line):
        _mark(grid[0], own, place, len(lines))
    if "labeled_fraction" in drawn and not math.isnan(clean_share):
        grid[drawn.index("labeled_fraction")].axhline(clean_share, **CLEAN_SHARE)
    grid[-1].set_xlabel("epoch")
    drawing.align_ylabels(list(grid))
    title(drawing, about)
    _legend(drawing, grid[0], lines, finished="last" in set(numbers["quantity"]))
    return drawing


def _curve(axes: Axes, means: pd.DataFrame, place: int, lines: int) -> None:
    style = line(place)
    step = max(1, math.ceil(len(means) / MARKERS_A_LINE))
    axes.plot(means["epoch"], means["mean"], markevery=(place * step // MARKERS_A_LINE, step), label="line", **style)
    spread = means["std"].fillna(0)
    low, high = means["mean"] - spread, means["mean"] + spread
    # The more bands may lie over each other, the lighter each is.
    alpha = max(0.06, 0.2 - 0.02 * lines)
    axes.fill_between(means["epoch"], low, high, color=style["color"], alpha=alpha, linewidth=0)


def _mark(axes: Axes, numbers: pd.DataFrame, place: int, lines: int) -> None:
    style = line(place)
    best = numbers[numbers["quantity"] == "best"]
    axes.plot(best["epoch"], best["mean"], color=style["color"], **BEST)
    for last in numbers[numbers["quantity"] == "last"].to_dict("records"):
        at = 1.02 + 0.05 * place / max(1, lines - 1)
        spread = last["std"] if last["n"] > 1 else None
        axes.errorbar(at, last["mean"], yerr=spread, fmt=style["marker"], color=style["color"], markersize=4,
                      elinewidth=1, clip_on=False, transform=axes.get_yaxis_transform())  # fmt: skip


def _legend(drawing: Figure, axes: Axes, lines: list[str], finished: bool) -> None:
    handles = [handle for handle in axes.get_lines() if handle.get_label() == "line"]
    if finished:
        axes.text(1.045, 1.0, "last", transform=axes.transAxes, ha="center", va="bottom", fontsize=8)
        handles.append(Line2D([], [], color="0.4", **BEST))
    legend_below(drawing, handles, [*lines, *(["best epoch of a run"] if finished else [])])
