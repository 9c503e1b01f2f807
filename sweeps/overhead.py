"""What a grid costs beyond its training: ``python -m sweeps.overhead [--cells N] [--json FILE]``.

Three command lines are timed, each a process of its own: the help, a grid of so many cells that train next to
nothing on the bundled digits, and the same grid again, when all of it is finished.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sanm.errors import InputError
from sanm.files import write_atomically
from sanm.run import FAILED, REFUSED

CELL = ("base_method=ce", "trainer.epochs=1", "trainer.last_window=1", "data.subset=40", "data.test_subset=40")
"""A run of two steps."""


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock, and of all processors together."""

    wall: float
    cpu: float

    def beyond(self, training: float, cells: int) -> Cost:
        """A cell's share of what is not training."""
        return Cost((self.wall - training) / cells, (self.cpu - training) / cells)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write. Returns an exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.cells < 1:
            raise InputError(f"--cells {options.cells}: must be at least 1")
        with tempfile.TemporaryDirectory(prefix="sanm-overhead-") as runs_dir:
            found = measure(Path(runs_dir), options.cells)
        print(text(found))
        if options.json is not None:
            written = json.dumps(found, indent=1) + "\n"
            write_atomically(options.json, lambda file: file.write(written.encode()))
    except InputError as error:
        print(f"error    {error}", file=sys.stderr)
        return REFUSED
    except subprocess.CalledProcessError as error:
        print(f"error    {' '.join(error.cmd)}: ended with {error.returncode}\n{error.stderr}", file=sys.stderr)
        return FAILED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sweeps.overhead", description="What a grid of runs costs beyond its training."
    )
    parser.add_argument("--cells", type=int, default=100, metavar="N", help="cells of the grid (100)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    return parser


def measure(runs_dir: Path, cells: int) -> dict[str, Any]:
    """Costs of the three command lines; ``runs_dir`` is empty before."""
    grid = ["-m", f"runs_dir={runs_dir}", *CELL, f"seed={','.join(map(str, range(1, cells + 1)))}"]
    helped = cost(["--help"])
    trained = cost(grid)
    training = sum(json.loads(file.read_text())["seconds"] for file in runs_dir.glob("*/result.json"))
    return {
        "cells": cells,
        "help": asdict(helped),
        "cell_beyond_training": asdict(trained.beyond(training, cells)),
        "finished_again": asdict(cost(grid)),
    }


def cost(words: Sequence[str]) -> Cost:
    """What ``python -m sanm.run`` with these words takes. Raises CalledProcessError when it does not succeed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "sanm.run", *words],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def text(found: dict[str, Any]) -> str:
    """The figures as a table."""
    rows = {
        "--help": found["help"],
        "a cell, beyond its training": found["cell_beyond_training"],
        f"the same command over {found['cells']} finished cells": found["finished_again"],
    }
    lines = [f"{'python -m sanm.run':<52}{'seconds':>10}{'of CPU':>10}"]
    return "\n".join(lines + [f"{name:<52}{each['wall']:>10.2f}{each['cpu']:>10.2f}" for name, each in rows.items()])


if __name__ == "__main__":
    sys.exit(main())
