"""Run directories as the harness writes them, without running anything."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.fuzz.door import ask

ROOT = Path(__file__).resolve().parents[2]
HEADER = "epoch,loss,test_accuracy,validation_accuracy,labeled_fraction,clean_auroc,learning_rate,seconds\n"
METRICS = HEADER + "1,2.1,40.0,,0.5,0.9,0.02,1.5\n2,1.9,50.0,,0.5,0.9,0.02,1.5\n"
SWITCHES = {"none": "", "amg": "a", "amg_nlr": "an", "amg_smr": "as", "full": "ans"}


def command(module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`python -m MODULE` as a user types it; seconds, of which most are imports."""
    words = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, encoding="utf-8", cwd=ROOT, check=False)


def within(module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The same in this process."""
    answer = ask(import_module(f"{module}.__main__").main, [str(word) for word in arguments])
    assert isinstance(answer.status, int), answer.err
    return subprocess.CompletedProcess(arguments, answer.status, answer.out, answer.err)


def refusal(module: str, *arguments: str | Path) -> str:
    """The one line that the command says when it refuses."""
    answer = within(module, *arguments)
    assert answer.returncode == 2, answer.stderr
    assert answer.stdout == ""
    assert len(answer.stderr.splitlines()) == 1, answer.stderr
    return answer.stderr


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """An empty folder for runs."""
    directory = tmp_path / "runs"
    directory.mkdir()
    return directory


@pytest.fixture
def settings() -> Callable[..., dict[str, Any]]:
    """A resolved config: `settings("full", rate, seed, section__key=value)`; None removes the key."""
    return config


@pytest.fixture
def paper_settings() -> Callable[..., dict[str, Any]]:
    """The same for the paper's own Table 5 on CIFAR-10."""
    return _paper_config


WriteRun = Callable[..., Path]


@pytest.fixture
def write_run(runs_dir: Path) -> WriteRun:
    return writer(runs_dir)


def writer(runs_dir: Path) -> WriteRun:
    """Writes a run directory: done when `best` is given, failed when `failure` is, interrupted otherwise."""

    def write(settings: dict[str, Any], best: float | None = None, failure: str | None = None, **result: Any) -> Path:
        directory = runs_dir / f"run-{len(list(runs_dir.iterdir())):04d}"
        directory.mkdir()
        (directory / "config.yaml").write_text(yaml.safe_dump(settings))
        (directory / "metrics.csv").write_text(METRICS)
        if failure is not None:
            (directory / "failure.txt").write_text(f"{failure}\nTraceback ...\n")
        if best is not None:
            (directory / "result.json").write_text(json.dumps({**_result(settings, best), **result}))
        return directory

    return write


def config(components: str = "full", rate: float = 0.5, seed: int = 1, **changes: Any) -> dict[str, Any]:
    on = SWITCHES[components]
    result: dict[str, Any] = {
        "base_method": {"name": "dividemix", "lambda_u": {0.2: 0, 0.9: 50}.get(rate, 25), "warm_up": 5},
        "noise": {"name": "symmetric", "rate": rate, "seed": seed, "convention": "inclusive"},
        "components": {"name": components, "amg": "a" in on, "nlr": "n" in on, "smr": "s" in on},
        "data": {"name": "digits"},
        "model": {"name": "preact_resnet", "widths": [16, 32], "blocks": [1, 1]},
        "trainer": {"epochs": 30, "batch_size": 64},
        "quality": {"window": 1 if rate < 0.9 else 5, "every": 1},
        "seed": seed,
    }
    if on:
        result["components"]["start"] = 5
        result["tau"] = {"value": 0.2}
        result["mask_strategy"] = {"name": "adaptive", "aspect": 0.8}
        result["variant"] = {"masked_views": "joint", "ratio_at_maximum": "two_minus_w"}
    if "s" in on:
        # Read by the reconstruction alone, so a run without it does not have the key.
        result["variant"]["reconstruction_weight"] = 1.0
    for key, value in changes.items():
        section, _, name = key.partition("__")
        if value is None:
            del result[section][name]
        else:
            result.setdefault(section, {})[name] = value
    return result


def _paper_config(components: str, rate: float, seed: int = 1, **changes: Any) -> dict[str, Any]:
    setting = {
        "data__name": "cifar10",
        "data__validation": 0.0,
        "data__augment": {"crop_padding": 4, "flip": True},
        "model__widths": [64, 128, 256, 512],
        "model__blocks": [2, 2, 2, 2],
        "trainer__epochs": 300,
        "trainer__lr": 0.02,
        "trainer__momentum": 0.9,
        "trainer__weight_decay": 5e-4,
        "trainer__milestones": [150],
        "trainer__decay": 0.1,
        "trainer__last_window": 10,
        "base_method__views": 2,
        "base_method__learn_from": "weak",
        "base_method__temperature": 0.5,
        "base_method__alpha": 4.0,
        "base_method__guess_on": "weak",
        "base_method__guess_mode": "split",
        "base_method__confidence_penalty": changes.get("noise__name", "symmetric") != "symmetric",
        "base_method__ramp_up": 16,
        "base_method__warm_up": 10,
        "base_method__threshold": 0.6 if rate == 0.9 else 0.5,
    }
    if components != "none":
        setting["components__start"] = 10
    return config(components, rate, seed, **{**setting, **changes})


def _result(settings: dict[str, Any], best: float) -> dict[str, Any]:
    return {
        "status": "done",
        "name": settings["base_method"]["name"],
        "run_id": "0123456789",
        "seed": settings["seed"],
        "epochs": settings["trainer"]["epochs"],
        "best_accuracy": best,
        "best_epoch": 20,
        "last_accuracy": best - 1,
        "last_window": 10,
        "selected_accuracy": None,
        "selected_epoch": None,
        "nominal_noise_rate": settings["noise"].get("rate"),
        "realised_noise_rate": settings["noise"].get("rate", 0) * 0.9,
        "clean_auroc": 0.9,
        "labeled_fraction": 0.5,
        "seconds": 10.0,
        "images_per_second": 1000.0,
        "peak_memory_mb": None,
        "device": "cpu",
        "threads": 2,
        "versions": {"python": "3.11.0", "torch": "2.9.0", "numpy": "2.3.0", "sanm": "0.1.0"},
        "commit": "abcdef0123456789",
        "dirty": False,
        "overrides": ["components=full"],
        "finished": "2026-11-20T12:00:00+00:00",
    }
