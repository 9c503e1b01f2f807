"""A Slurm job for every run.

Whether a run is done is asked of its run directory, whether a job is still there of ``squeue``: not of accounting,
which many clusters lack, nor of files that a job leaves only if it ends well. Jobs outlive their launcher; the same
command finds them again in the queue. submitit writes the job scripts and hands the signals on.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanm.config.limits import Limit, check_number
from sanm.errors import InputError
from sanm.grids.cells import Cell
from sanm.machine.stopping import REQUEUE, stop_signals
from sanm.run import MISSING
from sanm.terminal import output
from sweeps.grids.report import Reporter
from sweeps.launchers.workers import TRIES, Outcome

if TYPE_CHECKING:
    from sweeps.launchers import Job

FOLDER = ".slurm"
LEDGER = "jobs.txt"
JOB_NAME = "sanm"
ARRAY = 1000
"""Jobs in one array: Slurm's default limit is 1001."""
GONE = 2
"""A job has left the queue when so many looks in a row did not find it."""


RANGES = {
    "gpus": Limit(at_least=0, at_most=1024),
    "cpus": Limit(at_least=1, at_most=65_536),
    "memory_gb": Limit(above=0, at_most=1_000_000),
    "timeout_min": Limit(at_least=1, at_most=10_000_000),
    "at_once": Limit(at_least=1, at_most=100_000),
    "notice_s": Limit(at_least=1, at_most=86_400),
    "poll_s": Limit(at_least=0.1, at_most=86_400),
}


@dataclass
class Settings:
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gpus: int = 1
    cpus: int = 4
    memory_gb: float | None = None
    timeout_min: int = 1440
    at_once: int = 100
    notice_s: int = 90
    poll_s: float = 15.0
    setup: list[str] = field(default_factory=list)
    sbatch: dict[str, Any] = field(default_factory=dict)


def check(settings: Settings) -> None:
    """Raises InputError where submitit or Slurm is not installed, and for numbers that make no sense."""
    for key, allowed in RANGES.items():
        check_number(f"launch.{key}", getattr(settings, key), allowed)
    try:
        import submitit  # noqa: F401 - whether it is there
    except ImportError as error:
        raise InputError("launch=slurm needs submitit: pip install 'sanm[slurm]'") from error
    missing = [name for name in ("sbatch", "srun", "squeue") if shutil.which(name) is None]
    if missing:
        raise InputError(f"launch=slurm: {missing[0]} is not on this machine; start it where Slurm's commands are")


@dataclass(frozen=True)
class Task:
    """What a job does: one cell, as often as it takes."""

    overrides: tuple[str, ...]

    def __call__(self) -> int:
        """Train what is left of the cell; returns its exit status. Queues the job again when its time was up."""
        from hydra import initialize_config_dir

        from sanm.config.checks import CONF
        from sweeps.launchers.worker import run_cell

        with stop_signals() as stop, initialize_config_dir(str(CONF), version_base="1.3"):
            status = run_cell(list(self.overrides), stop)
        own = _own_job()
        if status == REQUEUE and (queued_jobs() or {}).get(own) == "RUNNING":
            output.say("queue    this job goes on later")  # any other state: it was decided about elsewhere
            subprocess.run(["scontrol", "requeue", own], check=False)
        return status


def _own_job() -> str:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]


def queued_jobs() -> dict[str, str] | None:
    """State of each of this user's jobs of ours that Slurm still has plans for; None when Slurm does not answer."""
    command = ["squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i|%T|%j"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        return None
    rows = [line.strip().split("|", 2) for line in done.stdout.splitlines()]
    return {row[0]: row[1] for row in rows if row[-1] == JOB_NAME}


def launch(cells: Sequence[Cell], settings: Settings, job: Job) -> Outcome:
    """Submit a job for each cell that has none in the queue, and wait until all have left it."""
    reporter = Reporter(job.progress, settings.at_once)
    with stop_signals() as stop:
        return _Queue(settings, job, reporter).run(cells, stop)


class _Queue:
    """Our jobs in Slurm's queue."""

    def __init__(self, settings: Settings, job: Job, reporter: Reporter) -> None:
        self._settings, self._arguments, self._reporter = settings, job.arguments, reporter
        self._folder = job.runs_dir.resolve() / FOLDER
        self._open: dict[str, Cell] = {}  # by job
        self._absent: dict[str, int] = {}
        self._tries: dict[str, int] = {}  # by run
        self._outcome = Outcome()

    def run(self, cells: Sequence[Cell], stop: Callable[[], bool]) -> Outcome:
        try:
            self._submit(self._without_adopted(cells))
            while self._open and not self._outcome.stopped:
                self._outcome.stopped = _sleep(self._settings.poll_s, stop)
                self._look()
        finally:
            if self._open:
                output.say(f"slurm    {len(self._open)} jobs stay in the queue; the same command finds them")
        return self._outcome

    def _without_adopted(self, cells: Sequence[Cell]) -> list[Cell]:
        """Take up the jobs that an earlier launcher left in the queue; returns the cells that have none."""
        queued, wanted = queued_jobs(), {cell.run.name: cell for cell in cells}
        if queued is None:
            raise InputError("launch=slurm: squeue does not answer; try again when the controller is there")
        for name, run in self._ledger():
            if name in queued and run in wanted:
                self._open[name] = wanted.pop(run)
        if self._open:
            output.say(f"slurm    {len(self._open)} jobs are in the queue already")
        return list(wanted.values())

    def _ledger(self) -> list[tuple[str, str]]:
        with suppress(OSError):
            lines = (self._folder / LEDGER).read_text(errors="replace").splitlines()
            return [(word[0], word[1]) for word in map(str.split, lines) if len(word) == 2]
        return []

    def _submit(self, cells: Sequence[Cell]) -> None:
        for first in range(0, len(cells), ARRAY):
            part = cells[first : first + ARRAY]
            for name, cell in zip(self._submit_array(part), part, strict=True):
                self._open[name] = cell
                self._tries[cell.run.name] = self._tries.get(cell.run.name, 0) + 1
                with open(self._folder / LEDGER, "a") as ledger:
                    ledger.write(f"{name} {cell.run.name}\n")
            output.say(f"slurm    {len(part)} jobs submitted; their output is in {self._folder}")

    def _submit_array(self, cells: Sequence[Cell]) -> list[str]:
        import submitit

        executor = submitit.SlurmExecutor(folder=self._folder)
        executor.update_parameters(**sbatch_parameters(self._settings))
        try:
            with executor.batch():
                jobs = [executor.submit(Task((*cell.overrides, *self._arguments))) for cell in cells]
        except submitit.core.utils.FailedJobError as error:
            raise InputError(f"launch=slurm: sbatch refuses ({' '.join(str(error).split())})") from error
        return [job.job_id for job in jobs]

    def _look(self) -> None:
        queued = queued_jobs()
        if queued is None:  # an answer that is not there says nothing about the jobs
            return
        for name in list(self._open):
            self._absent[name] = 0 if name in queued else self._absent.get(name, 0) + 1
            if self._absent[name] >= GONE:
                self._left(name, self._open.pop(name))

    def _left(self, name: str, cell: Cell) -> None:
        busy = cell.run.claimed()
        self._reporter.ended(cell, MISSING if busy else None)
        if busy or cell.run.status() in ("done", "failed", "unreadable"):
            return
        self._outcome.crashes.append(cell.run.name)
        again = self._tries.get(cell.run.name, 0) < TRIES
        tried = "once more" if again else f"no more: see {self._folder / name}_0_log.err"
        output.say(f"crashed  {cell.run.name}: job {name} ended without a result; tried {tried}")
        if again:
            self._submit([cell])


def sbatch_parameters(settings: Settings) -> dict[str, Any]:
    """The settings in submitit's words."""
    root = Path(__file__).resolve().parent.parent.parent
    found = {
        "job_name": JOB_NAME,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "gpus_per_node": settings.gpus or None,
        "cpus_per_task": settings.cpus,
        "mem": settings.memory_gb and f"{round(settings.memory_gb * 1024)}MB",
        "time": settings.timeout_min,
        "signal_delay_s": settings.notice_s,
        "array_parallelism": settings.at_once,
        "srun_args": [f"--cpus-per-task={settings.cpus}"],  # newer Slurms do not pass it on
        "additional_parameters": {"requeue": True, **settings.sbatch},
        "setup": [
            f"export PYTHONPATH={shlex.quote(str(root))}${{PYTHONPATH:+:$PYTHONPATH}}",
            f"export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{settings.cpus}}}",
            *settings.setup,
        ],
    }
    return {key: value for key, value in found.items() if value is not None}


def _sleep(seconds: float, stop: Callable[[], bool]) -> bool:
    """Wait; returns early, and True, once ``stop()`` is."""
    end = time.monotonic() + seconds
    while not stop() and time.monotonic() < end:
        time.sleep(min(0.5, seconds))
    return stop()
