"""A search for settings: how it went, accuracy by each parameter and by two, and what mattered."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.tri import Triangulation

from analysis.figures.chart import Chart
from analysis.figures.masking import TAU, mark_paper
from analysis.figures.style import COLORS, figure, legend_below, legend_of_panels, title
from analysis.records import Records
from sanm.errors import InputError
from sanm.record.reading import RecordError, read_text, settings_of

FOLDER = "studies"
DEFINITION = "study.yaml"
TABLES = ("trials.csv", "sensitivity.csv", "importances.csv")
COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"
STATES = {"fail": FAILED}  # as the storage calls it
COLUMNS = 3
FEWEST_FOR_CONTOUR = 4
TRIAL: dict[str, Any] = {"color": "0.55", "markersize": 4, "elinewidth": 0.7}
BEST: dict[str, Any] = {
    "marker": "*",
    "color": COLORS[1],
    "linestyle": "none",
    "markersize": 11,
    "markeredgecolor": "white",
    "zorder": 5,
}


@dataclass(frozen=True)
class Study:
    """A study as its report left it: what was asked for, and a row a trial, a part of a range, a parameter."""

    definition: dict[str, Any]
    trials: pd.DataFrame
    sensitivity: pd.DataFrame
    importances: pd.DataFrame

    @property
    def name(self) -> str:
        return str(self.definition["name"])

    @property
    def space(self) -> dict[str, dict[str, Any]]:
        return dict(self.definition["space"])

    @property
    def complete(self) -> pd.DataFrame:
        return self.trials[self.trials["state"] == COMPLETE]

    @property
    def best(self) -> pd.Series:
        """The first of the best complete trials."""
        return self.complete.sort_values("mean", ascending=False, kind="stable").iloc[0]

    @property
    def axis_label(self) -> str:
        return f"{self.definition['selection']} accuracy, %"


def charts(records: Records) -> tuple[Chart, ...]:
    """For each study its history, slices, contour (of two or more parameters) and importances (where known).

    Raises `InputError` when there is no study, a file of one is missing, or no trial of any is complete.
    """
    folders = sorted(path for path in (records.directory / FOLDER).glob("*") if path.is_dir())
    if not folders:
        raise InputError(
            f"{records.directory / FOLDER} holds no study, which figure study needs; make one with: "
            f"python -m sweeps.tune study=tau_aspect runs_dir={records.directory}"
        )
    studies = [read(folder) for folder in folders]
    begun = [study for study in studies if not study.complete.empty]
    if not begun:
        counts = "; ".join(f"{study.name}: {_counts(study)}" for study in studies)
        raise InputError(f"figure study needs a study with a complete trial, and there is none yet ({counts})")
    return tuple(chart for study in begun for chart in _charts(study))


def read(folder: Path) -> Study:
    """The study whose report lies in that folder; raises `InputError` when a file is missing or no report."""
    try:
        definition = settings_of(read_text(folder / DEFINITION))
        choices = {key: str for key, dimension in definition["space"].items() if "choices" in dimension}
        # An option may be called "None"; only what is empty is missing.
        trials, sensitivity, importances = (
            pd.read_csv(folder / name, dtype=choices, keep_default_na=False, na_values=[""]) for name in TABLES
        )
        return Study(definition, trials.assign(state=trials["state"].replace(STATES)), sensitivity, importances)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
    except RecordError as error:
        reason = f"{folder}: {error.reason}"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{folder}: no report of a study: {' '.join(str(error).split())}"
    raise InputError(
        f"{reason}; write the study's files with: "
        f"python -m sweeps.tune report study={folder.name} runs_dir={folder.parent.parent}"
    )


def _charts(study: Study) -> list[Chart]:
    found = [history(study), slices(study)]
    if len(study.space) > 1:
        found.append(contour(study))
    if not study.importances.empty:
        found.append(importance(study))
    return found


# ---- the four drawings


def history(study: Study) -> Chart:
    """Every trial in its order, and the best complete one so far."""
    scores = study.trials["mean"].where(study.trials["state"] == COMPLETE)
    numbers = study.trials.assign(best_so_far=scores.cummax())
    drawing = figure(height=3.0)
    axes = drawing.subplots()
    done = numbers[numbers["state"] == COMPLETE]
    axes.errorbar(done["trial"], done["mean"], yerr=done["sd_over_seeds"].fillna(0), fmt="o", label=_trial_label(study),
                  **TRIAL)  # fmt: skip
    pruned = numbers[numbers["state"] == PRUNED].dropna(subset=["mean"])
    if not pruned.empty:
        axes.plot(pruned["trial"], pruned["mean"], "v", color="0.55", markerfacecolor="white", label="pruned, so far")
    failed = numbers[numbers["state"] == FAILED]
    if not failed.empty:
        axes.plot(failed["trial"], np.zeros(len(failed)), "x", color="black", transform=axes.get_xaxis_transform(),
                  clip_on=False, label="failed")  # fmt: skip
    axes.step(numbers["trial"], numbers["best_so_far"], where="post", color=COLORS[0], label="best so far")
    axes.plot(study.best["trial"], study.best["mean"], label="best", **BEST)
    axes.set(xlabel="trial", ylabel=study.axis_label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    about = f"{study.name} · history"
    title(drawing, about)
    legend_of_panels(drawing)
    return Chart(about, _caption(study, "Trials in the order in which they were begun."), drawing, numbers)


def slices(study: Study) -> Chart:
    """A panel a parameter: every complete trial, and the means of the parts of the parameter's range."""
    keys = list(study.space)
    columns = min(len(keys), COLUMNS)
    rows = math.ceil(len(keys) / columns)
    drawing = figure(height=2.4 * rows + 0.6)
    grid = drawing.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, key in zip(grid.flat, keys, strict=False):
        _slice(axes, study, key)
    for row in grid:
        row[0].set_ylabel(study.axis_label)
    for axes in grid.flat[len(keys) :]:
        axes.remove()
    about = f"{study.name} · slices"
    title(drawing, about)
    legend_of_panels(drawing)
    note = "Complete trials by one parameter, whatever the others; the search has crowded where it is good."
    marked = "Shaded and dotted: the paper's good range of tau, and its tau." if TAU in keys else ""
    return Chart(about, _caption(study, note, marked), drawing, _slice_numbers(study))


def contour(study: Study) -> Chart:
    """Accuracy over the two parameters that matter most, by color; lines of equal height where both are numbers."""
    across, up = _two(study)
    grouped = study.complete.groupby([across, up], sort=True)["mean"]
    numbers = grouped.agg(["mean", "count"]).rename(columns={"count": "trials"}).reset_index()
    x, y = _positions(study, across, numbers[across]), _positions(study, up, numbers[up])
    drawing = figure(height=3.8, width=5.2)
    axes = drawing.subplots()
    colors: dict[str, Any] = {"cmap": "cividis", "vmin": numbers["mean"].min(), "vmax": numbers["mean"].max()}
    mesh = _triangles(study, (across, x), (up, y)) if colors["vmin"] < colors["vmax"] else None
    if mesh is not None:
        axes.tricontourf(mesh, numbers["mean"], levels=10, **colors)
    points = axes.scatter(x, y, c=numbers["mean"], edgecolor="0.6", linewidth=0.8, s=30, zorder=3, **colors)
    drawing.colorbar(points, ax=axes, label=study.axis_label)
    best, on_colors = pd.DataFrame([study.best]), {**BEST, "markersize": 14, "markeredgecolor": "black"}
    if best[[across, up]].notna().all(axis=None):  # with a condition, one of them may have no part in it
        axes.plot(_positions(study, across, best[across]), _positions(study, up, best[up]), **on_colors)
    axes.grid(visible=False)
    axes.use_sticky_edges = False  # trials at the ends of a range are whole dots
    axes.margins(0.05)
    for key, axis, place in ((across, axes.xaxis, axes.set_xscale), (up, axes.yaxis, axes.set_yscale)):
        _scale(study, key, axis, place)
    axes.set(xlabel=across, ylabel=up)
    about = f"{study.name} · contour"
    title(drawing, about)
    legend_below(drawing, [Line2D([], [], **on_colors)], ["best trial"])
    how = "between them lines of equal accuracy, interpolated" if mesh else "too few different ones for lines"
    others = "" if len(study.space) == 2 else f", of {len(study.space)} the two that matter most"
    note = f"Complete trials by two parameters{others}; dots are trials (the mean of equal ones), {how}."
    return Chart(about, _caption(study, note), drawing, numbers)


def importance(study: Study) -> Chart:
    """Each parameter's share in what makes trials good."""
    numbers = study.importances
    drawing = figure(height=0.9 + 0.3 * len(numbers))
    axes = drawing.subplots()
    places = np.arange(len(numbers))[::-1]
    bars = axes.barh(places, numbers["importance"], height=0.55, color=COLORS[0])
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_yticks(places, numbers["parameter"])
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="importance, share of 1", xlim=(0, 1.08))
    about = f"{study.name} · importances"
    title(drawing, about)
    note = "Share of each parameter in what makes trials good (PED-ANOVA, Watanabe et al., IJCAI 2023)."
    return Chart(about, _caption(study, note), drawing, numbers)


# ---- parts of the drawings


def _slice(axes: Axes, study: Study, key: str) -> None:
    trials, parts = study.complete, study.sensitivity[study.sensitivity["parameter"] == key]
    axes.errorbar(_positions(study, key, trials[key]), trials["mean"], yerr=trials["sd_over_seeds"].fillna(0), fmt="o",
                  zorder=2, label=_trial_label(study), **TRIAL)  # fmt: skip
    low, high = _positions(study, key, parts["from"]), _positions(study, key, parts["to"])
    centers = np.sqrt(low * high) if study.space[key].get("log") else (low + high) / 2
    axes.plot(centers, parts["mean"], "s-", color=COLORS[0], markersize=3.5, label="mean of the trials there")
    axes.plot(_positions(study, key, pd.Series([study.best[key]])), [study.best["mean"]], label="best", **BEST)
    if key == TAU:
        mark_paper(axes)
    _scale(study, key, axes.xaxis, axes.set_xscale)
    axes.set_xlabel(key)


def _slice_numbers(study: Study) -> pd.DataFrame:
    """Trials (`value`) and parts of ranges (`from`, `to`), a row each and parameter."""
    trials = study.complete.rename(columns={"sd_over_seeds": "sd"})
    own = [
        trials[["trial", "mean", "sd"]].assign(kind="trial", parameter=key, value=trials[key]).dropna(subset=["value"])
        for key in study.space
    ]
    frame = pd.concat([*own, study.sensitivity.assign(kind="part")], ignore_index=True)
    columns = ["kind", "parameter", "trial", "value", "from", "to", "trials", "mean", "sd", "best"]
    return frame.astype({"trial": "Int64", "trials": "Int64"})[columns]


def _two(study: Study) -> tuple[str, str]:
    ranked = [*study.importances["parameter"], *study.space]
    first, second, *_ = sorted(dict.fromkeys(ranked), key=ranked.index)
    across, up = sorted((first, second), key=list(study.space).index)
    return across, up


def _triangles(
    study: Study, across: tuple[str, "np.ndarray[Any, Any]"], up: tuple[str, "np.ndarray[Any, Any]"]
) -> Triangulation | None:
    """Which trials are neighbours; None where a parameter has options for values, or trials lie on one line."""
    if any("choices" in study.space[key] for key, _ in (across, up)) or len(across[1]) < FEWEST_FOR_CONTOUR:
        return None
    flat = [_unit(values, bool(study.space[key].get("log"))) for key, values in (across, up)]
    try:
        return Triangulation(across[1], up[1], Triangulation(*flat).triangles)
    except (RuntimeError, ValueError):
        return None


def _unit(values: "np.ndarray[Any, Any]", log: bool) -> "np.ndarray[Any, Any]":
    """The values between 0 and 1, so that neighbours are near in both parameters."""
    scaled = np.log(values) if log else values
    return (scaled - scaled.min()) / (np.ptp(scaled) or 1)


def _positions(study: Study, key: str, values: pd.Series) -> "np.ndarray[Any, Any]":
    """Where values of a parameter lie on its axis: numbers as they are, options in the order of the study."""
    choices = study.space[key].get("choices")
    if choices is None:
        return pd.to_numeric(values).to_numpy(dtype=float)
    order = [_plain(choice) for choice in choices]
    return np.array([order.index(_plain(value)) for value in values], dtype=float)


def _scale(study: Study, key: str, axis: Any, set_scale: Any) -> None:
    dimension = study.space[key]
    if "choices" in dimension:
        axis.set_ticks(range(len(dimension["choices"])), [str(choice) for choice in dimension["choices"]])
    elif dimension.get("log"):
        set_scale("log")


def _plain(value: object) -> str:
    """A choice as text, the same whether it came from YAML or CSV: 25, 25.0 and "25" are one."""
    try:
        return f"{float(str(value)):.6g}"
    except ValueError:
        return str(value)


# ---- words


def _caption(study: Study, *notes: str) -> str:
    definition = study.definition
    across = [" ".join(own) for own in definition.get("across", [])]
    rates = ", ".join(f"{rate:g}" for rate in definition["noise_rates"] or [])
    each = f"{' and '.join(across)}, " if across else ""
    runs = f"{each}{f'noise rates {rates} and ' if rates else ''}seeds {', '.join(map(str, definition['seeds']))}"
    best = " ".join(f"{key}={study.best[key]}" for key in study.space if not pd.isna(study.best[key]))
    sentences = [
        f"Study {study.name}.",
        *notes,
        f"Selection: {definition['rule']}.",
        f"A trial is the mean over runs of {runs}; bars: sample standard deviation over seeds.",
        f"{_counts(study)}.",
        f"Best: trial {study.best['trial']}, {study.best['mean']:.2f} % ({best}), which is partly luck.",
        *(["Importances: too few complete trials."] if study.importances.empty else []),
        f"Runs: {' '.join(definition['overrides']) or 'as configured'}.",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _counts(study: Study) -> str:
    counts = study.trials["state"].value_counts()
    return f"{len(study.trials)} trials" + "".join(f", {number} {state}" for state, number in counts.items())


def _trial_label(study: Study) -> str:
    return "trial, ± sd over seeds" if study.complete["sd_over_seeds"].notna().any() else "trial"
