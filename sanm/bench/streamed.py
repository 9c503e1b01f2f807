"""What it costs that images are read from the disk batch by batch: the same step and views as with all of them
on the device, beside those.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from sanm.bench.parts import Wrapper, around
from sanm.bench.settings import Settings
from sanm.bench.subject import Config, Stopwatch, Subject
from sanm.data import TrainingSet
from sanm.data.stored import StoredImages

READERS = (0, 1, 2)
PASSES = 5

Rows = list[dict[str, Any]]


def compare_sources(config: Config, data: TrainingSet, device: torch.device, epoch: int, settings: Settings) -> Rows:
    """For resident images, and for streamed ones by each number of readers: images a second through ``weak`` views
    alone, the step, and the share of it in which images are waited for and put in place.

    On the clock on the wall, since others read. The file is in the system's cache, where one that fits is after its
    first epoch.
    """
    stopwatch = Stopwatch(replace(settings, clock="wall"), device)
    with TemporaryDirectory(prefix="sanm-bench-") as folder:
        np.save(Path(folder) / "images.npy", data.images[:].numpy())
        stored = replace(data, images=StoredImages(Path(folder) / "images.npy"))
        subjects = {"resident": Subject({**config, "images": "resident"}, data, device, epoch)}
        for count in READERS:
            how = {**config, "images": "streamed", "image_workers": count}
            subjects[f"streamed, readers: {count}"] = Subject(how, stored, device, epoch)
        return _rows(subjects, settings.steps, stopwatch)


def _rows(subjects: dict[str, Subject], steps: int, stopwatch: Stopwatch) -> Rows:
    waited: dict[str, list[float]] = {name: [] for name in subjects}
    made = list(subjects.values())
    stopwatch.in_turn([subject.step for subject in made], 2)
    with ExitStack() as stack:
        for name, subject in subjects.items():
            stack.enter_context(around(subject.trainer.bank.source, "find", _timed(waited[name], stopwatch)))
        taken = stopwatch.in_turn([subject.step for subject in made], steps)
    passes = stopwatch.in_turn([_views_of(subject) for subject in made], PASSES)
    return [
        {
            "name": name,
            "images_per_second": len(subject.trainer.given) / median(alone),
            "step_seconds": median(seconds),
            "share_of_the_step": sum(waited[name]) / (stopwatch.repeats * sum(seconds)),
            "of_the_resident_step": median(one / other for one, other in zip(seconds, taken[0], strict=True)),
        }
        for (name, subject), seconds, alone in zip(subjects.items(), taken, passes, strict=True)
    ]


def _timed(seconds: list[float], stopwatch: Stopwatch) -> Wrapper:
    def wrapper(find: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            stopwatch.wait()
            began = stopwatch.now()
            found = find(*arguments)
            stopwatch.wait()
            seconds.append(stopwatch.now() - began)
            return found

        return timed

    return wrapper


def _views_of(subject: Subject) -> Callable[[], None]:
    """A pass over all images, announced and augmented, nothing else."""
    trainer = subject.trainer
    batches = torch.arange(len(trainer.given)).split(int(trainer.settings["batch_size"]))

    def views() -> None:
        trainer.bank.announce(batches)
        for batch in batches:
            trainer.bank.views("weak", 1, trainer.bank.find(batch), trainer.random)

    return views
