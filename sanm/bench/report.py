"""Everything that the bench measures, as one plain value."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from sanm import provenance
from sanm.bench.arrangements import Arrangement, arrangements, time_limit
from sanm.bench.floor import Pass, bare, passes_of
from sanm.bench.parts import PARTS, Clock, clocked
from sanm.bench.protocol import projected
from sanm.bench.replaced import compare
from sanm.bench.settings import Settings
from sanm.bench.streamed import compare_sources
from sanm.bench.subject import ENOUGH_BATCHES, Config, Stopwatch, Subject, learning_epoch, synthetic
from sanm.bench.syncs import first_wait_on_gpu, waits_within
from sanm.errors import InputError
from sanm.experiment import choose_device
from sanm.identity import identity

WARMING = 2
"""Steps before any is timed: of every network, so that optimizers have their state."""

PEAK_TFLOPS: dict[str, dict[str, float]] = {
    "H200": {"fp32": 67, "tf32": 495, "bf16": 989},
    "H100": {"fp32": 67, "tf32": 495, "bf16": 989},
    "A100": {"fp32": 19.5, "tf32": 156, "bf16": 312},
    "L40S": {"fp32": 91.6, "tf32": 183, "bf16": 362},
    "L4": {"fp32": 30.3, "tf32": 60, "bf16": 121},
}
"""Dense, by the makers' data sheets, of SXM boards where there are several kinds."""
LESS = {"PCIe", "PCIE", "NVL", "MIG"}
"""Words in the names of boards, and of parts of a GPU, that do less than that."""

Say = Callable[[str], None]
Report = dict[str, Any]


def measure(config: Config, settings: Settings, say: Say) -> Report:
    """Take the measurements; ``say`` is told what is going on. Raises InputError when the device is not there."""
    device = choose_device(config["device"])
    stopwatch = Stopwatch(settings, device)
    data = synthetic(config, max(1024, ENOUGH_BATCHES * int(config["trainer"]["batch_size"])))
    provenance.reset_peak_memory(device)
    say("bench    the step, its parts, its network passes")
    subject = Subject(config, data, device, learning_epoch(config))
    _warm(subject)
    report: Report = {
        "config": {"command": identity({**config, "data": {**config["data"], "root": None}}), "epoch": subject.epoch},
        "machine": _machine(device, settings),
        **_step(subject, settings, stopwatch),
    }
    report["peak_memory_mb"] = provenance.peak_memory_mb(device)
    report["waits"] = _waits(subject, device)
    report |= _utilisation(subject, report["step_seconds"], config["trainer"]["precision"], settings, device)
    if settings.features:
        say("bench    the step with each feature off")
        chosen = arrangements(config, settings, device)
        report["arrangements"] = _arrangements(chosen, config, data, subject, settings, stopwatch)
    if settings.replaced:
        say("bench    masks and views against image-by-image code")
        report["replaced"] = compare(subject.trainer, stopwatch)
    if settings.streamed:
        say("bench    the step with images on the device, and streamed")
        report["sources"] = compare_sources(config, data, device, subject.epoch, settings)
    say("bench    scans and evaluation")
    beginning = Subject(config, data, device, 0)
    _warm(beginning)
    warm_up_step = median(stopwatch.seconds(beginning.step) for _ in range(settings.steps))
    report["protocol"] = projected(config, subject, report["step_seconds"], warm_up_step, stopwatch)
    return report


def _warm(subject: Subject) -> None:
    for _ in range(WARMING * subject.whole_turn()):
        subject.step()


def _machine(device: torch.device, settings: Settings) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "clock": settings.clock,
        "versions": provenance.versions(),
    }


def _step(subject: Subject, settings: Settings, stopwatch: Stopwatch) -> dict[str, Any]:
    passes = passes_of(subject.trainer, subject.step)
    alone = bare(subject.trainer, passes)
    alone()
    steps, floors = stopwatch.in_turn([subject.step, alone], settings.steps)
    clock = Clock(stopwatch.wait, stopwatch.now)
    with clocked(subject.trainer, clock):
        for _ in range(settings.steps * subject.whole_turn()):
            subject.step()
    total, seconds = sum(clock.seconds.values()), median(steps)
    return {
        "step_seconds": seconds,
        "samples_per_step": subject.samples,
        "images_per_second": subject.samples / seconds,
        "shares": {part: clock.seconds[part] / total for part in PARTS},
        "floor": {
            "seconds": median(floors),
            "step_over_floor": median(step / floor for step, floor in zip(steps, floors, strict=True)),
            "passes": [_described(each) for each in passes],
        },
    }


def _described(each: Pass) -> dict[str, Any]:
    kind = "forward and backward" if each.learns else "forward"
    network = "network" if each.is_network else "decoder"
    return {"of": network, "images": each.images, "kind": kind, "mode": "train" if each.training else "eval"}


def _waits(subject: Subject, device: torch.device) -> dict[str, Any]:
    found: dict[str, Any] = {"operators": sorted(set(waits_within(subject.step)))}
    if device.type == "cuda":
        found["cuda"] = first_wait_on_gpu(subject.step, device)
    return found


def _utilisation(
    subject: Subject, seconds: float, precision: str, settings: Settings, device: torch.device
) -> dict[str, Any]:
    with FlopCounterMode(display=False) as counter:
        subject.step()
    tflops = counter.get_total_flops() / seconds / 1e12
    found: dict[str, Any] = {"flops_per_step": counter.get_total_flops(), "tflops": tflops}
    peak = settings.peak_tflops
    if peak is None and device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        peak = PEAK_TFLOPS.get(known_card(name), {}).get(precision)
    if peak is not None:
        found |= {"peak_tflops": peak, "mfu": tflops / peak}
    return found


def known_card(name: str) -> str:
    """Which of the cards that are known the driver's name for one means, whole; empty where it means none."""
    words = re.split(r"[\s-]+", name)
    return next((card for card in PEAK_TFLOPS if card in words and not LESS & set(words)), "")


def _arrangements(
    chosen: Sequence[Arrangement],
    config: Config,
    data: Any,
    subject: Subject,
    settings: Settings,
    stopwatch: Stopwatch,
) -> list[dict[str, Any]]:
    """Seconds of the step in each arrangement, and as a share of the step as configured, round by round."""
    ready: list[tuple[Arrangement, Subject]] = []
    failed: list[dict[str, Any]] = []
    for arrangement in chosen:
        try:
            with time_limit(arrangement.limit):
                made = Subject(arrangement.config(config), data, subject.trainer.device, subject.epoch)
                arrangement.prepare(made.trainer)
                _warm(made)
        except (InputError, TimeoutError) as error:
            failed.append({"name": arrangement.name, "not_measured": str(error)})
        else:
            ready.append((arrangement, made))
    taken = stopwatch.in_turn([subject.step, *(made.step for _, made in ready)], settings.steps)
    own = taken[0]
    rows = [
        {
            "name": arrangement.name,
            "step_seconds": median(seconds),
            "of_the_step": median(one / other for one, other in zip(seconds, own, strict=True)),
        }
        for (arrangement, _), seconds in zip(ready, taken[1:], strict=True)
    ]
    return rows + failed
