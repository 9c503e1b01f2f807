"""The processes of a run: how many, which of them leads, and what they tell each other.

The leader, rank 0, is the one that records; the others do what it does and leave no trace. Without ``torchrun`` there
is one process, which leads. Torch is imported only once processes join.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from sanm.errors import InputError

if TYPE_CHECKING:
    import torch

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others in a step, where all do the same."""
PATIENCE_WITH_LEADER = timedelta(days=7)
"""How long it waits for what the leader does alone: downloads, decoded images, an encoder."""
PATIENCE_AT_THE_END = timedelta(minutes=2)
LOOK_EVERY, GRACE = 1.0, 5.0
"""Seconds: how often the leader looks for word of a failure, and how long it then has to end by itself."""

OWN = {"RANK", "LOCAL_RANK", "WORLD_SIZE"}
"""What the environment of one of several processes says."""

BEGIN, END, FAILURE = "sanm/begin", "sanm/end", "sanm/failure"
DONE, LEFT = b"done", b"left"

T = TypeVar("T")


class LostProcessError(Exception):
    """Another process of the run is gone, so that nothing can be summed over all of them any more."""


@dataclass(frozen=True)
class Team:
    """What the processes have in common once they have joined."""

    device: torch.device  # this process's own
    store: Any  # torch.distributed.Store: words by name
    talk: Any  # the process group for what the hosts agree on; tensors of a GPU go through the default one


_team: Team | None = None


def count() -> int:
    """How many processes ``torchrun``, or who else gives them a place to meet, started for this run; 1 without it.

    Raises InputError where the environment says something that is no number.
    """
    if not os.environ.keys() >= OWN or not _may_meet():
        return 1
    world, own = _number("WORLD_SIZE"), _number("RANK")
    if own >= world:
        raise InputError(f"RANK={own} is not below WORLD_SIZE={world}: unset both, or start the run with torchrun")
    return world


def _may_meet() -> bool:
    """Images of clusters leave a rank and a size behind, for processes that nobody has started."""
    return "TORCHELASTIC_RUN_ID" in os.environ or {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()


def _number(name: str) -> int:
    text = os.environ[name]
    if not text.isdecimal():
        raise InputError(f"{name}={text} in the environment is no number: unset it, or start the run with torchrun")
    return int(text)


def warn_of_left_over() -> None:
    """Says so in a line where the environment speaks of several processes that have no place to meet."""
    world = os.environ.get("WORLD_SIZE", "1")
    if world != "1" and os.environ.keys() >= OWN and not _may_meet():
        warnings.warn(
            f"WORLD_SIZE={world} in the environment comes from no torchrun: this is one process, alone", stacklevel=2
        )


def rank() -> int:
    return _number("RANK") if count() > 1 else 0


def count_here() -> int:
    """How many of them are on this machine, and share its memory."""
    return _number("LOCAL_WORLD_SIZE") if "LOCAL_WORLD_SIZE" in os.environ and count() > 1 else count()


def leads() -> bool:
    """Whether this process is the one that records and speaks."""
    return rank() == 0


def check_alone() -> None:
    """Raises InputError where several processes would do the same beside each other."""
    if count() > 1:
        raise InputError(
            "torchrun is for one run, sanm.run without -m; a grid has its GPUs shared out by sweeps.launch"
        )


def joined_team() -> Team | None:
    """What the processes have in common; None for one process, and before they have joined."""
    return _team


@contextmanager
def joined(wanted_device: str) -> Iterator[None]:
    """Within, the processes are one team: over NCCL with a GPU each, else over gloo.

    Raises InputError when they cannot have the devices that the config wants.
    """
    global _team
    from torch import cuda, distributed
    from torch.distributed.rendezvous import rendezvous

    device = own_device(wanted_device)
    if device.type == "cuda":
        cuda.set_device(device)
    try:
        store, own, world = next(rendezvous("env://", timeout=PATIENCE))
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"the {count()} processes that WORLD_SIZE speaks of do not meet ({str(error).partition(chr(10))[0]}): "
            "start the run with torchrun, or unset WORLD_SIZE where there is one process"
        ) from error
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=own, world_size=world, timeout=PATIENCE)
    _team = Team(device, store, distributed.new_group(backend="gloo", timeout=PATIENCE))
    try:
        yield
    finally:
        _team = None
        distributed.destroy_process_group()


def own_device(wanted: str) -> torch.device:
    """The device of this process: GPUs in the order of ``LOCAL_RANK``. Raises InputError when they are not there."""
    import torch

    there = torch.cuda.device_count()
    if wanted == "cpu" or (wanted == "auto" and not there):
        return torch.device("cpu")
    if wanted not in ("auto", "cuda"):
        raise InputError(f"device={wanted}: each process of torchrun takes a GPU of its own; set device=auto or cpu")
    if count_here() > there:
        raise InputError(
            f"torchrun started {count_here()} processes on a machine with {there} GPUs: lower --nproc_per_node"
        )
    return torch.device("cuda", _number("LOCAL_RANK"))


# ---- what the leader says


def begin(name: str | None) -> None:
    """The leader's word that the run ``name`` is to be trained; None: that nothing is. The first word counts."""
    if _team is not None and not _team.store.check([BEGIN]):
        _team.store.set(BEGIN, name or "")


def wait_for_begin() -> str | None:
    """What the leader said to ``begin``."""
    assert _team is not None
    _team.store.wait([BEGIN], PATIENCE_WITH_LEADER)
    return _team.store.get(BEGIN).decode() or None


def end() -> None:
    """The leader's word that all is recorded."""
    if _team is not None:
        _team.store.set(END, DONE)


def wait_for_end() -> None:
    """Stay until the leader has recorded: ``torchrun`` ends all processes as soon as one has failed."""
    assert _team is not None
    with suppress(RuntimeError):  # the leader is gone
        _team.store.wait([END], PATIENCE_AT_THE_END)


def leader_first(what: str, make: Callable[[], T]) -> T:
    """``make()`` in every process, the leader before the others: it fills caches that they then find.

    Raises LostProcessError in the others when it raised in the leader.
    """
    if _team is None:
        return make()
    if leads():
        with _told(_team, what):
            return make()
    _wait_for(_team, what)
    return make()


def from_leader(what: str, make: Callable[[], T]) -> T:
    """What the leader makes, in every process; anything that can be pickled. Raises as ``leader_first``."""
    if _team is None:
        return make()
    from torch import distributed

    made: list[Any] = [None]
    if leads():
        with _told(_team, what):
            made = [make()]
    else:
        _wait_for(_team, what)
    collective(lambda: distributed.broadcast_object_list(made, src=0, group=_team.talk if _team else None))
    found: T = made[0]
    return found


@contextmanager
def _told(team: Team, what: str) -> Iterator[None]:
    word = LEFT
    try:
        yield
        word = DONE
    finally:
        team.store.set(f"sanm/{what}", word)


def _wait_for(team: Team, what: str) -> None:
    team.store.wait([f"sanm/{what}"], PATIENCE_WITH_LEADER)
    if team.store.get(f"sanm/{what}") != DONE:
        raise LostProcessError("the leader has left")


# ---- what all agree on


def agreed(stop: Callable[[], bool]) -> Callable[[], bool]:
    """``stop`` that is true in all processes as soon as it is in one; all have to ask it equally often."""
    return stop if _team is None else lambda: anywhere([stop()])[0]


def anywhere(facts: Sequence[bool]) -> list[bool]:
    """Which of the ``facts`` hold in any process; all have to ask, of equally many."""
    if _team is None:
        return list(facts)
    import torch
    from torch import distributed

    flags, talk = torch.tensor(facts, dtype=torch.int32), _team.talk
    collective(lambda: distributed.all_reduce(flags, distributed.ReduceOp.MAX, group=talk))
    return [bool(flag) for flag in flags.tolist()]


def collective(work: Callable[[], T]) -> T:
    """The result of something that all processes do together. Raises LostProcessError when one of them is gone."""
    try:
        return work()
    except RuntimeError as error:  # torch.distributed's own errors, and gloo's
        raise LostProcessError("another process of this run is gone or silent: killed, or out of memory?") from error


# ---- failures


def report(reason: str) -> None:
    """Leave word for the leader of why this process fails. The first word counts."""
    if _team is not None and not _team.store.check([FAILURE]):
        _team.store.set(FAILURE, f"process {rank() + 1} of {count()}: {reason}")


def reason_for(error: Exception) -> str:
    """Why the run fails, in one line: what another process left word of, if it is gone."""
    if isinstance(error, LostProcessError) and _team is not None:
        with suppress(RuntimeError):
            if _team.store.check([FAILURE]):
                found: str = _team.store.get(FAILURE).decode()
                return found
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def told_of_failure(record: Callable[[str, str], None]) -> Iterator[None]:
    """Within, a leader that another process's failure has left in a wait that never ends does not stay there.

    On GPUs a pass waits for the part of a process that is gone, and nothing interrupts it; ``torchrun`` would kill the
    leader with nothing recorded. So a thread looks for the other's word, and, unless what is within has ended a little
    later, calls ``record(reason, details)`` and ends this process with status 1.
    """
    if _team is None or not leads():
        yield
        return
    over, turn = threading.Event(), threading.Lock()
    arguments = (_team.store.clone(), over, turn, record)  # a connection of its own: the other is the main thread's
    threading.Thread(target=_look_for_failure, args=arguments, daemon=True).start()
    try:
        yield
    finally:
        with turn:
            over.set()


def _look_for_failure(
    store: Any, over: threading.Event, turn: threading.Lock, record: Callable[[str, str], None]
) -> None:
    try:
        while not store.check([FAILURE]):
            if over.wait(LOOK_EVERY):
                return
        reason = store.get(FAILURE).decode()
    except RuntimeError:  # the store is gone, and torchrun with it
        return
    if over.wait(GRACE):
        return
    with turn:
        if not over.is_set():
            try:
                record(reason, "The first process was waiting for it.")
            finally:
                leave(1)


def leave(status: int) -> None:
    """End this process at once: passes that wait for a process that is gone would keep it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def quiet_followers() -> None:
    """Let nobody but the leader speak; a crash is still shown."""
    if not leads():
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
        sys.excepthook = _show_crash


def _show_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    traceback.print_exception(kind, error, trace, file=sys.__stderr__)
