"""What a table is made of, and which runs may stand in one block of it: those of one protocol."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.records.load import setting_columns

# Sections of a config that only SANM reads. A run lacks what cannot matter to it: a plain method has none of
# these, a run without reconstruction lacks the settings of the reconstruction.
SANM_SECTIONS = ("components", "tau", "mask_strategy", "mask_source", "variant")
SWITCHES = ("amg", "nlr", "smr")
PLUGIN = "plugin"  # its name is a setting of every run, its other settings of those that have one
# With more keys than this in which blocks differ, a title has only those in which its block departs from most others.
TITLE_KEYS = 4

Settings = frozenset[tuple[str, object]]


@dataclass(frozen=True)
class Block:
    """Cells of one protocol in long form, a row a (statistic, row, column); `rows` and `columns` name factors.

    `contest` names the column of the cells within whose values a column's best is looked for (all rows, if None);
    `differences` are the rows that hold differences of others: they are written with their sign and are never best.
    `digits` of a statistic's numbers (1, if not said), and the statistics of which the `lowest` number is the best.
    `runs` are those behind the cells, finished or not, with `rows` and `columns` among their columns, and `compared`
    the two rows behind each row of differences; nobody ran anything for the paper's own rows.
    """

    title: str
    rows: str
    columns: str
    cells: pd.DataFrame
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    contest: str | None = None
    differences: frozenset[str] = frozenset()
    digits: Mapping[str, int] = field(default_factory=dict)
    lowest: frozenset[str] = frozenset()
    runs: pd.DataFrame | None = None
    compared: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A titled sequence of blocks, with what holds for all of them; the renderers need nothing else.

    `bold` says in words what is printed bold.
    """

    title: str
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]
    bold: str = "best of its column"


@dataclass(frozen=True)
class Group:
    """Runs that share a protocol: equal in every setting but those that the table varies."""

    settings: dict[str, object]
    runs: pd.DataFrame


def group_by_protocol(
    runs: pd.DataFrame, rows: str, varying: Collection[str], alike: Collection[str] = ()
) -> list[Group]:
    """Groups runs by every setting outside `varying` (columns, or whole sections such as "components").

    `alike` are settings of those sections that are the same in a group nevertheless.
    `rows` is the factor whose values are compared. A run joins each group of its protocol that has all of its
    SANM settings, unless the group has runs of the same row: a run without SANM stands in every tau's block.
    """
    keys = [
        key for key in setting_columns(runs) if key in alike or (key not in varying and _section(key) not in varying)
    ]
    members: dict[Settings, dict[Settings, list[int]]] = {}
    for position, values in enumerate(runs[keys].to_dict("records")):
        present = {(str(key), value) for key, value in values.items() if not _missing(value)}
        sanm = frozenset(item for item in present if _section(item[0]) in SANM_SECTIONS)
        members.setdefault(frozenset(present - sanm), {}).setdefault(sanm, []).append(position)
    return [
        Group(settings=dict(protocol | sanm), runs=runs.iloc[positions])
        for protocol, by_sanm in members.items()
        for sanm, positions in _joined(by_sanm, runs[rows].tolist()).items()
    ]


def titles(groups: list[Group], head: Mapping[str, str]) -> list[str]:
    """A title a group: the `head` settings in their formats, then what differs between groups of one head."""
    # That SANM has no part in a group need not be said of each of its settings, unless that leaves two titles alike.
    short = _titles(groups, head, keys_that_differ=_differ_where_set)
    return short if len({*short}) == len(short) else _titles(groups, head, keys_that_differ=_differ)


def _titles(
    groups: list[Group],
    head: Mapping[str, str],
    keys_that_differ: Callable[[Sequence[Mapping[str, object]]], list[str]],
) -> list[str]:
    heads = [tuple(group.settings.get(key) for key in head) for group in groups]
    relatives: dict[tuple[object, ...], list[Mapping[str, object]]] = {}
    for group, own_head in zip(groups, heads, strict=True):
        relatives.setdefault(own_head, []).append(group.settings)
    different = {own_head: keys_that_differ(settings) for own_head, settings in relatives.items()}
    usual = {
        own_head: {key: _most_common(key, relatives[own_head]) for key in different[own_head]} for own_head in relatives
    }
    result = []
    for group, own_head in zip(groups, heads, strict=True):
        parts = [shape.format(group.settings[key]) for key, shape in head.items() if key in group.settings]
        keys = different[own_head]
        if len(keys) > TITLE_KEYS:
            keys = [key for key in keys if group.settings.get(key) != usual[own_head][key]]
        said = [key for key in keys if key in group.settings or keys_that_differ is _differ]
        parts.extend(f"{key}={shown(group.settings.get(key))}" for key in said)
        result.append(" · ".join(parts))
    return result


def _differ(settings: Sequence[Mapping[str, object]]) -> list[str]:
    keys = set().union(*settings)
    return sorted(key for key in keys if len({one.get(key) for one in settings}) > 1)


def _differ_where_set(settings: Sequence[Mapping[str, object]]) -> list[str]:
    def differs(key: str) -> bool:
        may_lack = _section(key) in (*SANM_SECTIONS, PLUGIN)
        return len({one.get(key) for one in settings if key in one or not may_lack}) > 1

    return sorted(filter(differs, set().union(*settings)))


def _most_common(key: str, settings: Sequence[Mapping[str, object]]) -> object:
    return Counter(one[key] for one in settings if key in one).most_common(1)[0][0]


def runs_behind(block: Block, cell: Mapping[Hashable, Any]) -> list[str]:
    """The names of the runs that a cell is made of; none where there are none."""
    if block.runs is None or block.rows not in cell:
        return []
    rows = block.compared.get(cell[block.rows], (cell[block.rows],))
    runs = block.runs[block.runs[block.rows].isin(rows) & (block.runs[block.columns] == cell[block.columns])]
    return runs["run"].tolist()


def labelled(cells: pd.DataFrame, settings: Mapping[str, object], head: Iterable[str]) -> pd.DataFrame:
    """The cells with their experiment in columns, so that the long form can be read without its titles."""
    return pd.concat([pd.DataFrame({key: settings.get(key) for key in head}, index=cells.index), cells], axis=1)


def shown(value: object) -> str:
    """A setting as a person writes it: 5 where pandas made 5.0 of a column with gaps, [1, 2] for a tuple."""
    if value is None:
        return "not set"
    if isinstance(value, tuple):
        return f"[{', '.join(shown(item) for item in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def percent(rate: float) -> str:
    """A share as a person writes it: 45 %."""
    return "unknown" if math.isnan(rate) else f"{100 * rate:.3g} %"


def settings_of_sanm(runs: pd.DataFrame) -> list[str]:
    """The settings of the plug-in itself, in which rows may differ unseen: all but which parts it has."""
    parts = {f"components.{part}" for part in ("name", *SWITCHES)}
    return [key for key in setting_columns(runs) if key.startswith("components.") and key not in parts]


def _joined(by_sanm: dict[Settings, list[int]], row_of: list[object]) -> dict[Settings, list[int]]:
    rows = {sanm: {row_of[position] for position in positions} for sanm, positions in by_sanm.items()}

    def joins(smaller: Settings, larger: Settings) -> bool:
        # Runs of one row have the same keys; where they do not, the extra key is a setting of its own.
        return smaller < larger and rows[smaller].isdisjoint(rows[larger])

    own_blocks = [sanm for sanm in by_sanm if not any(joins(sanm, other) for other in by_sanm)]
    return {
        block: sorted(p for sanm in by_sanm if sanm == block or joins(sanm, block) for p in by_sanm[sanm])
        for block in own_blocks
    }


def _section(key: str) -> str:
    return key.partition(".")[0]


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
