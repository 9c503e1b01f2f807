"""The paper's Table 5: what each of SANM's components adds, against the noise rate."""

from collections.abc import Sequence

import pandas as pd

from analysis import paper, provenance
from analysis.blocks import Block, Group, Table, group_by_protocol, labelled, titles
from analysis.load import finished, setting_columns, with_factors
from analysis.summary import SEEDS, selection_rules, summarise

ROWS, COLUMNS = "components.name", "noise.rate"
ALWAYS_SHOWN = ("none", "amg", "amg_nlr", "full")
ORDER = ("none", "amg", "amg_nlr", "amg_smr", "full")
SWITCHES = ("amg", "nlr", "smr")
# Methods tabulate these against the noise rate, so they may differ between the columns of one block.
FOLLOW_THE_RATE = ("base_method.lambda_u", "base_method.threshold", "quality.window")
VARYING = ("components", COLUMNS, *SEEDS, *FOLLOW_THE_RATE)
HEAD = {
    "data.name": "{}",
    "base_method.name": "{}",
    "noise.name": "{} noise",
    "noise.convention": "{}",
}
REFERENCE = "the paper's Table 5 (DivideMix, {}, PreAct ResNet-18, 300 epochs): not this setting"


def table(runs: pd.DataFrame, statistics: Sequence[str] = ("best", "last")) -> Table:
    """A block a protocol: rows are component sets, columns noise rates, each with best and last accuracy.

    Cells hold `paper` where the paper has the data set, noise and method, and `difference` (ours - paper) where
    every setting is the paper's. Other protocols get the paper's rows as a block of their own.
    """
    finished(runs)
    usable = with_factors(runs, ROWS, COLUMNS)
    groups = group_by_protocol(usable, ROWS, VARYING)
    named = sorted(zip(titles(groups, HEAD), groups, strict=True), key=lambda pair: pair[0])
    blocks = [_block(title, group, statistics) for title, group in named]
    references = _references(groups, statistics)
    return Table(
        title="Components of SANM",
        blocks=(*blocks, *references),
        notes=(selection_rules(usable, statistics), *provenance.left_out(runs, usable, ROWS, COLUMNS)),
    )


def _block(title: str, group: Group, statistics: Sequence[str]) -> Block:
    present = group.runs[ROWS].unique().tolist()
    row_order = [name for name in ORDER if name in ALWAYS_SHOWN or name in present]
    row_order += sorted(name for name in present if name not in ORDER)
    cells = summarise(group.runs, ROWS, COLUMNS, row_order, statistics)
    cells, comparison = _beside_the_paper(cells, group.settings)
    return Block(
        title=title,
        rows=ROWS,
        columns=COLUMNS,
        cells=labelled(cells, group.settings, HEAD),
        warnings=tuple(_warnings(group.runs)),
        notes=(
            provenance.protocol(group.settings),
            *comparison,
            *provenance.without_test(group.runs),
            *provenance.unfinished(group.runs, ROWS, COLUMNS),
            *provenance.not_started(cells, ROWS, COLUMNS),
            provenance.code(group.runs),
        ),
    )


def _beside_the_paper(cells: pd.DataFrame, settings: dict[str, object]) -> tuple[pd.DataFrame, list[str]]:
    if not _paper_has(settings):
        return cells.assign(paper=float("nan"), difference=float("nan")), []
    cells = cells.merge(_reported(str(settings["data.name"])), on=["statistic", ROWS, COLUMNS], how="left")
    departures = paper.departures(settings)
    if departures:
        return cells.assign(difference=float("nan")), [f"Not the paper's setting: {', '.join(departures)}."]
    return cells.assign(difference=cells["mean"] - cells["paper"]), []


def _paper_has(settings: dict[str, object]) -> bool:
    same = all(settings.get(key) == value for key, value in paper.EXPERIMENT.items())
    return same and settings.get("data.name") in paper.DATASETS


def _reported(dataset: str) -> pd.DataFrame:
    return paper.reported_components(dataset).rename(columns={"components": ROWS, "rate": COLUMNS})


def _references(groups: list[Group], statistics: Sequence[str]) -> list[Block]:
    others = [group.settings.get("data.name") for group in groups if not _paper_has(group.settings)]
    blocks = []
    for dataset in sorted({str(name) if name in paper.DATASETS else "cifar10" for name in others}):
        numbers = _reported(dataset)
        cells = pd.concat([numbers[numbers["statistic"] == statistic] for statistic in statistics])
        if not cells.empty:
            title = REFERENCE.format(paper.DATASET_TITLES[dataset])
            experiment = {**paper.EXPERIMENT, "data.name": dataset}
            blocks.append(Block(title, ROWS, COLUMNS, labelled(cells, experiment, HEAD)))
    return blocks


def _warnings(runs: pd.DataFrame) -> list[str]:
    switches = {f"components.{switch}" for switch in ("name", *SWITCHES)}
    settings = setting_columns(runs)
    components = [key for key in settings if key.startswith("components.") and key not in switches]
    following = [key for key in FOLLOW_THE_RATE if key in settings]
    return [
        *provenance.mixed_code(runs),
        *provenance.mixed_settings(runs, components),
        *provenance.mixed_settings(runs, following, within=[COLUMNS]),
    ]
