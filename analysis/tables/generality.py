"""The paper's Table 6: does SANM lift any base method? Every method alone, with SANM, and the gain by equal seeds."""

from collections.abc import Sequence

import pandas as pd

from analysis import paper, provenance
from analysis.blocks import Block, Group, Table, group_by_protocol, labelled, shown, titles
from analysis.load import finished, setting_columns, with_factors
from analysis.summary import SEEDS, STATISTICS, selection_rules, summarise
from sanm.errors import InputError

ROWS, COLUMNS = "method", "noise.rate"
METHOD, COMPONENTS, PRETRAIN = "base_method.name", "components.name", "pretrain.name"
ORDER = ("ce", "coteaching", "cdr", "elr", "elr_plus", "dividemix", "c2d")
# The three rows of a method, by component set.
LABELS = {"none": "{}", "full": "SANM({})", "gain": "{}: gain"}
COMPARED = ("none", "full")
# What belongs to a method, so that methods of one block may differ in it.
OF_A_METHOD = ("base_method.", "pretrain.")
QUALITY = ("quality.window", "quality.iterations")
VARYING = ("components", "base_method", "pretrain", ROWS, COLUMNS, *SEEDS, *QUALITY)
HEAD = {"data.name": "{}", "noise.name": "{} noise", "noise.convention": "{}"}
# What the paper's numbers ask of a method's own settings; it reports no hyper-parameters of the methods it lifts.
PAPER_METHOD = {"base_method.learn_from": "weak", PRETRAIN: "none"}
REFERENCE = "the paper's Table 6 ({}, symmetric noise): not this setting"
GAIN = (
    "Gain: mean of the differences SANM(m) − m of equal seeds (seed and noise.seed) ± their own sample standard "
    "deviation (n pairs)."
)
HOW_TO_MAKE_PAIRS = "python -m sanm.run -m base_method=ce,coteaching,cdr,elr_plus,dividemix components=none,full"


def table(runs: pd.DataFrame, statistics: Sequence[str] = ("best", "last")) -> Table:
    """A block a protocol: for every base method a row without SANM, one with it, and the gain; columns noise rates.

    Methods of a block share all but their own settings (base_method, pretrain) and how often losses are averaged and
    fitted. A gain pairs runs by seed and noise.seed; several runs of a seed count by their mean. Runs with SANM in
    part are left out. Cells hold `paper` and `difference` (ours - paper) where the setting is the paper's; other
    settings get the paper's rows as a block of their own. Raises `InputError` when no run can stand in the table.
    """
    finished(runs)
    usable = with_factors(runs, METHOD, COLUMNS)
    compared = _compared(usable)
    groups = group_by_protocol(compared, ROWS, VARYING)
    named = sorted(zip(titles(groups, HEAD), groups, strict=True), key=lambda pair: pair[0])
    return Table(
        title="SANM on every base method",
        blocks=(*(_block(title, group, statistics) for title, group in named), *_references(groups, statistics)),
        notes=(
            selection_rules(compared, statistics),
            GAIN,
            *provenance.left_out(runs, usable, METHOD, COLUMNS),
            *_other_components(usable.drop(compared.index)),
        ),
        bold="the better of a method and SANM on it",
    )


def _compared(usable: pd.DataFrame) -> pd.DataFrame:
    sets = usable.reindex(columns=[COMPONENTS])[COMPONENTS]
    runs = usable[sets.isin(COMPARED)]
    if runs.empty:
        raise InputError(
            f"none of these {len(usable)} runs has {COMPONENTS} none or full, which this table compares; "
            f"make some with: {HOW_TO_MAKE_PAIRS}"
        )
    labels = [LABELS[name].format(method) for method, name in zip(runs[METHOD], runs[COMPONENTS], strict=True)]
    # A run that starts from random weights has no key for it; named, it can be told from the others.
    pretrain = runs.reindex(columns=[PRETRAIN])[PRETRAIN].astype(object).fillna("none")
    columns = {ROWS: pd.Series(labels, runs.index), PRETRAIN: pretrain}
    return runs.assign(**columns)


def _other_components(others: pd.DataFrame) -> list[str]:
    if others.empty:
        return []
    names = provenance.distinct(others.reindex(columns=[COMPONENTS])[COMPONENTS])
    return [f"Left out: {len(others)} with other component sets ({names})."]


def _block(title: str, group: Group, statistics: Sequence[str]) -> Block:
    methods = _ordered(group.runs[METHOD].unique().tolist())
    cells, comparison = _beside_the_paper(_cells(group.runs, methods, statistics), group)
    gains = cells[COMPONENTS] == "gain"
    return Block(
        title=title,
        rows=ROWS,
        columns=COLUMNS,
        cells=labelled(cells, group.settings, HEAD),
        warnings=tuple(_warnings(group.runs)),
        notes=(
            provenance.protocol(group.settings),
            *comparison,
            *_follow_the_rate(group.runs, methods),
            *_pretrained(group.runs, methods),
            *_cost(group.runs, methods),
            *provenance.without_test(group.runs),
            *provenance.unfinished(group.runs, ROWS, COLUMNS),
            *provenance.not_started(cells[~gains], ROWS, COLUMNS),
            provenance.code(group.runs),
        ),
        contest=METHOD,
        differences=frozenset(cells.loc[gains, ROWS]),
    )


def _ordered(methods: list[str]) -> list[str]:
    return [name for name in ORDER if name in methods] + sorted(name for name in methods if name not in ORDER)


def _cells(runs: pd.DataFrame, methods: list[str], statistics: Sequence[str]) -> pd.DataFrame:
    parts = {shape.format(method): (method, name) for method in methods for name, shape in LABELS.items()}
    index = ["statistic", ROWS, COLUMNS]
    cells = summarise(runs, ROWS, COLUMNS, list(parts), statistics).set_index(index)
    gains = pd.concat([_gains(runs, statistic) for statistic in statistics]).set_index(index)
    cells.loc[gains.index, gains.columns] = gains
    cells.loc[gains.index, "missing"] -= gains["runs"]
    cells = cells.reset_index()
    cells.insert(0, METHOD, cells[ROWS].map(lambda label: parts[label][0]))
    cells.insert(1, COMPONENTS, cells[ROWS].map(lambda label: parts[label][1]))
    done = runs[runs["status"] == "done"]
    seconds = (done["seconds"] / done["epochs"]).groupby([done[ROWS], done[COLUMNS]]).mean()
    return cells.join(seconds.rename("seconds_per_epoch"), on=[ROWS, COLUMNS])


def _gains(runs: pd.DataFrame, statistic: str) -> pd.DataFrame:
    """The gain of every method and rate over pairs of equal seeds: mean, std, n, and runs (pairs, finished or not)."""
    seeds = [seed for seed in SEEDS if seed in runs]
    cell = [METHOD, COLUMNS]
    numbers = runs[STATISTICS[statistic]].where(runs["status"] == "done")
    by_seed = numbers.groupby([runs[key] for key in (*cell, *seeds, COMPONENTS)], dropna=False)
    number, count = (wide.reindex(columns=COMPARED) for wide in (by_seed.mean().unstack(), by_seed.size().unstack()))
    pairs = (number["full"] - number["none"])[count.notna().all(axis=1)]
    gains = pairs.groupby(cell).agg(["mean", "std", "count", "size"])
    gains = gains.rename(columns={"count": "n", "size": "runs"}).reset_index()
    gains.insert(0, "statistic", statistic)
    gains.insert(1, ROWS, gains.pop(METHOD).map(LABELS["gain"].format))
    return gains


def _beside_the_paper(cells: pd.DataFrame, group: Group) -> tuple[pd.DataFrame, list[str]]:
    alone = cells.assign(paper=float("nan"), difference=float("nan"))
    if not _paper_has(group.settings):
        return alone, []
    departures = paper.departures(group.settings, paper.PROTOCOL)
    if departures:
        return alone, [f"Not the paper's setting: {', '.join(departures)}."]
    apart = _methods_apart(group.runs)
    numbers = _reported(str(group.settings["data.name"]))
    numbers = numbers[~numbers[METHOD].isin(apart)].drop(columns=[METHOD, COMPONENTS])
    cells = cells.merge(numbers, on=["statistic", ROWS, COLUMNS], how="left")
    notes = [f"Not the paper's {method}: {', '.join(found)}." for method, found in apart.items()]
    return cells.assign(difference=cells["mean"] - cells["paper"]), notes


def _paper_has(settings: dict[str, object]) -> bool:
    return settings.get("noise.name") == paper.EXPERIMENT["noise.name"] and settings.get("data.name") in paper.DATASETS


def _methods_apart(runs: pd.DataFrame) -> dict[str, list[str]]:
    """For each method of the paper that is run in another way: its departures."""
    apart: dict[str, list[str]] = {}
    own = runs[runs[METHOD].isin(paper.METHODS.values())].reindex(columns=[METHOD, *PAPER_METHOD]).drop_duplicates()
    for key, expected in PAPER_METHOD.items():
        for method, used in own[own[key] != expected].groupby(METHOD)[key]:
            apart.setdefault(str(method), []).append(f"{key} {provenance.distinct(used)} (paper: {expected})")
    return apart


def _reported(dataset: str) -> pd.DataFrame:
    """Table 6 for one data set, its rows named and ordered as ours."""
    numbers = paper.reported_generality(dataset)
    names = {"base_method": METHOD, "components": COMPONENTS, "rate": COLUMNS}
    rows = [LABELS[part].format(m) for m, part in zip(numbers["base_method"], numbers["components"], strict=True)]
    numbers = numbers.rename(columns=names).assign(**{ROWS: rows})
    order = [shape.format(method) for method in ORDER for shape in LABELS.values()]
    return numbers.sort_values(ROWS, key=lambda labels: labels.map(order.index), kind="stable", ignore_index=True)


def _references(groups: list[Group], statistics: Sequence[str]) -> list[Block]:
    others = [
        group.settings.get("data.name")
        for group in groups
        if not _paper_has(group.settings) or paper.departures(group.settings, paper.PROTOCOL)
    ]
    blocks = []
    for dataset in sorted({str(name) if name in paper.DATASETS else "cifar10" for name in others}):
        numbers = _reported(dataset)
        cells = pd.concat([numbers[numbers["statistic"] == statistic] for statistic in statistics])
        if not cells.empty:
            title = REFERENCE.format(paper.DATASET_TITLES[dataset])
            experiment = {"noise.name": paper.EXPERIMENT["noise.name"], "data.name": dataset}
            differences = frozenset(cells.loc[cells[COMPONENTS] == "gain", ROWS])
            blocks.append(
                Block(title, ROWS, COLUMNS, labelled(cells, experiment, HEAD), contest=METHOD, differences=differences)
            )
    return blocks


def _own_settings(runs: pd.DataFrame) -> list[str]:
    """The settings that belong to a method, its name left out."""
    return [key for key in setting_columns(runs) if key != METHOD and (key.startswith(OF_A_METHOD) or key in QUALITY)]


def _warnings(runs: pd.DataFrame) -> list[str]:
    switches = {f"components.{switch}" for switch in ("name", "amg", "nlr", "smr")}
    of_sanm = [key for key in setting_columns(runs) if key.startswith("components.") and key not in switches]
    return [
        *provenance.mixed_code(runs),
        *provenance.mixed_settings(runs, [*of_sanm, *_own_settings(runs)], within=[METHOD, COLUMNS]),
    ]


def _follow_the_rate(runs: pd.DataFrame, methods: list[str]) -> list[str]:
    differing = []
    for method in methods:
        own = runs[runs[METHOD] == method].sort_values(COLUMNS)
        for key in _own_settings(own):
            values = own.dropna(subset=[key]).drop_duplicates([COLUMNS, key])
            if values[key].nunique() > 1 and not values[COLUMNS].duplicated().any():
                differing.append(f"{method} {key} {', '.join(map(shown, values[key]))}")
    return [f"Differ between noise rates: {'; '.join(differing)}."] if differing else []


def _pretrained(runs: pd.DataFrame, methods: list[str]) -> list[str]:
    pretrained = runs[runs[PRETRAIN] != "none"]
    used = {method: provenance.distinct(own) for method, own in pretrained.groupby(METHOD)[PRETRAIN]}
    named = [f"{method} ({used[method]})" for method in methods if method in used]
    return [f"From a pre-trained encoder: {', '.join(named)}."] if named else []


def _cost(runs: pd.DataFrame, methods: list[str]) -> list[str]:
    done = runs[runs["status"] == "done"]
    seconds = (done["seconds"] / done["epochs"]).groupby(done[ROWS]).mean().dropna().to_dict()
    parts = []
    for method in methods:
        plain, lifted = (LABELS[name].format(method) for name in COMPARED)
        own = [f"{label} {seconds[label]:.3g}" for label in (plain, lifted) if label in seconds]
        ratio = [f"({seconds[lifted] / seconds[plain]:.2g} times)"] if len(own) == 2 and seconds[plain] else []
        parts.extend([" ".join([", ".join(own), *ratio])] if own else [])
    machine = f"device {provenance.distinct(done['device'])}, threads {provenance.distinct(done['threads'])}"
    return [f"Seconds an epoch, mean of the finished runs ({machine}): {'; '.join(parts)}."] if parts else []
