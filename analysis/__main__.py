"""`python -m analysis RUNS`: what a folder of runs holds, what of it cannot be read, and how long reading took."""

import sys
from pathlib import Path
from time import perf_counter

from analysis.command_line import Parser, exit_status, say
from analysis.records.load import STATUSES, load, load_epochs


def main(arguments: list[str] | None = None) -> int:
    """Prints the counts, then a line for each record that is not readable; returns the exit status."""
    parser = Parser(
        prog="python -m analysis",
        description="What a folder of runs holds: counts by status, seconds to read, unreadable records. "
        "Beside it: python -m analysis.tables, analysis.figures, analysis.report.",
    )
    parser.add_argument("runs", metavar="RUNS", help="the folder that holds the run directories")
    return exit_status(lambda: _describe(Path(parser.parse_args(arguments).runs)))


def _describe(directory: Path) -> None:
    start = perf_counter()
    runs = load(directory)
    runs_read = perf_counter()
    epochs = load_epochs(directory)
    epochs_read = perf_counter()
    counts = runs["status"].value_counts()
    by_status = ", ".join(f"{counts[status]} {status}" for status in STATUSES if status in counts)
    say(f"{len(runs)} runs ({by_status}), read in {runs_read - start:.1f} s")
    say(f"{len(epochs)} epochs, read in {epochs_read - runs_read:.1f} s")
    for record in runs[runs["status"] == "unreadable"].to_dict("records"):
        say(f"unreadable: {record['run']}: {record['reason']}")


if __name__ == "__main__":
    sys.exit(main())
