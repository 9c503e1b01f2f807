"""Where the time of a step goes: clocks around the parts of the trainer's own code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor

from sanm.trainer import Trainer
from sanm.types import Look

BOOKKEEPING = "bookkeeping"
PARTS = {
    "augmentation": "images of the batch found, views drawn and normalised",
    "look": "forward passes without gradient, for guesses and activation maps",
    "belief": "targets of the method",
    "masks and targets": "SANM: activation maps, boxes, painted views, softened targets",
    "forward": "forward pass and loss of what is learned from",
    "reconstruction": "SANM: features of the masked views where the loss has none, decoder, error",
    "backward": "gradients",
    "optimizer": "gradients cleared and changed, weights moved, averages",
    BOOKKEEPING: "all else: indices, labels, joining losses",
}


class Clock:
    """Seconds in each part, those of a part within it left out.

    ``wait`` makes the host wait for the device: without it a GPU's work would be counted where it is waited for.
    """

    def __init__(self, wait: Callable[[], None], now: Callable[[], float]) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._wait, self._now = wait, now
        self._within: list[str] = []
        self._since = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._settle()
        self._within.append(name)
        try:
            yield
        finally:
            self._settle()
            self._within.pop()

    def _settle(self) -> None:
        self._wait()
        now = self._now()
        if self._within:
            self.seconds[self._within[-1]] += now - self._since
        self._since = now


@contextmanager
def clocked(trainer: Trainer, clock: Clock) -> Iterator[None]:
    """Within, ``clock`` runs whenever the trainer takes a step."""
    places: list[tuple[object, str, str]] = [
        (trainer, "_train_step", BOOKKEEPING),
        (trainer.bank, "find", "augmentation"),
        (trainer.bank, "views", "augmentation"),
        (Look, "_forward", "look"),
        (trainer.method, "believe", "belief"),
        (trainer.sanm, "add_views", "masks and targets"),
        (trainer.method, "losses", "forward"),
        (trainer.method, "share", "forward"),
        (trainer.sanm, "reconstruction", "reconstruction"),
        (Tensor, "backward", "backward"),
        (trainer.method, "after_backward", "optimizer"),
        (trainer.method, "after_step", "optimizer"),
    ]
    places += [(optimizer, name, "optimizer") for optimizer in trainer.optimizers for name in ("zero_grad", "step")]
    with ExitStack() as stack:
        for owner, name, part in places:
            stack.enter_context(around(owner, name, _counted(clock, part)))
        yield


Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


def _counted(clock: Clock, part: str) -> Wrapper:
    def wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            with clock.part(part):
                return function(*arguments, **named)

        return timed

    return wrapper


@contextmanager
def around(owner: object, name: str, wrapper: Wrapper) -> Iterator[None]:
    """Within, the function ``owner.name`` of an object or a class is what ``wrapper`` makes of it."""
    own = vars(owner).get(name)
    setattr(owner, name, wrapper(getattr(owner, name)))
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)
