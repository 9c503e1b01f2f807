"""The tables of the report: blocks as text, with the runs behind each cell."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from analysis.blocks import Block, Table, runs_behind
from analysis.render import LEGEND, Cell, Line, headings, lines

MOST_BLOCKS = 30


@dataclass(frozen=True)
class PrintedLine:
    """A line of a block; `runs` are the numbers of the listed runs behind each of its cells."""

    line: Line
    runs: list[list[int]]


@dataclass(frozen=True)
class LineGroup:
    """The lines of one statistic; the realised noise belongs to none."""

    statistic: str
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
    left_out: int


def printed(table: Table, run_numbers: Mapping[str, int]) -> PrintedTable:
    """The table as text; `run_numbers` are those of the listed runs, by name."""
    return PrintedTable(
        title=table.title,
        notes=[*table.notes, LEGEND.format("bold", table.bold)],
        blocks=[_block(block, run_numbers) for block in table.blocks[:MOST_BLOCKS]],
        left_out=max(0, len(table.blocks) - MOST_BLOCKS),
    )


def _block(block: Block, run_numbers: Mapping[str, int]) -> PrintedBlock:
    def behind(cell: Cell) -> list[int]:
        return [run_numbers[name] for name in runs_behind(block, cell) if name in run_numbers]

    printed_lines = [
        PrintedLine(line, [behind(cell) for cell in line.cells] if line.kind == "ours" else [[]] * len(line.texts))
        for line in lines(block)
    ]
    by_statistic = groupby(printed_lines, key=lambda printed_line: printed_line.line.statistic)
    groups = [LineGroup(statistic, list(members)) for statistic, members in by_statistic]
    return PrintedBlock(block, headings(block), groups)
