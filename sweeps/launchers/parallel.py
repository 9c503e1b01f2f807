"""Several runs at once on this machine: so many per GPU, or in all where there is no GPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sanm.config.limits import Limit, check_number
from sanm.errors import InputError
from sanm.grids.cells import Cell
from sanm.terminal import output
from sweeps.grids.report import Reporter
from sweeps.launchers import machine
from sweeps.launchers.workers import Outcome, Slot, Workers

if TYPE_CHECKING:
    from sweeps.launchers import Job

LOGS = ".launch"
MOST_AT_ONCE = 1024
"""More processes or threads than one machine has cores for."""


@dataclass
class Settings:
    slots: int | None = None  # runs at once, per GPU where there are some; None: 1 per GPU, else one per core
    threads: int | None = None  # CPU threads of each; None: the cores divided by all slots


def check(settings: Settings) -> None:
    """Raises InputError for numbers that make no sense."""
    for key in ("slots", "threads"):
        check_number(f"launch.{key}", getattr(settings, key), Limit(at_least=1, at_most=MOST_AT_ONCE))


def launch(cells: Sequence[Cell], settings: Settings, job: Job) -> Outcome:
    """Train the cells in slots. What each prints is in ``runs_dir/.launch/``; here is a line for each."""
    gpus = _gpus_of(cells)
    slots = _slots(settings, gpus, job)
    warning = memory_warning(job.progress.peak_memory_mb(), settings.slots or 1 if gpus else len(slots), bool(gpus))
    if warning:
        output.say(f"warning  {warning}")
    where = f"on GPU {', '.join(gpus)}" if gpus else "on the CPU"
    output.say(f"launch   {len(slots)} at once {where}; their output is in {job.runs_dir / LOGS}")
    return Workers(slots, Reporter(job.progress, len(slots)).ended, job.arguments).run(cells)


def _gpus_of(cells: Sequence[Cell]) -> list[str]:
    devices = {cell.config["device"] for cell in cells}
    if devices == {"cpu"}:
        return []
    pinned = sorted(device for device in devices if ":" in device)
    if pinned:
        raise InputError(f"device={pinned[0]}: launch=parallel gives every run a GPU itself; leave device out")
    return machine.gpus()


def _slots(settings: Settings, gpus: Sequence[str], job: Job) -> list[Slot]:
    places = gpus or [""]
    count = settings.slots or (1 if gpus else machine.cores())
    share = max(1, machine.cores() // (count * len(places)))
    threads = settings.threads or min(share, _threads_asked_for() or share)
    folder = job.runs_dir / LOGS
    folder.mkdir(parents=True, exist_ok=True)
    slots = []
    for number in range(count * len(places)):
        environment = {"OMP_NUM_THREADS": str(threads)}
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        slots.append(Slot(environment, folder / f"{os.getpid()}-{number}.log"))
    return slots


def _threads_asked_for() -> int | None:
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) else None


def memory_warning(peak_mb: float | None, slots: int, on_gpu: bool) -> str | None:
    """What to say when ``slots`` runs that each need ``peak_mb`` do not fit on one GPU, or into main memory."""
    there = machine.gpu_memory_mb() if on_gpu else machine.memory_mb()
    if peak_mb is None or there is None or slots * peak_mb <= there:
        return None
    return (
        f"{slots} runs at once need {slots * peak_mb / 1024:.1f} GiB going by those that are done, and there are "
        f"{there / 1024:.1f} GiB: lower launch.slots"
    )
