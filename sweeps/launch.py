"""The command line of grids: ``python -m sweeps.launch status|show|run|retry GRID [overrides]``.

A cell of a grid is a run like any other: found by its config, skipped when it is done, resumed when it was
interrupted. Exit statuses are those of ``sanm.run``: 0 all done, 1 cells failed, 2 bad input, 3 cells are missing,
75 stopped by a signal after saving.
"""

from sanm.machine import stopping

if __name__ == "__main__":
    stopping.listen()  # before anything heavy is imported

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra import initialize_config_dir
from omegaconf import OmegaConf

from sanm.config.checks import CONF
from sanm.config.override_words import key_of, value_of
from sanm.errors import InputError
from sanm.grids.cells import Cell, CellCache, cells_of
from sanm.grids.multirun import check_writable
from sanm.machine.several.processes import check_alone
from sanm.machine.stopping import REQUEUE
from sanm.run import FAILED, MISSING, answered
from sanm.terminal import output
from sanm.terminal.command_line import Parser
from sweeps.grids.named import GRIDS, Grid
from sweeps.grids.selection import command_lines, grid_named
from sweeps.grids.states import OPEN, Progress, State
from sweeps.launchers import Job, launch, settings_of

TAKES: dict[str, tuple[State, ...]] = {"run": OPEN, "retry": ("failed",)}
"""Which cells a command trains."""


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit status."""
    return answered(lambda: _answer(_parser().parse_intermixed_args(arguments)))


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
    check_alone()
    grid = grid_named(options.grid)
    words = [word for word in options.overrides if key_of(word).partition(".")[0] == "launch"]
    extra = [word for word in options.overrides if word not in words]
    if options.max_cells is not None and options.max_cells < 1:
        raise InputError(f"--max-cells {options.max_cells}: must be at least 1")
    settings_of(words)  # before anything is composed
    with initialize_config_dir(str(CONF), version_base="1.3"):
        lines = command_lines(grid, extra, options.only)
        runs_dir = _runs_dir(extra)
        cells = _cells(lines, runs_dir, trains=options.command in TAKES and not options.dry_run)
    progress = Progress.of(cells)
    if options.command in TAKES:
        return _train(grid, progress, options, words, runs_dir)
    output.say(f"grid     {grid.name}: {grid.title}; {len(cells)} cells in {runs_dir}")
    for line in _shown(options, progress):
        output.say(line)
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
    given = [value_of(word) for word in extra if key_of(word) == "runs_dir"]
    found = given[-1] if given else OmegaConf.load(CONF / "config.yaml").runs_dir
    return Path(str(found)).expanduser()


def _train(grid: Grid, progress: Progress, options: argparse.Namespace, words: list[str], runs_dir: Path) -> int:
    cells = progress.having(*TAKES[options.command])[: options.max_cells]
    if options.dry_run:
        for cell in cells:
            output.say(f"would {options.command} {cell.run.name}  {' '.join(cell.overrides)}")
        return 0
    for cell in progress.having("done"):
        cell.run.tidy()
    arguments = ["retry=true"] if options.command == "retry" else []
    stopped = bool(cells) and launch(cells, words, Job(progress, runs_dir, arguments)).stopped
    now = Progress.of(progress.cells)
    output.say(f"grid     {now.counts()['done']} of {len(now.cells)} runs done, in {runs_dir}")
    for line in _open(now):
        output.say(line)
    return REQUEUE if stopped else _status(now)


def _open(progress: Progress) -> list[str]:
    counts = progress.counts()
    rest = [f"{state:<8} {counts[state]} runs" for state in ("running", *OPEN) if counts[state]]
    failed = [f"failed   {cell.run.name}: {cell.run.failure_reason()}" for cell in progress.having("failed")]
    unreadable = [f"missing  {cell.run.name}: {cell.run.trouble()}" for cell in progress.having("unreadable")]
    return [*rest, *failed, *unreadable]


def _status(progress: Progress) -> int:
    counts = progress.counts()
    if counts["done"] == len(progress.cells):
        return 0
    return FAILED if counts["failed"] else MISSING


if __name__ == "__main__":
    sys.exit(main())
