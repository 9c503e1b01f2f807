"""The command line: ``python -m sanm.run [-m] [overrides]``.

Compose, check, claim, train, record. Torch is imported only once a run is to be trained.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from sanm import output
from sanm.config import checked
from sanm.errors import InputError, Interrupted, StoppedError
from sanm.explain import one_line
from sanm.fetch import check_mask_weights, fetch, fetch_imagenet_weights
from sanm.identity import identity, run_name
from sanm.several import processes
from sanm.store import FollowedDirectory, RunDirectory

REFUSED, FAILED, MISSING = 2, 1, 3
"""Exit statuses: bad input; the run failed; another process is at it, or a cell of a grid is missing."""

REQUEUE = os.EX_TEMPFAIL
"""Exit status 75: stopped by a signal after saving; the same command goes on."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""What schedulers send ahead of a preemption or the end of a job's time."""

MULTIRUN = ("-m", "--multirun")

Stop = Callable[[], bool]
Watch = Callable[[list[dict[str, Any]]], None]


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def job(composed: DictConfig) -> None:
    """One run of what Hydra composed. In a grid that some launcher of Hydra's trains, nothing is raised, so that its
    other cells go on."""
    command = list(HydraConfig.get().overrides.task)
    try:
        status = train_or_skip(checked(composed), command)
    except InputError as error:
        print(f"error    {error}", file=sys.stderr, flush=True)
        status = REFUSED
    if status == REQUEUE or (status and HydraConfig.get().mode == RunMode.RUN):
        sys.exit(status)


def train_or_skip(
    config: dict[str, Any], command: list[str], stop: Stop = lambda: False, watch: Watch | None = None
) -> int:
    """Do what is left of a run, if anything, and say so. Returns an exit status.

    Training saves and stops, with status ``REQUEUE``, at a signal of ``STOP_SIGNALS`` or once ``stop()`` is true.
    ``watch`` is given the rows of all epochs so far after each new one; a StoppedError that it raises ends the run as
    an interruption would, and is passed on. Of several processes (``sanm.several``) each calls this.
    """
    if processes.count() > 1:
        return _train_together(config, command, stop, watch)
    return _train_or_skip(config, command, stop, watch)


def _train_or_skip(config: dict[str, Any], command: list[str], stop: Stop, watch: Watch | None) -> int:
    fetch(config)
    record = identity(config)
    directory = RunDirectory(Path(config["runs_dir"]).expanduser(), run_name(record))
    ended = _ended(directory, config["retry"])
    if ended is not None:
        return ended
    with directory.claim() as mine:
        if not mine:
            print(f"busy     {directory.name}: another process is at it", flush=True)
            return MISSING
        ended = _ended(directory, config["retry"])  # by another process, a moment ago
        return _train(config, record, directory, command, stop, watch) if ended is None else ended


def _ended(directory: RunDirectory, retry: bool) -> int | None:
    if directory.status() == "done":
        left_out = directory.result().get("left_out")
        without = f" (without {left_out} that left_out.csv names: mended since? delete the folder)" if left_out else ""
        print(f"skip     {directory.name}: {directory.accuracies()}{without}", flush=True)
        return 0
    if directory.status() == "failed" and not retry:
        print(f"failed   {directory.name}: {directory.failure_reason()} (retry=true takes it again)", flush=True)
        return FAILED
    return None


def _train(
    config: dict[str, Any],
    record: dict[str, Any],
    directory: RunDirectory,
    command: list[str],
    stop: Stop,
    watch: Watch | None,
) -> int:
    from sanm import experiment

    def failed(reason: str, details: str) -> None:
        directory.begin(record)  # unless it came so far: what has failed is named by it
        directory.fail(reason, f"command: {shlex.join(command)}\n\n{details}")
        print(f"failed   {directory.name}: {reason} (see {directory.path / 'failure.txt'})", flush=True)

    check_mask_weights(config)
    fetch_imagenet_weights(config)
    processes.begin(directory.name)
    try:
        with stop_signals() as signalled, processes.told_of_failure(failed):
            experiment.run(config, record, directory, command, lambda: signalled() or stop(), watch)
    except (InputError, StoppedError):
        raise
    except Interrupted as saved:
        print(f"stopped  {directory.name}: {saved}; the same command goes on from there", flush=True)
        return REQUEUE
    except Exception as error:  # whatever went wrong is this run's own: record it, let the others go on
        if output.is_gone(error):
            output.leave()
        failed(processes.reason_for(error), traceback.format_exc())
        return FAILED
    print(f"done     {directory.name}: {directory.accuracies()}", flush=True)
    return 0


def _train_together(config: dict[str, Any], command: list[str], stop: Stop, watch: Watch | None) -> int:
    """What ``train_or_skip`` does, as one of several processes."""
    check_fits_processes(config)
    with stop_signals((*STOP_SIGNALS, signal.SIGINT)) as signalled, processes.joined(config["device"]):
        try:
            if processes.leads():
                status = _lead(config, command, lambda: signalled() or stop(), watch)
            else:
                status = _follow(config, command, lambda: signalled() or stop())
        except InputError as error:  # said here, where torchrun's signal to end does not come before it
            print(f"error    {error}", file=sys.stderr, flush=True)
            status = REFUSED
        if status not in (0, REQUEUE):  # the others may be in a step, which the end of the group would wait for
            processes.leave(status)
    return status


def check_fits_processes(config: dict[str, Any]) -> None:
    """Raises InputError for a run that several processes cannot share."""
    batch_size, count = config["trainer"]["batch_size"], processes.count()
    if batch_size < count:
        raise InputError(f"trainer.batch_size={batch_size} is less than the {count} processes of torchrun: raise it")
    if config["trainer"]["compile"]:
        raise InputError("trainer.compile=true is for one process: leave it out, or torchrun")


def _lead(config: dict[str, Any], command: list[str], stop: Stop, watch: Watch | None) -> int:
    try:
        return _train_or_skip(config, command, stop, watch)
    finally:
        processes.begin(None)  # unless something has begun
        processes.end()


def _follow(config: dict[str, Any], command: list[str], stop: Stop) -> int:
    name = processes.wait_for_begin()
    if name is None:
        return 0
    from sanm import experiment

    directory, status = FollowedDirectory(Path(config["runs_dir"]).expanduser(), name), 0
    try:
        experiment.run(config, {}, directory, command, stop)
    except Interrupted:
        status = REQUEUE
    except processes.LostProcessError:
        return FAILED
    except Exception as error:
        processes.report(processes.reason_for(error))
        return FAILED
    processes.wait_for_end()
    return status


@contextmanager
def stop_signals(signals: Sequence[signal.Signals] = STOP_SIGNALS) -> Iterator[Stop]:
    """Within, a signal of ``signals`` kills nothing: what is yielded tells whether one came.

    Only a process's main thread can do this; elsewhere signals do what they did.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    seen: list[int] = []
    before = {number: signal.signal(number, lambda number, _: seen.append(number)) for number in signals}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def main(task: Callable[[], None] = job) -> None:
    """Run the command line of a Hydra ``task``; every error that a user can mend is one line."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # let errors through to here
    warnings.showwarning = show_warning
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in MULTIRUN)  # wherever it was typed
    processes.quiet_followers()
    try:
        if task is not job or set(MULTIRUN) & set(sys.argv[1:]):
            processes.check_alone()
        task()
    except KeyboardInterrupt:
        sys.exit("\ninterrupted: the same command goes on from here")
    except Exception as error:
        if output.is_gone(error):
            output.leave()
        explained = one_line(error)
        if explained is None:
            raise
        print(f"error    {explained}", file=sys.stderr)
        sys.exit(REFUSED)


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as one line, in the place of ``warnings.showwarning``."""
    print(f"warning  {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
