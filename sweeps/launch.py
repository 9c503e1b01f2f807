"""The command line of grids: ``python -m sweeps.launch status|show|run|retry GRID [overrides]``.

A cell of a grid is a run like any other: found by its config, skipped when it is done, resumed when it was
interrupted. Exit statuses are those of ``sanm.run``: 0 all done, 1 cells failed, 2 bad input, 3 cells are missing,
75 stopped by a signal after saving.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from hydra import initialize_config_dir
from omegaconf import OmegaConf

from sanm import output
from sanm.cells import Cell, CellCache, cells_of
from sanm.command_line import Parser
from sanm.config import CONF
from sanm.errors import InputError
from sanm.explain import one_line
from sanm.multirun import check_writable
from sanm.run import FAILED, MISSING, REFUSED, REQUEUE, show_warning
from sanm.several.processes import check_alone
from sweeps.grids import GRIDS, Grid
from sweeps.launchers import Job, launch, settings_of
from sweeps.selection import command_lines, grid_named, key_of
from sweeps.states import OPEN, Progress, State

TAKES: dict[str, tuple[State, ...]] = {"run": OPEN, "retry": ("failed",)}
"""Which cells a command trains."""


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit status."""
    warnings.showwarning = show_warning
    try:
        options = _parser().parse_intermixed_args(arguments)
        check_alone()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return _answer(options)
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on from here", file=sys.stderr)
        return FAILED
    except Exception as error:
        if output.is_gone(error):
            output.leave()
        explained = one_line(error)
        if explained is None:
            raise
        print(f"error    {explained}", file=sys.stderr)
        return REFUSED


def _parser() -> argparse.ArgumentParser:
    grids = "\n".join(f"  {grid.name:<14} {grid.title}" for grid in GRIDS.values())
    parser = Parser(
        prog="python -m sweeps.launch",
        description="A paper table or figure as a grid of runs: what is done, what is missing, and training the rest.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"grids:\n{grids}",
    )
    parser.add_argument(
        "command",
        choices=("status", "show", "run", "retry"),
        help="count | list the cells | train what is missing or interrupted | train what failed",
    )
    parser.add_argument("grid", metavar="GRID")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="for all cells (data.root=PATH, seed=1,2,3), or launch=local|parallel|slurm and launch.KEY=VALUE, "
        "which conf/launch lists",
    )
    parser.add_argument("--only", action="append", default=[], metavar="KEY=VALUE,...", help="a part of the grid")
    parser.add_argument("--max-cells", type=int, metavar="N", help="train at most so many now")
    parser.add_argument("--dry-run", action="store_true", help="say what would be trained")
    return parser


def _answer(options: argparse.Namespace) -> int:
    grid = grid_named(options.grid)
    words = [word for word in options.overrides if key_of(word).partition(".")[0] == "launch"]
    extra = [word for word in options.overrides if word not in words]
    if options.max_cells is not None and options.max_cells < 1:
        raise InputError(f"--max-cells {options.max_cells}: must be at least 1")
    settings_of(words)  # before anything is composed
    runs_dir = _runs_dir(extra)
    cells = _cells(
        command_lines(grid, extra, options.only), runs_dir, trains=options.command in TAKES and not options.dry_run
    )
    progress = Progress.of(cells)
    if options.command in TAKES:
        return _train(grid, progress, options, words, runs_dir)
    print(
        "\n".join([f"grid     {grid.name}: {grid.title}; {len(cells)} cells in {runs_dir}", *_shown(options, progress)])
    )
    return _status(progress)


def _shown(options: argparse.Namespace, progress: Progress) -> list[str]:
    if options.command == "status":
        return progress.lines()
    pairs = zip(progress.cells, progress.states, strict=True)
    return [f"{state:<12} {cell.run.name}  {' '.join(cell.overrides)}" for cell, state in pairs]


def _cells(lines: Sequence[Sequence[str]], runs_dir: Path, trains: bool) -> list[Cell]:
    cache = CellCache(runs_dir)
    cells = cells_of(lines, cache, to_train=trains)
    if trains:
        check_writable(runs_dir)
    cache.save()
    return cells


def _runs_dir(extra: Sequence[str]) -> Path:
    given = [word.partition("=")[2] for word in extra if key_of(word) == "runs_dir"]
    found = given[-1] if given else OmegaConf.load(CONF / "config.yaml").runs_dir
    return Path(str(found).strip("'\"")).expanduser()


def _train(grid: Grid, progress: Progress, options: argparse.Namespace, words: list[str], runs_dir: Path) -> int:
    cells = progress.having(*TAKES[options.command])[: options.max_cells]
    if options.dry_run:
        print("\n".join(f"would {options.command} {cell.run.name}  {' '.join(cell.overrides)}" for cell in cells))
        return 0
    arguments = ["retry=true"] if options.command == "retry" else []
    stopped = bool(cells) and launch(cells, words, Job(progress, runs_dir, arguments)).stopped
    now = Progress.of(progress.cells)
    print("\n".join([f"grid     {now.counts()['done']} of {len(now.cells)} runs done, in {runs_dir}", *_open(now)]))
    return REQUEUE if stopped else _status(now)


def _open(progress: Progress) -> list[str]:
    counts = progress.counts()
    rest = [f"{state:<8} {counts[state]} runs" for state in ("running", *OPEN) if counts[state]]
    failed = [f"failed   {cell.run.name}: {cell.run.failure_reason()}" for cell in progress.having("failed")]
    return [*rest, *failed]


def _status(progress: Progress) -> int:
    counts = progress.counts()
    if counts["done"] == len(progress.cells):
        return 0
    return FAILED if counts["failed"] else MISSING


if __name__ == "__main__":
    sys.exit(main())
