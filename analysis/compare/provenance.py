"""What a reader must know before trusting a block: which code made it, what is mixed, what is missing."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from analysis.compare.blocks import shown
from analysis.compare.summary import SEEDS

VERSIONS = ("sanm", "torch", "numpy", "python")
LISTED = 5
EXPERIMENT = ("data.name", "base_method.name", "noise.name", "noise.rate", "components.name")
PROTOCOL = (
    "noise.definition",
    "noise.scale",
    "data.subset",
    "data.trusted",
    "model.name",
    "model.widths",
    "model.blocks",
    "pretrain.name",
    "plugin.name",
    "trainer.epochs",
    "trainer.batch_size",
    "trainer.precision",
    "tau.value",
    "mask_strategy.name",
    "mask_source.name",
    "variant.masked_views",
    "variant.unmasked_views",
    "variant.ratio_at_maximum",
    "variant.reconstruction_weight",
)
NOTHING = "none"  # of an option: that it is not there


def protocol(settings: Mapping[str, object]) -> str:
    """The settings of a block that tell protocols apart most, as one sentence."""
    told = {key: shown(settings[key]) for key in PROTOCOL if key in settings}
    return "Protocol: " + ", ".join(f"{key} {value}" for key, value in told.items() if value != NOTHING) + "."


def code(runs: pd.DataFrame) -> str:
    """The versions, commits and devices behind the finished runs, as one sentence."""
    done = runs[runs["status"] == "done"]
    if done.empty:
        return "Code: unknown, no run of this block is finished."
    versions = [f"{name} {distinct(done[f'versions.{name}'])}" for name in VERSIONS]
    commits = sorted(set(_commits(done)))
    named = " and ".join(commits) if len(commits) <= LISTED else ", ".join(shortened(commits))
    return f"Code: {named}; {', '.join(versions)}; device {distinct(done['device'])}."


def mixed_code(runs: pd.DataFrame) -> list[str]:
    """A warning for each version, commit and last-epochs window in which the finished runs differ."""
    done = runs[runs["status"] == "done"]
    origins = {f"{name} versions": done[f"versions.{name}"].dropna() for name in VERSIONS}
    origins["commits"] = pd.Series(_commits(done))
    origins["lengths of the final epochs (last_window)"] = done["last_window"].dropna()
    return [f"{what} are mixed: {_tally(values)}" for what, values in origins.items() if values.nunique() > 1]


def mixed_settings(runs: pd.DataFrame, keys: Iterable[str], within: Sequence[str] = ()) -> list[str]:
    """A warning for each key with several values among runs that are equal in the columns `within`."""
    warnings = []
    for key in keys:
        known = runs.loc[runs[key].notna(), [column for column in runs.columns if column in (*within, key)]]
        if known[key].nunique() < 2:
            continue
        groups = [members for _, members in known.groupby(list(within))] if within else [known]
        for members in groups:
            if members[key].nunique() > 1:
                where = "".join(f" at {column} {shown(members[column].iloc[0])}" for column in within)
                warnings.append(f"{key} is mixed{where}: {_tally(members[key])}")
    return warnings


def repeated_seeds(runs: pd.DataFrame, rows: str, columns: str) -> list[str]:
    """A warning that names the cells in which several finished runs have one seed, if there are any."""
    done = runs[runs["status"] == "done"]
    seeds = [seed for seed in SEEDS if seed in runs]
    extra = done[done.duplicated([rows, columns, *seeds])].groupby([rows, columns]).size()
    cells = extra.rename("count").reset_index()
    places = [
        f"{name} at {columns} {shown(column)} ({count} more)"
        for name, column, count in cells[[rows, columns, "count"]].itertuples(index=False)
    ]
    return [f"several runs of one seed: {', '.join(shortened(places))}"] if places else []


def unfinished(runs: pd.DataFrame, rows: str, columns: str) -> list[str]:
    """A line for each failed, interrupted or unreadable run: its cell, its seeds, its reason."""
    lines = []
    for run in runs[runs["status"] != "done"].to_dict("records"):
        seeds = ", ".join(f"{seed} {shown(run[seed])}" for seed in SEEDS if seed in run)
        reason = "" if pd.isna(run["reason"]) else f": {run['reason']}"
        lines.append(f"{run['status']}: {run[rows]} at {columns} {shown(run[columns])} ({seeds}){reason}")
    return shortened(lines)


def not_started(cells: pd.DataFrame, rows: str, columns: str) -> list[str]:
    """A line that names the cells with seeds of their block that they have no run for, if there are any."""
    first = cells[(cells["statistic"] == cells["statistic"].iloc[0]) & (cells["missing"] > 0)]
    places = [
        f"{name} at {columns} {shown(rate)} ({count} {'seed' if count == 1 else 'seeds'})"
        for name, rate, count in zip(first[rows], first[columns], first["missing"], strict=True)
    ]
    return [f"Not started: {', '.join(shortened(places))}."] if places else []


def left_out(runs: pd.DataFrame, usable: pd.DataFrame, rows: str, columns: str) -> list[str]:
    """A line for each unreadable run that is not usable, and one that counts the others without both factors."""
    others = runs.drop(usable.index)
    unreadable = others[others["status"] == "unreadable"]
    lines = [
        f"Unreadable: {run}: {reason}" for run, reason in zip(unreadable["run"], unreadable["reason"], strict=True)
    ]
    foreign = len(others) - len(unreadable)
    return shortened(lines) + ([f"Left out: {foreign} without {rows} or {columns}."] if foreign else [])


def without_test(runs: pd.DataFrame) -> list[str]:
    """A line that counts the finished runs whose data had no test part, if there are any: they have no best or last."""
    done = runs[runs["status"] == "done"]
    count = int(done["best_accuracy"].isna().sum())
    if not count:
        return []
    return [f"No test set: {count} finished {'run' if count == 1 else 'runs'}; see --statistic validation."]


def what_is_there(runs: pd.DataFrame) -> str:
    """What experiments these runs are, in one phrase: "2 runs (cifar10; ce; symmetric; 0.5; full, none)"."""
    found = [distinct(runs[key], ", ") for key in EXPERIMENT if key in runs and runs[key].notna().any()]
    return f"{len(runs)} {'run' if len(runs) == 1 else 'runs'} ({'; '.join(found) or 'no settings'})"


def distinct(values: pd.Series, between: str = " and ") -> str:
    """The values that occur, as words: "cpu and cuda", "unknown" where none is known."""
    return between.join(sorted({shown(value) for value in values.dropna()})) or "unknown"


def shortened(lines: list[str]) -> list[str]:
    """The first lines, and how many more there are."""
    return lines if len(lines) <= LISTED else [*lines[:LISTED], f"and {len(lines) - LISTED} more like these"]


def _commits(runs: pd.DataFrame) -> list[str]:
    known = zip(runs["commit"], runs["dirty"], strict=True)
    return [
        ("commit unknown" if pd.isna(commit) else f"commit {str(commit)[:10]}")
        + (" (dirty: uncommitted changes)" if not pd.isna(dirty) and dirty else "")
        for commit, dirty in known
    ]


def _tally(values: pd.Series) -> str:
    counts = values.map(shown).value_counts()
    listed = [f"{value} ({count} {'run' if count == 1 else 'runs'})" for value, count in counts.items()]
    return ", ".join(shortened(listed))
