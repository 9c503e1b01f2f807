"""`python -m analysis.report RUNS`: one HTML page of every table and figure that these runs support."""

import sys
from argparse import Namespace
from pathlib import Path

from analysis.command_line import Parser, exit_status, holds, say
from analysis.records import Records
from analysis.report.page import MARK, MOST_RUNS, page
from sanm.errors import InputError
from sanm.files import write_bytes
from sanm.terminal.command_line import check_output


def main(arguments: list[str] | None = None) -> int:
    """Writes the page that the command line asks for; returns the exit status."""
    return exit_status(lambda: _answer(_parser().parse_args(arguments)))


def _answer(options: Namespace) -> None:
    if options.list < 0:
        raise InputError(f"--list {options.list}: give how many runs to list, 0 for none")
    records = Records(Path(options.runs))
    len(records.runs)  # a folder without runs is the first thing to say
    out = Path(options.out or records.directory / "report.html").expanduser()
    check_output(out, options.overwrite, ours=lambda path: holds(path, MARK.encode()))
    text = page(records, options.list).encode()
    write_bytes(out, text)
    say(f"{out} ({out.stat().st_size / 1e6:.1f} MB)")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m analysis.report",
        description="One HTML page, readable anywhere and without a network: what these runs are, every table and "
        "figure that they support with its command, and the runs themselves, to be filtered, sorted and opened.",
    )
    parser.add_argument("runs", metavar="RUNS", help="the folder that holds the run directories")
    parser.add_argument("--out", metavar="FILE", help="where the page goes (default: RUNS/report.html)")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE, also where it is no such page")
    parser.add_argument(
        "--list", type=int, default=MOST_RUNS, metavar="N", help="list at most N runs (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
