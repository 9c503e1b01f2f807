"""Where the time of a step goes: torch.profiler, with the parts of the trainer's own code named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from sanm.network import head_modules
from sanm.step import Look
from sanm.training.trainer import Trainer

BACKWARD, BOOKKEEPING = "backward", "bookkeeping"
PASSES = ("network, ", "head, ")
"""How the names of passes begin."""
PARTS = {
    "augmentation": "images of the batch found, views drawn and normalised",
    "look": "forward passes without gradient, for guesses and activation maps",
    "belief": "targets of the method",
    "masks and targets": "SANM: activation maps, boxes, painted views, softened targets",
    "forward": "forward pass and loss of what is learned from",
    "reconstruction": "SANM: features of the masked views where the loss has none, decoder, error",
    BACKWARD: "gradients",
    "optimizer": "gradients cleared and changed, weights moved, averages",
    BOOKKEEPING: "all else: indices, labels, joining losses",
}


class Profile(NamedTuple):
    """Where the time of some steps went."""

    shares: dict[str, float]  # of each of PARTS; those of a part within it left out
    passes: float  # share of the network's passes, their gradients included
    kinds: list[str]  # of the passes of a step: of what, of how many images, and whether it learns


def profiled(trainer: Trainer, steps: int, run: Callable[[], None], trace: Path | None) -> Profile:
    """What torch.profiler says of ``run()``, which takes so many ``steps``; ``trace`` is a file for all that it saw.

    Times are the host's, of wall clock, and where there is a GPU those of its kernels.
    """
    gpu, kinds = trainer.device.type == "cuda", list[str]()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with profile(activities=activities) as seen, _named(trainer, kinds):
        run()
    if trace is not None:
        seen.export_chrome_trace(str(trace))
    spent, passes = dict.fromkeys(PARTS, 0.0), 0.0
    for event in seen.events() or ():
        if event.device_type.name != "CPU":
            continue
        time = event.self_device_time_total if gpu else event.self_cpu_time_total
        around, in_pass = event, False
        while around is not None and around.name not in PARTS:
            in_pass = in_pass or around.name.startswith(PASSES)
            around = around.cpu_parent
        part = BACKWARD if around is None else around.name  # a GPU's gradients are computed by another thread
        spent[part] += time
        passes += time if in_pass or part == BACKWARD else 0.0
    total = sum(spent.values())
    return Profile({part: time / total for part, time in spent.items()}, passes / total, kinds[: len(kinds) // steps])


@contextmanager
def _named(trainer: Trainer, kinds: list[str]) -> Iterator[None]:
    """Within, the profiler sees the parts of every step, and the passes of its networks, by name; ``kinds`` grows."""
    places: list[tuple[object, str, str]] = [
        (trainer, "_train_step", BOOKKEEPING),
        (trainer.bank, "find", "augmentation"),
        (trainer.bank, "views", "augmentation"),
        (Look, "_forward", "look"),
        (trainer.method, "believe", "belief"),
        (trainer.method, "losses", "forward"),
        (trainer.method, "share", "forward"),
        (Tensor, "backward", BACKWARD),
        (trainer.method, "after_backward", "optimizer"),
        (trainer.method, "after_step", "optimizer"),
    ]
    for plugin in trainer.plugins:
        places += [(plugin, "add_views", "masks and targets"), (plugin, "extra", "reconstruction")]
    places += [(optimizer, name, "optimizer") for optimizer in trainer.optimizers for name in ("zero_grad", "step")]
    with ExitStack() as stack:
        for owner, name, part in places:
            stack.enter_context(patch.object(owner, name, record_function(part)(getattr(owner, name))))
        for network in trainer._all_networks():
            stack.enter_context(patch.object(network, "way", _pass("network", network, network.way, kinds)))
            for head in head_modules(network):
                stack.enter_context(patch.object(head, "forward", _pass("head", head, head.forward, kinds)))
        yield


def _pass(of: str, module: nn.Module, compute: Callable[..., Any], kinds: list[str]) -> Callable[..., Any]:
    """``compute``, whose last argument are images or their maps, as a pass that has a name."""

    def named(*given: Any) -> Any:
        learning = "forward and backward" if torch.is_grad_enabled() else "forward"
        kinds.append(f"{of}, {len(given[-1])} images, {learning}, {'train' if module.training else 'eval'} mode")
        with record_function(kinds[-1]):
            return compute(*given)

    return named
