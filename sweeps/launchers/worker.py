"""A process that trains cells one after another: command lines come in on stdin, statuses go out on a pipe.

``python -m sweeps.launchers.worker FD PID`` is started by a launcher and ends with it: when stdin closes, or, in the
middle of a run, when the launcher is gone, after the run has saved what it has.
"""

import signal

from sanm.machine import stopping

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C: the launcher says what to do
    stopping.listen(then=None)  # before anything heavy is imported

import gc
import json
import os
import sys
from collections.abc import Callable

from hydra import compose, initialize_config_dir

from sanm.config.checks import CONF, checked
from sanm.machine import gpu
from sanm.machine.stopping import REQUEUE
from sanm.run import FAILED, answered, train_or_skip
from sanm.terminal import output

LEAVING = "leaving"
"""Said behind a status by a worker that takes no more cells."""


def run_cell(overrides: list[str], stop: Callable[[], bool] = lambda: False) -> int:
    """Train what is left of a cell; returns an exit status as ``sanm.run`` has them. Hydra has to be initialised."""
    return answered(lambda: train_or_skip(checked(compose("config", overrides=overrides)), overrides, stop))


def main() -> None:
    """Take cells until there are no more, or until this process should be replaced by a fresh one."""
    answers, launcher = map(int, sys.argv[1:])
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for line in sys.stdin:
            status = run_cell(json.loads(line), stop=lambda: os.getppid() != launcher)
            used_gpu = _release_gpu()
            leaving = status == REQUEUE or (status == FAILED and used_gpu)  # it may be of no more use to this process
            try:
                os.write(answers, f"{status} {LEAVING if leaving else ''}\n".encode())
            except BrokenPipeError:
                return
            if leaving:
                return


def _release_gpu() -> bool:
    """Give memory that the last cell used back to other processes; whether there is a GPU at all."""
    if not gpu.used():
        return False
    import torch

    gc.collect()
    try:
        torch.cuda.empty_cache()
    except RuntimeError as error:
        output.complain(f"warning  {error}")
    return True


if __name__ == "__main__":
    main()
