"""What is remembered of a grid's cells, and that it never decides more than what a command line composes to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir

from sanm.config.checks import CONF
from sanm.errors import InputError
from sanm.grids import cells as module
from sanm.grids.cells import FILE, Cell, CellCache, cells_of
from sanm.record.directory import RunDirectory
from sanm.record.identity import file_fingerprint, identity
from tests.conftest import Command

LINES = [["components=none", "seed=1"], ["components=full", "seed=1"], ["components=none", "tau.value=0.3", "seed=1"]]


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that Hydra was asked for."""
    seen: list[list[str]] = []

    def compose(name: str, overrides: list[str]) -> Any:
        seen.append(overrides)
        return original(name, overrides=overrides)

    original = module.compose
    monkeypatch.setattr(module, "compose", compose)
    return seen


def asked(runs: Path, lines: list[list[str]] = LINES) -> list[Cell]:
    """The cells, by a process that starts now and ends well."""
    cache = CellCache(runs)
    found = cells_of([[*line, f"runs_dir={runs}"] for line in lines], cache)
    cache.save()
    return found


def test_a_run_is_a_cell_once(tmp_path: Path) -> None:
    cells = asked(tmp_path)
    assert [cell.run.name.split("-")[1] for cell in cells] == ["none", "full"], "tau has no part in the third"
    assert cells[0].overrides == ("components=none", "seed=1", f"runs_dir={tmp_path}")


def test_the_second_time_nothing_is_composed(tmp_path: Path, composed: list[list[str]]) -> None:
    first = asked(tmp_path)
    assert len(composed) == 3
    again = asked(tmp_path)
    assert len(composed) == 3
    assert [cell.run.name for cell in again] == [cell.run.name for cell in first]
    assert [cell.config for cell in again] == [cell.config for cell in first]
    asked(tmp_path, [*LINES, ["seed=2"]])
    assert len(composed) == 4, "what is new is added"


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff\xfe", b"a b\n{}", None])
def test_a_damaged_file_is_harmless(tmp_path: Path, composed: list[list[str]], text: bytes | None) -> None:
    names = [cell.run.name for cell in asked(tmp_path)]
    file = tmp_path / FILE
    if text is None:  # one digit of what was composed, the rest as it was
        file.write_text(file.read_text().replace('"seed":1', '"seed":2', 1))
    else:
        file.write_bytes(text)
    assert [cell.run.name for cell in asked(tmp_path)] == names
    assert len(composed) == 6
    asked(tmp_path)
    assert len(composed) == 6, "it is good again"


def test_other_configs_or_code_make_it_worthless(
    tmp_path: Path, composed: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(tmp_path)
    monkeypatch.setattr(module, "composing_stamp", lambda: "of another day")
    asked(tmp_path)
    assert len(composed) == 6


def test_the_stamp_is_of_the_configs_and_the_code_that_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamps = []
    (tmp_path / "tau").mkdir()
    monkeypatch.setattr(module, "CONF", tmp_path)
    for value in ("value: 0.1", "value: 0.2", "value: 0.1"):
        (tmp_path / "tau" / "low.yaml").write_text(value)
        stamps.append(module.composing_stamp.__wrapped__())
    assert stamps[0] == stamps[2] != stamps[1]


def test_what_files_hold_is_looked_at_every_time(tmp_path: Path, composed: list[list[str]]) -> None:
    runs, labels = tmp_path / "runs", tmp_path / "labels.json"
    runs.mkdir()
    line = [["noise=file", f"noise.path={labels}"]]
    names = []
    for content in ([0, 1], [1, 0], [0, 1]):
        labels.write_text(json.dumps(content))
        file_fingerprint.cache_clear()  # as in a process that starts
        names.append(asked(runs, line)[0].run.name)
    assert names[0] == names[2] != names[1]
    assert len(composed) == 1
    labels.unlink()
    file_fingerprint.cache_clear()
    with pytest.raises(InputError, match=r"in the cell noise=file"):
        asked(runs, line)


def test_a_done_run_that_is_deleted_is_missing(tmp_path: Path, composed: list[list[str]]) -> None:
    (cell,) = asked(tmp_path, [["seed=1"]])
    cell.run.path.mkdir()
    cell.run.begin(identity(cell.config))
    cell.run.finish({}, keep_checkpoint=False)
    assert asked(tmp_path, [["seed=1"]])[0].run.status() == "done"
    (cell.run.path / "result.json").unlink()
    (cell.run.path / "config.yaml").unlink()
    assert asked(tmp_path, [["seed=1"]])[0].run.status() == "missing"
    assert len(composed) == 1


@pytest.mark.parametrize("word", ["cache_dir='${oc.env:HOME}'", "+noise.map={3: 5}"])
def test_what_depends_on_more_or_does_not_survive_is_not_kept(
    tmp_path: Path, composed: list[list[str]], word: str
) -> None:
    lines = [["noise=asymmetric", word.removeprefix("+")]]
    for _ in range(2):
        asked(tmp_path, lines)
    assert len(composed) == 2


def test_a_wrong_cell_is_named_and_nothing_of_it_is_kept(tmp_path: Path, composed: list[list[str]]) -> None:
    for count in (1, 2):
        with pytest.raises(InputError, match=r"tau.value=7.* cell tau.value=7"):
            asked(tmp_path, [["tau.value=7"]])
        assert len(composed) == count


def test_a_finished_multirun_is_answered_at_once(command: Command, tmp_path: Path) -> None:
    line = ("-m", "noise.rate=0.2,0.5", "components=none")
    for rate in (0.2, 0.5):
        (cell,) = asked(tmp_path, [["components=none", f"noise.rate={rate}"]])
        run = RunDirectory(tmp_path / "runs", cell.run.name)
        run.path.mkdir(parents=True)
        run.begin(identity(cell.config))
        run.finish({"best_accuracy": 50, "last_accuracy": 40}, keep_checkpoint=False)
    for _ in range(2):
        done = command(*line)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("best 50.00 %, last 40.00 %") == 2
        assert done.stdout.splitlines()[-1].startswith("grid     2 of 2 runs done")
    assert (tmp_path / "runs" / FILE).exists()
