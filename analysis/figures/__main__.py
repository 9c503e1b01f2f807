"""`python -m analysis.figures RUNS --figure tau`: a figure from run directories."""

import sys
import textwrap
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from analysis import figures
from analysis.command_line import Parser, exit_status, say
from analysis.figures.chart import Chart
from analysis.figures.files import FORMATS, write
from analysis.records import Records
from sanm.errors import InputError

ALL = "all"
WIDTH = 110


def main(arguments: list[str] | None = None) -> int:
    """Writes the figures that the command line asks for; returns the exit status."""
    return exit_status(lambda: _answer(_parser().parse_args(arguments)))


def _answer(options: Namespace) -> int:
    if options.list:
        say("\n".join(f"{name:16} {figures.about(name)}" for name in figures.names()), keep="\n")
        return 0
    if options.runs is None or options.figure is None:
        raise InputError("give RUNS and --figure NAME, or --list (see python -m analysis.figures --help)")
    formats = _formats(options.format)
    records, folder = Records(Path(options.runs)), Path(options.out).expanduser()
    if options.figure == ALL:
        return _draw_all(records, folder, formats, options.overwrite)
    _deliver(options.figure, figures.build(options.figure, records), folder, formats, options.overwrite)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m analysis.figures",
        description="A figure from run directories: NAME.png, NAME.svg and NAME.csv with the numbers drawn; the "
        "caption says what is shown, the selection rule, how many runs are behind it and which are missing.",
    )
    parser.add_argument("runs", metavar="RUNS", nargs="?", help="the folder that holds the run directories")
    parser.add_argument(
        "--figure", metavar="NAME", help=f"one of: {', '.join(figures.names())}; all: what RUNS support"
    )
    parser.add_argument("--list", action="store_true", help="say what each figure shows")
    parser.add_argument("--out", metavar="DIR", default="figures", help="where the files go (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace files there, also what is no such figure")
    parser.add_argument(
        "--format", default=",".join(FORMATS), metavar="LIST", help="pictures to write (default: %(default)s)"
    )
    return parser


def _formats(text: str) -> list[str]:
    chosen = [name.strip() for name in text.split(",")]
    unknown = [name for name in chosen if name not in FORMATS]
    if unknown:
        raise InputError(f"unknown format {unknown[0]!r}; known formats: {', '.join(FORMATS)}")
    return list(dict.fromkeys(chosen))


def _deliver(name: str, charts: Sequence[Chart], folder: Path, formats: Sequence[str], overwrite: bool) -> None:
    for paths, chart in write(name, charts, folder, formats, overwrite):
        say(" ".join(map(str, paths)))
        say(textwrap.fill(chart.caption, WIDTH, initial_indent="  ", subsequent_indent="  "), keep="\n")


def _draw_all(records: Records, folder: Path, formats: Sequence[str], overwrite: bool) -> int:
    """Draws what these runs support, and says what the other figures lack; 2 when they support nothing."""
    len(records.runs)  # a folder without runs is one line, not one a figure
    lacking: list[str] = []
    for name in figures.names():
        try:
            charts = figures.build(name, records)
        except InputError as error:
            lacking.append(f"not drawn: {name}: {error}")
        else:
            _deliver(name, charts, folder, formats, overwrite)
    for line in lacking:
        say(line)
    return 0 if len(lacking) < len(figures.names()) else 2


if __name__ == "__main__":
    sys.exit(main())
