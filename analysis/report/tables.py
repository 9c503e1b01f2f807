"""The tables of the report: blocks as text, with the runs behind each cell."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup, escape

from analysis.compare.blocks import Block, Table, runs_behind
from analysis.compare.render import LEGEND, Kind, Line, Writing, headings, lines

MOST_BLOCKS = 30


@dataclass(frozen=True)
class PrintedLine:
    """A line of a block; `cells` are its texts, each with the numbers of the listed runs behind it."""

    label: Markup
    kind: Kind
    cells: list[tuple[Markup, list[int]]]


@dataclass(frozen=True)
class LineGroup:
    """The lines of one statistic; the realised noise belongs to none."""

    statistic: Markup
    lines: list[PrintedLine]


@dataclass(frozen=True)
class PrintedBlock:
    """A block as a page shows it."""

    block: Block
    headings: list[str]
    groups: list[LineGroup]


@dataclass(frozen=True)
class PrintedTable:
    """A table as a page shows it: at most `MOST_BLOCKS` blocks, the others counted."""

    title: str
    notes: list[str]
    blocks: list[PrintedBlock]
    footnotes: list[str]
    left_out: int


def printed(name: str, table: Table, run_numbers: Mapping[str, int]) -> PrintedTable:
    """The table as text; `run_numbers` are those of the listed runs, by name."""
    mark = f'<sup><a href="#{name}-note-{{0}}">{{0}}</a></sup>'.format
    writing = Writing(plain=lambda text: str(escape(text)), bold="<strong>{}</strong>".format, mark=mark)
    return PrintedTable(
        title=table.title,
        notes=[*table.notes, LEGEND.format("bold", table.bold)],
        blocks=[_block(block, writing, run_numbers) for block in table.blocks[:MOST_BLOCKS]],
        footnotes=writing.footnotes,
        left_out=max(0, len(table.blocks) - MOST_BLOCKS),
    )


def _block(block: Block, writing: Writing, run_numbers: Mapping[str, int]) -> PrintedBlock:
    by_statistic = groupby(lines(block, writing), key=lambda line: line.statistic)
    groups = [
        LineGroup(Markup(statistic), [_line(block, line, run_numbers) for line in members])
        for statistic, members in by_statistic
    ]
    return PrintedBlock(block, headings(block), groups)


def _line(block: Block, line: Line, run_numbers: Mapping[str, int]) -> PrintedLine:
    behind = [runs_behind(block, cell) for cell in line.cells] if line.kind == "ours" else [[]] * len(line.texts)
    numbers = [[run_numbers[name] for name in names if name in run_numbers] for names in behind]
    # The texts are written as HTML already.
    return PrintedLine(Markup(line.label), line.kind, list(zip(map(Markup, line.texts), numbers, strict=True)))
