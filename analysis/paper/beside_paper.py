"""A table of the paper beside ours: number by number where the setting is the paper's, else as a block of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis import paper
from analysis.compare.blocks import Block, Group, labelled

Settings = Mapping[str, object]
Form = tuple[str, str, str | None]
"""Rows, columns and contest of a block."""
COLUMN_OF = {"rate": "noise.rate", "dataset": "data.name"}


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper and the setting of its numbers.

    `numbers` gives it for a block's settings, in print order: the columns row (as ours are named), printed (as the
    paper names it, if that differs), dataset, rate, statistic, paper, footnote; nothing where the paper has nothing.
    `asked` is what a block has to have been run under for a difference to mean something. A block that the paper does
    not have is shown the paper's `experiment`. `whole`: the paper's rows are printed in any case, since it has methods
    that nobody runs here. `apart` says who in a block is run in another way though the block is not, and how; `who`
    is it that a row is of.
    """

    title: str  # with {dataset} and {method}
    numbers: Callable[[Settings], pd.DataFrame]
    asked: Settings
    experiment: Settings
    datasets: tuple[str, ...] = paper.DATASETS
    whole: bool = False
    apart: Callable[[pd.DataFrame], dict[str, list[str]]] = lambda runs: {}
    who: Callable[[str], str] = str

    def comparable(self, group: Group) -> bool:
        """Whether numbers of these runs can be held against the paper's."""
        return not self.numbers(group.settings).empty and not paper.departures(group, self.asked)


def beside(
    table: PaperTable | None, cells: pd.DataFrame, group: Group, rows: str, column: str
) -> tuple[pd.DataFrame, list[str]]:
    """The cells with paper, difference (ours - paper) and footnote, and what is to be said of the comparison."""
    alone = cells.assign(paper=float("nan"), difference=float("nan"), footnote="")
    if table is None or table.numbers(group.settings).empty:
        return alone, []
    departures = paper.departures(group, table.asked)
    if departures:
        return alone, [f"Not the paper's setting: {', '.join(departures)}."]
    apart = table.apart(group.runs)
    index = ["statistic", column, rows]
    numbers = table.numbers(group.settings).rename(columns={**COLUMN_OF, "row": rows}).set_index(index)
    numbers = numbers.loc[~numbers.index.get_level_values(rows).map(table.who).isin(apart), ["paper", "footnote"]]
    cells = cells.join(_with_differences(numbers, cells, index), on=index).fillna({"footnote": ""})
    remarks = [f"Not the paper's {row}: {', '.join(found)}." for row, found in apart.items()]
    return cells.assign(difference=cells["mean"] - cells["paper"]), remarks


def references(
    table: PaperTable, groups: Sequence[Group], statistics: Sequence[str], head: Sequence[str], form: Form
) -> list[Block]:
    """The paper's rows as blocks of their own, for each experiment whose runs they do not stand beside."""
    comparable = {_place(table, group.settings) for group in groups if table.comparable(group)}
    apart = {_place(table, group.settings) for group in groups if not table.comparable(group)}
    blocks = []
    for place in sorted(apart | comparable if table.whole else apart, key=str):
        experiment = dict(place)
        numbers = table.numbers(experiment)
        cells = pd.concat([numbers[numbers["statistic"] == statistic] for statistic in statistics])
        if not cells.empty:
            title = table.title.format(
                dataset=paper.DATASET_TITLES[str(experiment["data.name"])], method=experiment.get("base_method.name")
            )
            note = "" if place in comparable else ": not this setting"
            blocks.append(_block(f"the paper's {title}{note}", cells, (experiment, head), form))
    return blocks


def _place(table: PaperTable, settings: Settings) -> tuple[tuple[str, object], ...]:
    """The paper's experiment that is nearest to these settings."""
    name = settings.get("data.name")
    dataset = name if name in table.datasets else table.datasets[0]
    own = {key: settings.get(key) for key in table.experiment} | {"data.name": dataset}
    nearest = own if not table.numbers(own).empty else {**table.experiment, "data.name": dataset}
    return tuple(nearest.items())


def _block(title: str, numbers: pd.DataFrame, labelled_by: tuple[Settings, Sequence[str]], form: Form) -> Block:
    rows, columns, contest = form
    printed = "printed" if "printed" in numbers else "row"
    unused = {"row", "rate", "dataset"} - {printed, *(key for key, name in COLUMN_OF.items() if name == columns)}
    cells = numbers.drop(columns=[*unused & {*numbers}]).rename(columns={**COLUMN_OF, printed: rows})
    settings, head = labelled_by
    is_difference = cells.get("reference", pd.Series("", cells.index)) != ""
    return Block(
        title,
        rows,
        columns,
        labelled(cells.reset_index(drop=True), settings, [key for key in head if key not in cells]),
        contest=contest,
        differences=frozenset(cells.loc[is_difference, rows]),
    )


def _with_differences(numbers: pd.DataFrame, cells: pd.DataFrame, index: list[str]) -> pd.DataFrame:
    """The numbers, and what the paper's are apart for each difference row among the cells."""
    rows = index[-1]
    of_row = numbers["paper"].unstack()
    found = [numbers]
    pairs = cells[cells["reference"] != ""].drop_duplicates(rows)
    for label, more, less in zip(pairs[rows], pairs["minuend"], pairs["reference"], strict=True):
        if more in of_row and less in of_row and label not in of_row:
            apart = (of_row[more] - of_row[less]).round(2).dropna()
            frame = pd.DataFrame({"paper": apart, "footnote": ""}).assign(**{rows: label})
            found.append(frame.set_index(rows, append=True))
    return pd.concat(found)
