"""Everything that the bench measures, as one plain value, and the same as text."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.nn.functional import normalize
from torch.utils.flop_counter import FlopCounterMode

from sanm.bench.parts import PARTS, profiled
from sanm.bench.subject import Config, Subject, learning_epoch, synthetic
from sanm.machine.compilation import make_room_for_compiled
from sanm.machine.device import choose_device
from sanm.machine.memory import keep_freed_memory
from sanm.machine.precision import set_matrix_precision
from sanm.parts.neighbours import nearest
from sanm.record import provenance
from sanm.record.identity import identity

ENOUGH_BATCHES = 8
WARMING = 2
"""Steps before any is timed: of every network, so that optimizers have their state."""
REPEATS = 10
"""Steps of a GPU in a row that are one measurement: they overlap with the host."""
FEATURES, NEIGHBOURS = 128, 250
"""Of a sample, as MOIT takes them."""

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

Report = dict[str, Any]


def measure(config: Config, steps: int, clock: str, peak_tflops: float | None, trace: Path | None) -> Report:
    """Time so many steps. Raises InputError when the device is not there."""
    device = _device(config)
    if config["trainer"]["compile"]:
        make_room_for_compiled()
    data = synthetic(config, max(1024, ENOUGH_BATCHES * int(config["trainer"]["batch_size"])))
    provenance.reset_peak_memory(device)
    subject = Subject(config, data, device, learning_epoch(config))
    subject.whole_turns(WARMING)
    repeats = REPEATS if device.type == "cuda" else 1
    seconds = median(_seconds(subject.step, repeats, clock, device) for _ in range(steps))
    peak_memory = provenance.peak_memory_mb(device)
    found = profiled(subject.trainer, steps * subject.turns, lambda: subject.whole_turns(steps), trace)
    report: Report = {
        "config": {"command": identity({**config, "data": {**config["data"], "root": None}}), "epoch": subject.epoch},
        "machine": _machine(device, clock),
        "step_seconds": seconds,
        "samples_per_step": subject.samples,
        "images_per_second": subject.samples / seconds,
        "peak_memory_mb": peak_memory,
        "shares": found.shares,
        "passes": {"share": found.passes, "of_a_step": found.kinds},
        "waits": first_wait_on_gpu(subject.step, device) if device.type == "cuda" else None,
    }
    with FlopCounterMode(display=False) as counter:
        subject.step()
    report["flops_per_step"] = counter.get_total_flops()
    report["tflops"] = counter.get_total_flops() / seconds / 1e12
    if peak_tflops is None and device.type == "cuda":
        card = known_card(torch.cuda.get_device_name(device))
        peak_tflops = PEAK_TFLOPS.get(card, {}).get(config["trainer"]["precision"])
    return (
        report if peak_tflops is None else {**report, "peak_tflops": peak_tflops, "mfu": report["tflops"] / peak_tflops}
    )


def of_neighbours(config: Config, count: int, clock: str) -> Report:
    """Time the search for the nearest neighbours of so many random unit vectors. Raises InputError as ``measure``."""
    device = _device(config)
    features = normalize(torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(0))).to(device)
    asked = min(NEIGHBOURS, count - 1)
    nearest(features[: asked + 1], asked)
    provenance.reset_peak_memory(device)
    before = provenance.peak_memory_mb(device)
    seconds = _seconds(lambda: nearest(features, asked), 1, clock, device)
    return {
        "machine": _machine(device, clock),
        "samples": count,
        "features": FEATURES,
        "neighbours": asked,
        "seconds": seconds,
        "memory_mb": provenance.peak_memory_mb(device) - before,
    }


def _device(config: Config) -> torch.device:
    device = choose_device(config["device"])
    keep_freed_memory()
    set_matrix_precision(device, config["trainer"]["precision"])
    return device


def _machine(device: torch.device, clock: str) -> Report:
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "clock": clock,
        "versions": provenance.versions(),
    }


def _seconds(function: Callable[[], object], repeats: int, clock: str, device: torch.device) -> float:
    """Seconds of one call, on the clock of the name; a GPU is waited for at both ends, so that its work is in it."""
    gpu = device.type == "cuda"
    now = time.process_time if clock == "cpu" and not gpu else time.perf_counter
    wait = partial(torch.cuda.synchronize, device) if gpu else lambda: None
    wait()
    began = now()
    for _ in range(repeats):
        function()
    wait()
    return (now() - began) / repeats


def first_wait_on_gpu(step: Callable[[], object], device: torch.device) -> str | None:
    """What CUDA says of the first wait within a step; None where there is none."""
    torch.cuda.synchronize(device)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    except RuntimeError as error:
        return str(error).partition("\n")[0]
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return None


def known_card(name: str) -> str:
    """Which of the cards that are known the driver's name for one means, whole; empty where it means none."""
    words = re.split(r"[\s-]+", name)
    return next((card for card in PEAK_TFLOPS if card in words and not LESS & set(words)), "")


def text(report: Report) -> str:
    """The report of a step for a screen."""
    lines = [
        _device_line(report),
        f"step     {1000 * report['step_seconds']:.1f} ms, {report['images_per_second']:.1f} images a second "
        f"({report['samples_per_step']} a step)",
        f"memory   {report['peak_memory_mb']:.0f} MiB at most",
        f"rate     {report['tflops']:.3f} TFLOP/s" + (f", MFU {report['mfu']:.1%}" if "mfu" in report else ""),
        *(f"part     {share:6.1%}  {part}: {PARTS[part]}" for part, share in report["shares"].items()),
        f"passes   {report['passes']['share']:6.1%} of it all: of each step, with their gradients,",
        *(f"         {each}" for each in report["passes"]["of_a_step"]),
        *([f"waits    CUDA: {report['waits']}"] if report["waits"] else []),
    ]
    return "\n".join(lines)


def neighbours_text(report: Report) -> str:
    """The report of a search for neighbours for a screen."""
    return (
        f"{_device_line(report)}\n"
        f"search   {report['seconds']:.2f} s: the {report['neighbours']} nearest neighbours of each of "
        f"{report['samples']} samples by {report['features']} features\n"
        f"memory   {report['memory_mb']:.0f} MiB more than before"
    )


def _device_line(report: Report) -> str:
    machine = report["machine"]
    return f"device   {machine['device']}, threads {machine['threads']}, {machine['clock']} time"
