"""A command as a user types it, in this process; what it may say and leave behind."""

from __future__ import annotations

import io
import os
import stat
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from hydra.core.global_hydra import GlobalHydra

from sanm import pretrain, run
from sanm.errors import Interrupted
from sanm.training import experiment

STATUSES = {0, 1, 2, 3, 75, 141}
BESIDE = ("warning  ", "left out ", "bench  ")
"""How lines begin that are no refusal."""
LONGEST = 3000

Door = Callable[[Sequence[str]], object]


@dataclass(frozen=True)
class Answer:
    status: object
    out: str
    err: str


def ask(door: Door, words: Sequence[str]) -> Answer:
    """The command's answer; an exception that nobody caught is printed as Python does it."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), mock.patch.object(warnings, "showwarning", warnings.showwarning):
        try:
            status = door(list(words))
        except SystemExit as end:
            status = end.code or 0
            if isinstance(status, str):
                print(status, file=sys.stderr)
                status = 1
        except BaseException:
            status = "uncaught"
            traceback.print_exc()
        finally:
            GlobalHydra.instance().clear()
    return Answer(status, out.getvalue(), err.getvalue())


def by_argv(main: Callable[[], object]) -> Door:
    """A door that reads ``sys.argv``."""

    def door(words: Sequence[str]) -> object:
        with mock.patch.object(sys, "argv", ["command", *words]):
            main()
        return 0

    return door


@contextmanager
def training_cut() -> Iterator[None]:
    """Within, a run that gets so far that its networks would be built is stopped, as by a signal."""

    def stopped(*_: object) -> None:
        raise Interrupted("far enough")

    with mock.patch.object(experiment, "Trainer", stopped):
        yield


def sanm_run(words: Sequence[str]) -> object:
    """``python -m sanm.run`` up to the building of networks."""
    with training_cut():
        return whole_sanm_run(words)


def run_of(config: dict[str, Any]) -> Door:
    """``python -m sanm.run`` behind the composing of this checked config, which takes most of its time."""

    def door(words: Sequence[str]) -> object:
        with training_cut():
            return run.answered(lambda: run.train_or_skip(config, list(words)))

    return door


def whole_sanm_run(words: Sequence[str]) -> object:
    """``python -m sanm.run``, where Hydra looks for the configs beside the file, not in a package."""
    with mock.patch.object(run.job.__wrapped__, "__module__", "__main__"):  # type: ignore[attr-defined]
        return by_argv(run.main)(words)


def whole_pretrain(words: Sequence[str]) -> object:
    """``python -m sanm.pretrain``, likewise."""
    with mock.patch.object(pretrain.job.__wrapped__, "__module__", "__main__"):  # type: ignore[attr-defined]
        return by_argv(pretrain.main)(words)


def check(door: Door, words: Sequence[str], place: Path, own: Sequence[Path] = ()) -> Answer:
    """Asks, and asserts what holds for every answer: a known status, one line of refusal at most, no traceback, and
    below ``place`` all files as they were, but those below ``own`` where something was done with them.
    """
    before = all_files(place)
    answer = ask(door, words)
    said = f"{' '.join(words)!r} ended with {answer.status}:\n{answer.err[-LONGEST:]}\n{answer.out[-LONGEST:]}"
    assert "Traceback" not in answer.out + answer.err, said
    assert answer.status in STATUSES, said
    refusals = [line for line in answer.err.splitlines() if not line.startswith(BESIDE)]
    assert len(refusals) == (answer.status == 2) or (answer.status != 2 and len(refusals) <= 1), said
    kept = () if answer.status == 2 else tuple(map(str, own))
    after = all_files(place)
    lost = [
        path for path, content in before.items() if after.get(path) != content and not path.startswith(kept or "\0")
    ]
    assert not lost, f"{lost} changed; {said}"
    return answer


def all_files(place: Path) -> dict[str, object]:
    """What is there, byte for byte, without locks and caches of our own."""
    found: dict[str, object] = {}
    for folder, _, names in os.walk(place):
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith(".lock") or name == ".lock" or name.startswith(".cells") or ".sanm_cache" in folder:
                continue
            with suppress(FileNotFoundError):
                mode = os.lstat(path).st_mode
                found[path] = Path(path).read_bytes() if stat.S_ISREG(mode) else mode
    return found
