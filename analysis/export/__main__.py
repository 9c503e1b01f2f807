"""`python -m analysis.export RUNS --to tensorboard|mlflow|wandb`: run directories into a tracker."""

from sanm.machine import stopping

if __name__ == "__main__":
    stopping.listen()  # before anything heavy is imported

import hashlib
import importlib
import os
import signal
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from analysis.command_line import Parser, exit_status, say
from analysis.export.passes import Passes
from analysis.export.tracker import Tracker
from analysis.records.load import run_directories
from sanm.errors import InputError
from sanm.machine.stopping import REQUEUE, STOP_SIGNALS, Stop, stop_signals
from sanm.terminal.output import complain

PROJECT = "sanm"
GLANCE = 0.1
"""Seconds between two looks whether a signal came."""
OPTIONS = {"tensorboard": ("out",), "mlflow": ("uri", "project"), "wandb": ("out", "project", "offline")}
"""Which options each tracker takes."""


def main(arguments: list[str] | None = None) -> int:
    """Writes the runs to the tracker that the command line names; returns the exit status."""
    return exit_status(lambda: _answer(_parser().parse_args(arguments)))


def _answer(options: Namespace) -> int:
    _check(options)
    runs = Path(options.runs)
    _look(runs, options.follow)
    place = _place(options, runs)
    with _alone_at(f"{options.to} {place} {options.project}"):
        tracker = _tracker(options, place)
        passes = Passes(runs, tracker)
        if options.follow:
            return _follow(passes, runs, tracker, options.every)
        with closing(tracker):
            passes.once()
        say(f"{passes.news}")
        say(tracker.place)
        return 0


def _follow(passes: Passes, runs: Path, tracker: Tracker, every: float) -> int:
    """Goes on until a signal comes; the run that is being written then is written whole."""
    say(f"{tracker.place}; Ctrl-C ends")
    with stop_signals((signal.SIGINT, *STOP_SIGNALS)) as stop, closing(tracker):
        _pass(passes, runs, stop)
        while not stop():
            _wait(every, stop)
            try:
                _pass(passes, runs, stop)
            except InputError as error:  # once it has gone well, it may again
                complain(f"warning  {error}; trying again")
    complain(f"stopped  {passes.news}: {stopping.GOES_ON}")
    return REQUEUE


def _pass(passes: Passes, runs: Path, stop: Stop) -> None:
    if _look(runs, True) and passes.once(stop):
        say(f"{time.strftime('%H:%M:%S')} {passes.news}")


def _wait(seconds: float, stop: Stop) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stop():
        time.sleep(min(GLANCE, seconds))


def _look(runs: Path, follow: bool) -> bool:
    """Whether there are runs. Raises InputError where there are none, unless somebody waits for the first."""
    try:
        return bool(run_directories(runs))
    except InputError:
        if not follow or not runs.is_dir() or (runs / "config.yaml").exists():
            raise
        return False


def _check(options: Namespace) -> None:
    for key in ("out", "uri", "project", "offline"):
        if getattr(options, key) and key not in OPTIONS[options.to]:
            own = ", ".join(f"--{name}" for name in OPTIONS[options.to])
            raise InputError(f"--{key} is no option of --to {options.to}: it takes {own}")
    if not options.every > 0:
        raise InputError(f"--every {options.every:g}: give a number of seconds above 0")


def _place(options: Namespace, runs: Path) -> str:
    if options.to == "mlflow":
        uri = options.uri or os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            raise InputError("give --uri, as in --uri sqlite:///mlflow.db, or set MLFLOW_TRACKING_URI")
        return str(uri)
    beside = runs.absolute().parent / f"{runs.absolute().name}-{options.to}"
    return str(Path(options.out).expanduser() if options.out else beside)


def _tracker(options: Namespace, place: str) -> Tracker:
    project = options.project or PROJECT
    makers: dict[str, Callable[..., Tracker]] = {
        "tensorboard": lambda module: module.TensorBoard(Path(place)),
        "mlflow": lambda module: module.MLflow(place, project),
        "wandb": lambda module: module.WeightsAndBiases(Path(place), project, _offline(options)),
    }
    try:
        module = importlib.import_module(f"analysis.export.to_{options.to}")
    except ImportError as error:
        extra = f"pip install 'sanm[{options.to}]'"
        raise InputError(f"--to {options.to} needs packages that are not installed ({error}): {extra}") from error
    return makers[options.to](module)


def _offline(options: Namespace) -> bool:
    return bool(options.offline) or os.environ.get("WANDB_MODE") == "offline"


@contextmanager
def _alone_at(place: str) -> Iterator[None]:
    """Two processes would each find a run missing, and write it twice."""
    own = hashlib.sha256(f"{os.getuid()} {place}".encode(errors="surrogateescape")).hexdigest()[:16]
    try:
        with FileLock(Path(tempfile.gettempdir(), f"sanm-export-{own}.lock"), timeout=0):
            yield
    except Timeout:
        raise InputError(f"{place}: another export writes there now: wait for it, or stop it") from None


def _parser() -> Parser:
    parser = Parser(
        prog="python -m analysis.export",
        description="Runs into the tracker of a group: curves, settings, results, tables, pictures of masks. The same "
        "command again adds what is new. Details: docs/trackers.md.",
    )
    parser.add_argument("runs", metavar="RUNS", help="the folder that holds the run directories")
    parser.add_argument("--to", choices=sorted(OPTIONS), required=True, help="which tracker")
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="tensorboard, wandb: the folder written to (default: beside RUNS, RUNS-tensorboard)",
    )
    parser.add_argument("--uri", help="mlflow: sqlite:///FILE or http://... (default: MLFLOW_TRACKING_URI)")
    parser.add_argument("--project", help=f"wandb: project, mlflow: experiment (default: {PROJECT})")
    parser.add_argument("--offline", action="store_true", help="wandb: write files for wandb sync, ask no server")
    parser.add_argument("--follow", action="store_true", help="go on while runs train, until Ctrl-C")
    parser.add_argument(
        "--every", type=float, default=10, metavar="SECONDS", help="how often --follow looks (default: %(default)g)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
