"""Every table and figure that these runs support, each with its command, and what the others lack."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from analysis import figures, tables
from analysis.records import Records
from analysis.report import figures as printed_figures
from analysis.report import tables as printed_tables
from analysis.report.figures import PrintedFigure
from analysis.report.tables import PrintedTable
from sanm.errors import InputError

ROOM_FOR_FIGURES = 12_000_000  # characters; a page that is larger opens slowly, on a phone above all
# Many messages end with the command that helps.
HELP = re.compile(r"(?P<reason>.*?)(?:[;,:]\s*(?:make|start)[^;:]*:)? (?P<command>python -m .*)")

Printed = TypeVar("Printed", PrintedTable, PrintedFigure)


@dataclass(frozen=True)
class Part(Generic[Printed]):
    """A table or a figure, what it is about, and the command that makes it alone."""

    name: str
    about: str
    command: str
    printed: Printed


@dataclass(frozen=True)
class Lacking:
    """A table or figure that these runs do not support: why, and a command that helps."""

    name: str
    reason: str
    command: str


@dataclass(frozen=True)
class Parts:
    """All tables and figures: those that are there, and those that are not."""

    tables: list[Part[PrintedTable]]
    figures: list[Part[PrintedFigure]]
    lacking: list[Lacking]


def parts(records: Records, run_numbers: Mapping[str, int]) -> Parts:
    """What these records support; `run_numbers` are those of the listed runs, by name."""
    room = ROOM_FOR_FIGURES

    def table(name: str) -> PrintedTable:
        return printed_tables.printed(name, tables.build(name, records.runs), run_numbers)

    def figure(name: str) -> PrintedFigure:
        nonlocal room
        made = printed_figures.printed(name, figures.build(name, records), room)
        room -= printed_figures.size(made.charts)
        return made

    made_tables, without_table = _supported("table", tables.names(), records, table, tables.described)
    made_figures, without_figure = _supported("figure", figures.names(), records, figure, figures.about)
    return Parts(made_tables, made_figures, [*without_table, *without_figure])


def _supported(
    kind: str, names: Sequence[str], records: Records, make: Callable[[str], Printed], described: Callable[[str], str]
) -> tuple[list[Part[Printed]], list[Lacking]]:
    made, lacking = [], []
    for name in names:
        command = f"python -m analysis.{kind}s {shlex.quote(str(records.directory))} --{kind} {name}"
        try:
            made.append(Part(name, described(name), command, make(name)))
        except InputError as error:
            helpful = HELP.fullmatch(str(error))
            reason, command = (helpful["reason"], helpful["command"]) if helpful else (str(error), command)
            lacking.append(Lacking(f"{kind} {name}", reason, command))
    return made, lacking
