"""`python -m analysis.tables RUNS --table components`: a table from run directories."""

import argparse
import sys

from analysis.command_line import Parser, write
from analysis.load import load
from analysis.render import RENDERERS
from analysis.summary import STATISTICS
from analysis.tables import DEFAULT_STATISTICS, build, names, require
from sanm.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Prints or writes the table that the command line asks for; returns the exit status."""
    try:
        options = _parser().parse_args(arguments)
        require(options.table)
        table = build(options.table, load(options.runs), _statistics(options.statistic))
        text = RENDERERS[options.format](table)
        if options.out is None:
            print(text, end="")
        else:
            write(text, options.out)
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
        default=",".join(DEFAULT_STATISTICS),
        metavar="LIST",
        help=f"which accuracies, from: {', '.join(STATISTICS)} (default: %(default)s)",
    )
    parser.add_argument("--out", metavar="FILE", help="write to this file instead of the terminal")
    return parser


def _statistics(text: str) -> list[str]:
    chosen = [name.strip() for name in text.split(",")]
    unknown = [name for name in chosen if name not in STATISTICS]
    if unknown:
        raise InputError(f"unknown statistic {unknown[0]!r}; known statistics: {', '.join(STATISTICS)}")
    return list(dict.fromkeys(chosen))


if __name__ == "__main__":
    sys.exit(main())
