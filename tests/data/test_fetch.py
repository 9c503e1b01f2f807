"""Downloads happen before a run is named, and only when they are asked for and nothing is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sanm.data import datasets
from sanm.fetch import fetch
from sanm.record.identity import identity, run_name
from tests.conftest import config_of


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Calls of the loader, which writes a file as a download does."""
    calls: list[str] = []

    def load(data: Any, cache_dir: Path) -> None:
        calls.append(data["root"])
        Path(data["root"]).mkdir(exist_ok=True)
        (Path(data["root"]) / "data_batch_1").write_bytes(b"pixels")

    monkeypatch.setattr(datasets, "load", load)
    return calls


def test_a_run_is_named_by_the_files_that_were_fetched_for_it(tmp_path: Path, downloads: list[str]) -> None:
    root = tmp_path / "cifar"
    config = config_of("data=cifar10", f"data.root={root}", "data.download=true")
    fetch(config)
    name = run_name(identity(config))
    fetch(config)
    assert downloads == [str(root)], "once"
    plain = config_of("data=cifar10", f"data.root={root}")
    assert run_name(identity(plain)) == name


def test_nothing_is_fetched_unasked(tmp_path: Path, downloads: list[str]) -> None:
    fetch(config_of("data=cifar10", f"data.root={tmp_path / 'cifar'}"))
    fetch(config_of("data=digits"))
    assert not downloads
