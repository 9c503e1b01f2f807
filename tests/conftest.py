"""What tests share: composed configs, a tiny training set, and the command line in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from sanm.config.checks import CONF, checked
from sanm.data import TrainingSet
from sanm.record.identity import identity
from tests.fuzz.door import ask, whole_sanm_run

ROOT = Path(__file__).resolve().parent.parent

SMALL = (
    "data.subset=192",
    "data.test_subset=100",
    "trainer.epochs=3",
    "trainer.milestones=[2]",
    "trainer.batch_size=32",
    "trainer.checkpoint_every=0",
    "base_method.warm_up=1",
    "model.widths=[8,16]",
    "model.blocks=[1,1]",
)
"""Overrides that make a run of any method a matter of a second."""


def pytest_configure() -> None:
    """Started in the background, tests would ignore SIGINT or SIGHUP, and so would every command that they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that no process waits for the last of them."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def config_of(*overrides: str) -> dict[str, Any]:
    """The checked config of a command line."""
    return checked(composed(overrides))


@lru_cache(maxsize=128)
def composed(overrides: tuple[str, ...]) -> DictConfig:
    """What Hydra makes of it, in a seventh of a second: kept, for nothing changes it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def record_of(*overrides: str) -> dict[str, Any]:
    """What the record of that command line keeps: the config the trainer is given."""
    return identity(config_of(*overrides))


@pytest.fixture(scope="session")
def training_set() -> TrainingSet:
    return small_training_set()


def small_training_set(count: int = 160) -> TrainingSet:
    """So many images of 8x8 in three channels, four classes that can be told apart, a fifth of the labels wrong.

    One of five is known to be right.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 4
    images = torch.randint(0, 100, (count, 3, 8, 8), generator=generator)
    for position, label in enumerate(labels.tolist()):
        images[position, label % 3, 2 * label : 2 * label + 2] += 120
    given = labels.clone()
    given[::5] = (given[::5] + 1) % 4
    return TrainingSet(
        images=images.to(torch.uint8),
        given_labels=given,
        index=torch.arange(count),
        keys=tuple(str(i) for i in range(count)),
        num_classes=4,
        class_names=tuple("abcd"),
        mean=(0.25, 0.25, 0.25),
        std=(0.2, 0.2, 0.2),
        trusted=(torch.arange(count) % 20 > 0) & (torch.arange(count) % 20 < 5),
    )


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """``python -m sanm.run`` with its runs below the test's own folder."""

    def call(*arguments: str, runs: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        where = [f"runs_dir={tmp_path / 'runs'}"] if runs else []
        return subprocess.run(
            [sys.executable, "-m", "sanm.run", *arguments, *where],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return call


@pytest.fixture
def within(tmp_path: Path) -> Command:
    """The same in this process, for what is no matter of processes: another one costs five seconds to start."""

    def call(*arguments: str, runs: bool = True) -> subprocess.CompletedProcess[str]:
        where = [f"runs_dir={tmp_path / 'runs'}"] if runs else []
        answer = ask(whole_sanm_run, [*arguments, *where])
        assert isinstance(answer.status, int), answer.err
        return subprocess.CompletedProcess(arguments, answer.status, answer.out, answer.err)

    return call


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 150 kB, where the system lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=150k", "tmpfs", folder], capture_output=True, check=False
        )
    except OSError:
        pytest.skip("cannot mount here")
    if made.returncode:
        pytest.skip("not allowed to mount here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def remount(disk: Path, option: str) -> None:
    """Give the file system another size (``size=20m``), or make it one that can only be read (``ro``)."""
    subprocess.run(["mount", "-o", f"remount,{option}", disk], check=True)
