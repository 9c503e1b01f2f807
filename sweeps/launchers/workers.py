"""Worker processes on this machine: each takes cells one by one, and is replaced when it dies."""

import json
import os
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from sanm.grids.cells import Cell
from sanm.machine.stopping import REQUEUE, stop_signals
from sanm.terminal import output
from sweeps.launchers.worker import LEAVING

TRIES = 2
"""How often a cell is given out in all when its worker dies."""
POLL = 0.5
"""Seconds after which a signal to the launcher is noticed."""
PATIENCE = 120.0
"""Seconds that a worker has for saving what it does once it is asked to stop."""


@dataclass(frozen=True)
class Slot:
    """A place for one worker: what it adds to the environment, and where its output goes (None: to the terminal)."""

    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None


@dataclass
class Outcome:
    """What a launcher saw beside the records."""

    crashes: list[str] = field(default_factory=list)  # names of runs, once for every worker that died at them
    stopped: bool = False


Ended = Callable[[Cell, int | None], None]
"""Told about every cell that a worker is through with: its exit status, None when the worker died."""


class _Worker:
    def __init__(self, slot: Slot) -> None:
        receive, send = os.pipe()
        output: IO[bytes] | None = open(slot.log, "ab") if slot.log else None  # noqa: SIM115 - closed below
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sweeps.launchers.worker", str(send), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, **slot.environment},
            pass_fds=(send,),
        )
        os.close(send)
        if output:
            output.close()
        self.answers, self.cell = receive, None

    cell: Cell | None

    def give(self, cell: Cell, overrides: Sequence[str]) -> None:
        self.cell = cell
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it died while it had nothing to do: its answer will say so
            self._process.stdin.write(json.dumps(overrides).encode() + b"\n")
            self._process.stdin.flush()

    def answer(self) -> tuple[int | None, bool]:
        """The status of its cell, None when the process is gone, and whether it takes more cells.

        To be called when ``answers`` can be read.
        """
        words = os.read(self.answers, 100).decode().split()
        return (int(words[0]), LEAVING not in words) if words else (None, False)

    def ask_to_stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def end(self, patience: float) -> str:
        """Wait for the process, kill it when it takes too long; how it ended."""
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            status = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        os.close(self.answers)
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


class Workers:
    """A worker for each slot, started when there is a cell for it."""

    def __init__(self, slots: Sequence[Slot], ended: Ended, arguments: Sequence[str] = ()) -> None:
        """``arguments`` are added to every command line; ``ended`` is told about every cell."""
        self._free, self._ended, self._arguments = deque(slots), ended, list(arguments)
        self._waiting: deque[Cell] = deque()
        self._busy: dict[_Worker, Slot] = {}
        self._tries: dict[str, int] = {}
        self._selector = selectors.DefaultSelector()
        self._outcome = Outcome()

    def run(self, cells: Sequence[Cell]) -> Outcome:
        """Work through the cells. Ctrl-C and a signal of ``STOP_SIGNALS`` end it after every worker has saved."""
        self._waiting.extend(cells)
        with stop_signals() as stop:
            try:
                while self._waiting or self._at_work():
                    if stop():
                        self._outcome.stopped = True
                        break
                    self._give_out()
                    for key, _ in self._selector.select(POLL):
                        self._hear(key.data)
            finally:
                self._end_all()
        return self._outcome

    def _at_work(self) -> list[_Worker]:
        return [worker for worker in self._busy if worker.cell]

    def _give_out(self) -> None:
        idle = [worker for worker in self._busy if not worker.cell]
        while self._waiting and (idle or self._free):
            worker = idle.pop() if idle else self._start()
            cell = self._waiting.popleft()
            self._tries[cell.run.name] = self._tries.get(cell.run.name, 0) + 1
            worker.give(cell, [*cell.overrides, *self._arguments])

    def _start(self) -> _Worker:
        slot = self._free.popleft()
        worker = _Worker(slot)
        self._busy[worker] = slot
        self._selector.register(worker.answers, selectors.EVENT_READ, worker)
        return worker

    def _hear(self, worker: _Worker) -> None:
        (status, stays), cell = worker.answer(), worker.cell
        worker.cell = None
        how = "" if stays else self._bury(worker)
        if cell is None:
            return
        if status is None and cell.run.status() != "done":
            self._crashed(cell, how)
        elif status == REQUEUE:  # somebody asked this one worker to stop
            self._again(cell)
        self._ended(cell, status)

    def _bury(self, worker: _Worker) -> str:
        self._selector.unregister(worker.answers)
        self._free.append(self._busy.pop(worker))
        return worker.end(PATIENCE)

    def _crashed(self, cell: Cell, how: str) -> None:
        self._outcome.crashes.append(cell.run.name)
        tried = "once more" if self._again(cell) else "no more: the same command goes on with it"
        output.say(f"crashed  {cell.run.name}: its process {how}; tried {tried}")

    def _again(self, cell: Cell) -> bool:
        if self._tries[cell.run.name] >= TRIES:
            return False
        self._waiting.append(cell)
        return True

    def _end_all(self) -> None:
        for worker in self._at_work():
            worker.ask_to_stop()
        for worker in list(self._busy):
            self._bury(worker)
        self._selector.close()
