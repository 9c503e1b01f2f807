"""The command line: ``python -m sanm.run [-m] [overrides]``.

Compose, check, claim, train, record. Torch is imported only once a run is to be trained.
"""

from sanm.machine import stopping

if __name__ == "__main__":
    stopping.listen()  # before anything heavy is imported

import argparse
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from sanm.config.checks import checked
from sanm.config.explain import one_line
from sanm.config.override_words import check_words, typed
from sanm.errors import InputError, Interrupted, StoppedError
from sanm.fetch import check_backbone, check_mask_weights, fetch, fetch_imagenet_weights
from sanm.machine.several import processes
from sanm.machine.stopping import REQUEUE, STOP_SIGNALS, Stop, stop_signals
from sanm.record.directory import FollowedDirectory, RunDirectory
from sanm.record.identity import difference, identity, look_again, run_name
from sanm.terminal import output

REFUSED, FAILED, MISSING = 2, 1, 3
"""Exit statuses: bad input; the run failed; another process is at it, or a cell of a grid is missing."""

MULTIRUN = ("-m", "--multirun")
ONE_AT_A_TIME = "this command takes one config at a time"

Watch = Callable[[list[dict[str, Any]]], None]


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def job(composed: DictConfig) -> None:
    """One run of what Hydra composed. In a grid that some launcher of Hydra's trains, nothing is raised, so that its
    other cells go on."""
    command = typed(HydraConfig.get().overrides.task)
    status = answered(lambda: train_or_skip(checked(composed), command))  # here: Hydra would add lines of its own
    if status == REQUEUE or (status and HydraConfig.get().mode == RunMode.RUN):
        sys.exit(status)


def train_or_skip(
    config: dict[str, Any], command: list[str], stop: Stop = lambda: False, watch: Watch | None = None
) -> int:
    """Do what is left of a run, if anything, and say so. Returns an exit status.

    Training saves and stops, with status ``REQUEUE``, at a signal of ``STOP_SIGNALS`` or once ``stop()`` is true. The
    status is the same when a signal came too late to stop anything.
    ``watch`` is given the rows of all epochs so far after each new one; a StoppedError that it raises ends the run as
    an interruption would, and is passed on. Of several processes (``sanm.machine.several``) each calls this.
    """
    if processes.count() > 1:
        return _train_together(config, command, stop, watch)
    return _train_or_skip(config, command, stop, watch)


def _train_or_skip(config: dict[str, Any], command: list[str], stop: Stop, watch: Watch | None) -> int:
    fetch(config)
    record = identity(config)
    directory = RunDirectory(Path(config["runs_dir"]).expanduser(), run_name(record), record)
    ended = _ended(directory, config["retry"])
    if ended is not None:
        return ended
    with directory.claim() as mine:
        if not mine:
            output.say(f"busy     {directory.name}: another process is at it")
            return MISSING
        ended = _ended(directory, config["retry"])  # by another process, a moment ago
        if ended is not None:
            return ended
        check_unchanged(config, record)
        return _train(config, record, directory, command, stop, watch)


def check_unchanged(config: dict[str, Any], record: dict[str, Any]) -> None:
    """Raises InputError when a file that names the run holds something else than when this process first looked."""
    look_again()
    differs = difference(record, identity(config))
    if differs:
        raise InputError(f"{differs}: changed since this command began; the same command again takes it as it is now")


def _ended(directory: RunDirectory, retry: bool) -> int | None:
    status = directory.readable_status()
    if status == "done":
        directory.tidy()
        left_out = directory.result().get("left_out")
        without = f" (without {left_out} that left_out.csv names: mended since? delete the folder)" if left_out else ""
        output.say(f"skip     {directory.name}: {directory.accuracies()}{without}")
        return 0
    if status == "failed" and not retry:
        output.say(f"failed   {directory.name}: {directory.failure_reason()} (retry=true takes it again)")
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
    from sanm.training import experiment

    def failed(reason: str, details: str) -> None:
        directory.begin(record)  # unless it came so far: what has failed is named by it
        directory.fail(reason, f"command: {shlex.join(command)}\n\n{details}")
        output.say(f"failed   {directory.name}: {reason} (see {directory.path / 'failure.txt'})")

    check_mask_weights(config)
    check_backbone(config)
    fetch_imagenet_weights(config)
    processes.begin(directory.name)
    try:
        with processes.told_of_failure(failed):
            late = experiment.run(config, record, directory, command, stop, watch)
    except (InputError, StoppedError):
        raise
    except Interrupted as saved:
        output.say(f"stopped  {directory.name}: {saved}; the same command goes on from there")
        return REQUEUE
    except Exception as error:  # whatever went wrong is this run's own: record it, let the others go on
        if output.is_gone(error):
            output.leave()
        failed(processes.reason_for(error), traceback.format_exc())
        return FAILED
    output.say(f"done     {directory.name}: {directory.accuracies()}")
    return REQUEUE if late else 0


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
            output.refuse(error)
            status = REFUSED
        if status not in (0, REQUEUE):  # the others may be in a step, which the end of the group would wait for
            processes.leave(status)
    return status


def check_fits_processes(config: dict[str, Any]) -> None:
    """Raises InputError for a run that several processes cannot share."""
    batch_size, count = config["trainer"]["batch_size"], processes.count()
    if batch_size < count:
        raise InputError(f"trainer.batch_size={batch_size} is less than the {count} processes of torchrun: raise it")
    if config["model"]["name"] == "timm" and not config["model"]["frozen"]:
        raise InputError("model=timm has batch norms that processes do not share: start it without torchrun")
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
    from sanm.training import experiment

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


def answered(work: Callable[[], int]) -> int:
    """The exit status of a command's work; every error that a user can mend is one line, and status 2."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # let errors through to here
    output.begin()
    processes.warn_of_left_over()
    try:
        return work()
    except Exception as error:
        if output.is_gone(error):
            output.leave()
        explained = one_line(error)
        if explained is None:
            raise
        output.refuse(explained)
        return REFUSED


def with_hydra(task: Callable[[], None], grids: bool = True) -> int:
    """Let a task of Hydra's take the command line, once its words are understood. Returns 0, or exits as the task does.

    ``grids`` says whether it takes several values with ``-m``. Raises InputError.
    """
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in MULTIRUN)  # wherever it was typed
    given = _arguments()
    if given.multirun:
        processes.check_alone()
    if given.multirun and not grids:
        raise InputError(f"-m is for sanm.run: {ONE_AT_A_TIME}")
    several = given.multirun or "hydra.mode=MULTIRUN" in given.overrides
    check_words(given.overrides, None if several else "add -m" if grids else ONE_AT_A_TIME)
    task()
    return 0


def _arguments() -> argparse.Namespace:
    def refuse(message: str) -> NoReturn:
        raise InputError(f"{message} (see --hydra-help for what Hydra takes beside key=value)")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    given = parser.parse_args()
    modes = [mode for mode in ("run", "multirun", "cfg", "info", "shell_completion") if getattr(given, mode)]
    if len(modes) > 1:
        raise InputError(f"--{modes[0]} and --{modes[1]} do not go together: leave one out")
    if given.experimental_rerun:
        raise InputError("--experimental-rerun: give the words of the command instead, which result.json holds")
    if given.resolve and not given.cfg:
        raise InputError("--resolve goes with --cfg job: add that, or leave it out")
    return given


def main() -> None:
    """Run the command line, and exit with its status."""
    processes.quiet_followers()
    sys.exit(answered(lambda: with_hydra(job)))


if __name__ == "__main__":
    main()
