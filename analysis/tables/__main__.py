"""`python -m analysis.tables RUNS --table components`: a table from run directories."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from analysis.load import load
from analysis.render import RENDERERS
from analysis.tables import build, names, require
from sanm.errors import InputError


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        """Raises what the command line prints."""
        raise InputError(f"{message} (see python -m analysis.tables --help)")


def main(arguments: list[str] | None = None) -> int:
    """Prints or writes the table that the command line asks for; returns the exit status."""
    try:
        options = _parser().parse_args(arguments)
        require(options.table)
        table = build(options.table, load(options.runs), _statistics(options.statistic))
        _deliver(RENDERERS[options.format](table), options.out)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m analysis.tables",
        description="A table from run directories: mean, spread and count of each cell, what is missing, "
        "what made it, and the paper's numbers beside it.",
    )
    parser.add_argument("runs", metavar="RUNS", help="the folder that holds the run directories")
    parser.add_argument("--table", required=True, metavar="NAME", help=f"one of: {', '.join(names())}")
    parser.add_argument(
        "--format",
        choices=sorted(RENDERERS),
        default="md",
        help="md for people (default), csv in long form for programs, latex with booktabs",
    )
    parser.add_argument(
        "--statistic",
        metavar="LIST",
        help="which numbers; of accuracies, from: best, last, selected (default: best,last)",
    )
    parser.add_argument("--out", metavar="FILE", help="write to this file instead of the terminal")
    return parser


def _statistics(text: str | None) -> list[str] | None:
    return None if text is None else list(dict.fromkeys(name.strip() for name in text.split(",")))


def _deliver(text: str, out: str | None) -> None:
    if out is None:
        print(text, end="")
        return
    try:
        Path(out).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
