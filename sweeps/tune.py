"""Search for settings, with Optuna: ``python -m sweeps.tune study=NAME [study.KEY=VALUE ...] [overrides of the runs]``.

    python -m sweeps.tune study=tau_aspect                        30 trials in total; the same command goes on
    python -m sweeps.tune study=tau_aspect study.n_trials=60 study.workers=2
    python -m sweeps.tune study=tau data=cifar10 data.root=PATH preset=cifar_small study.noise_rates=[0.5]
    python -m sweeps.tune report study=tau_aspect                 what there is so far, while it runs or after

A trial is a run for each noise rate and seed of the study, whose mean accuracy is maximised. What the runs leave and
what a study writes is said in docs/studies.md; studies and their keys are in conf/study/.
"""

from __future__ import annotations

from sanm.machine import stopping

if __name__ == "__main__":
    stopping.listen()  # before anything heavy is imported

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from hydra import initialize_config_dir

from sanm.config.checks import CONF
from sanm.errors import Interrupted
from sanm.grids.multirun import check_writable
from sanm.machine.several.processes import check_alone
from sanm.machine.stopping import REQUEUE, Stop
from sanm.run import MISSING, REFUSED, answered
from sanm.terminal import output
from sweeps.studies.study import SELECTIONS, Study, check_runs, study_of
from sweeps.studies.study_address import address, check_file
from sweeps.studies.study_folder import StudyFolder

if TYPE_CHECKING:
    import optuna

REPORT, WORKER = "report", "worker"
OUT_OF_REACH = os.EX_UNAVAILABLE
"""How a worker ends, without a word, when the study's storage is gone: its command says so once for all workers."""
NEW_STARTS = 3
"""How often one worker that died is started again."""
SECONDS_BETWEEN_LOOKS = 0.2


def _work_on(words: Sequence[str]) -> int:
    """0 when the study is complete, 3 when trials are left, 75 when a signal stopped it: the run has saved."""
    check_alone()
    role = words[0] if words[0] in (REPORT, WORKER) else ""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            return _worker(words[1:]) if role == WORKER else _act(role, words[1:] if role else words)
        except Interrupted:  # the trial stays open, and is taken up when the command is repeated
            return REQUEUE


def _act(role: str, words: Sequence[str]) -> int:
    study = study_of(words)
    folder = StudyFolder(study.folder)
    check_file(address(study))
    folder.check_ours()
    if not role:
        check_runs(study)
        check_writable(study.folder)
    from sweeps.studies import study_storage, study_trials

    study_trials.check_search(study)
    store = study_storage.find(study) if role == REPORT else study_storage.create(study, folder)
    with study_storage.reachable(address(study)):
        if role == REPORT:
            return _report(study, store)
        if study.retry:
            with folder.alone():
                study_trials.enqueue_failed(store)
        ended = study_trials.ended(store.get_trials(deepcopy=False))
        output.say(f"study    {study.name}: {ended} of {study.n_trials} trials; {SELECTIONS[study.selection]}")
        status = _supervise(study.workers, words) if study.workers > 1 else _work(study, store, folder)
        if status == OUT_OF_REACH:
            store.set_user_attr(study_storage.OVERRIDES, list(study.overrides))  # says why, if that is still so
            output.say("worker   ended because study.storage was out of reach; now it is there again")
        _report(study, store)
        return REFUSED if status == REFUSED else _left(study, store)


def _worker(words: Sequence[str]) -> int:
    """Work until no trial is left, or until the command that started this, the first word, is gone."""
    from sweeps.studies import study_storage

    command, study = int(words[0]), study_of(words[1:])
    folder = StudyFolder(study.folder)
    try:
        store = study_storage.create(study, folder)
        with study_storage.reachable(address(study)):
            return _work(study, store, folder, stop=lambda: os.getppid() != command)
    except study_storage.OutOfReachError:
        return OUT_OF_REACH


def _work(study: Study, store: optuna.Study, folder: StudyFolder, stop: Stop = lambda: False) -> int:
    from sweeps.studies import study_runs, study_trials

    study_trials.work(study, store, folder, partial(study_runs.run_cell, stop=stop))
    return 0


def _report(study: Study, store: optuna.Study) -> int:
    from sweeps.studies import study_report

    for line in study_report.write(store, study.folder):
        output.say(line)
    return 0


def _left(study: Study, store: optuna.Study) -> int:
    from sweeps.studies import study_trials

    left = study.n_trials - study_trials.ended(store.get_trials(deepcopy=False))
    if left <= 0:
        return 0
    output.say(f"missing  {left} trials: another process is at them, or the same command goes on with them")
    return MISSING


# ---- several workers


def _supervise(count: int, words: Sequence[str]) -> int:
    """Start workers and start those that die again, a few times. Returns REFUSED or OUT_OF_REACH when one ended so."""
    command = [sys.executable, "-m", "sweeps.tune", WORKER, str(os.getpid()), *words]
    workers = [subprocess.Popen(command) for _ in range(count)]
    starts = [0] * count
    try:
        while any(worker.poll() is None for worker in workers) or _restarted(workers, starts, command):
            time.sleep(SECONDS_BETWEEN_LOOKS)
            _restarted(workers, starts, command)
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.terminate()
        for worker in workers:
            worker.wait()  # until it has saved
    ends = {worker.returncode for worker in workers}
    return next((status for status in (REFUSED, OUT_OF_REACH) if status in ends), 0)


def _restarted(workers: list[subprocess.Popen[bytes]], starts: list[int], command: list[str]) -> bool:
    """Start those again that died and have starts left. Returns whether there were any."""
    meant = (None, 0, REFUSED, OUT_OF_REACH)
    died = [k for k, worker in enumerate(workers) if worker.poll() not in meant and starts[k] < NEW_STARTS]
    for place in died:
        output.say(f"worker   {workers[place].pid} died; another takes its trial up")
        workers[place] = subprocess.Popen(command)
        starts[place] += 1
    return bool(died)


def main() -> None:
    """Run the command line, and exit with its status."""
    words = sys.argv[1:]
    if not words or {"--help", "-h"} & set(words):
        print(__doc__)
        return
    sys.exit(answered(lambda: _work_on(words)))


if __name__ == "__main__":
    main()
