"""`python -m analysis.tables RUNS --table components`: a table from run directories."""

import sys
import textwrap
from argparse import Namespace
from pathlib import Path

import pandas as pd

from analysis.command_line import Parser, exit_status, say
from analysis.compare.render import RENDERERS, WIDTH
from analysis.records.load import load
from analysis.tables import build, described, names, require
from sanm.errors import InputError
from sanm.files import write_bytes
from sanm.terminal.command_line import check_output


def main(arguments: list[str] | None = None) -> int:
    """Prints or writes the table that the command line asks for; returns the exit status."""
    return exit_status(lambda: _answer(_parser().parse_args(arguments)))


def _answer(options: Namespace) -> None:
    out = Path(options.out).expanduser() if options.out is not None else None
    if out is not None:
        check_output(out, options.overwrite)
    if options.list:
        _deliver(_listing(load(options.runs)), out)
        return
    if options.table is None:
        raise InputError(f"give --list, or --table with one of: {', '.join(names())}")
    require(options.table)
    table = build(options.table, load(options.runs), _statistics(options.statistic))
    _deliver(RENDERERS[options.format](table), out)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m analysis.tables",
        description="A table from run directories: mean, spread and count of each cell, what is missing, "
        "what made it, and the paper's numbers beside it.",
    )
    parser.add_argument("runs", metavar="RUNS", help="the folder that holds the run directories")
    parser.add_argument("--table", metavar="NAME", help=f"one of: {', '.join(names())}")
    parser.add_argument("--list", action="store_true", help="what each table is, and whether these runs support it")
    parser.add_argument(
        "--format",
        choices=sorted(RENDERERS),
        default="md",
        help="md for people (default), csv in long form for programs, latex with booktabs",
    )
    parser.add_argument(
        "--statistic",
        metavar="LIST",
        help="which numbers; of accuracies best, last, selected, validation (default: best,last); else docs/tables.md",
    )
    parser.add_argument("--out", metavar="FILE", help="write to this file instead of the terminal")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")
    return parser


def _listing(runs: pd.DataFrame) -> str:
    lines = []
    for name in names():
        try:
            build(name, runs)
            answer = "yes"
        except InputError as error:
            answer = f"no: {error}"
        lines.append(f"{name}\n    {described(name)}")
        lines.append(textwrap.fill(answer, WIDTH, initial_indent="    ", subsequent_indent="    "))
    return "\n".join(lines) + "\n"


def _statistics(text: str | None) -> list[str] | None:
    return None if text is None else list(dict.fromkeys(name.strip() for name in text.split(",")))


def _deliver(text: str, out: Path | None) -> None:
    if out is None:
        say(text.removesuffix("\n"), keep="\n")
        return
    write_bytes(out, text.encode())


if __name__ == "__main__":
    sys.exit(main())
