"""`python -m analysis.figures` as a user types it."""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.figures import names
from tests.analysis.conftest import command, refusal, within

typed = partial(command, "analysis.figures")
figures = partial(within, "analysis.figures")
refused = partial(refusal, "analysis.figures")


@pytest.fixture
def some_runs(runs_dir: Path, settings: Any, write_run: Any) -> Path:
    write_run(settings("none"), best=80.0)
    for tau in (0.1, 0.2, 0.3):
        write_run(settings("full", tau__value=tau), best=80 + tau)
    return runs_dir


def test_pictures_and_numbers_are_written_and_the_caption_is_said(some_runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    answer = figures(some_runs, "--figure", "tau", "--out", out)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.splitlines()[0] == f"{out}/tau.png {out}/tau.svg {out}/tau.csv"
    assert "  Test accuracy over the basic mask ratio tau: digits · dividemix" in answer.stdout
    assert sorted(path.name for path in out.iterdir()) == ["tau.csv", "tau.png", "tau.svg"]
    assert pd.read_csv(out / "tau.csv")["mean"].max() == pytest.approx(80.3)


def test_the_same_runs_make_the_same_bytes(some_runs: Path, tmp_path: Path) -> None:
    for out in ("one", "other"):
        assert typed(some_runs, "--figure", "curves", "--out", tmp_path / out).returncode == 0
    for name in ("curves.svg", "curves.png", "curves.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_one_format(some_runs: Path, tmp_path: Path) -> None:
    assert figures(some_runs, "--figure", "tau", "--out", tmp_path / "out", "--format", "svg").returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["tau.csv", "tau.svg"]


def test_all_draws_what_there_is_and_says_what_the_others_lack(some_runs: Path, tmp_path: Path) -> None:
    answer = figures(some_runs, "--figure", "all", "--out", tmp_path / "out")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert {"tau.png", "curves.png"} <= {path.name for path in (tmp_path / "out").iterdir()}
    lacking = [line for line in answer.stdout.splitlines() if line.startswith("not drawn: ")]
    assert any(line.startswith("not drawn: mask_strategy: ") and "sweeps.launch run" in line for line in lacking)
    assert any(line.startswith("not drawn: study: ") and "sweeps.tune" in line for line in lacking)


def test_the_list() -> None:
    answer = figures("--list")
    assert answer.returncode == 0
    assert [line.split()[0] for line in answer.stdout.splitlines()] == names()
    assert all(len(line.split()) > 4 for line in answer.stdout.splitlines())
    assert {"tau", "mask_strategy", "curves", "study"} <= set(names())


def test_help() -> None:
    answer = typed("--help")
    assert answer.returncode == 0
    assert "--figure" in answer.stdout
    assert "mask_strategy" in answer.stdout


@pytest.mark.parametrize("figure", ["tau", "all"])
def test_a_missing_folder(tmp_path: Path, figure: str) -> None:
    assert "there is no such folder of runs" in refused(tmp_path / "absent", "--figure", figure)


@pytest.mark.parametrize("figure", ["curves", "all"])
def test_an_empty_folder(tmp_path: Path, figure: str) -> None:
    assert "holds no runs; make some with: python -m sanm.run" in refused(tmp_path, "--figure", figure)


def test_no_finished_runs(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings(), failure="boom")
    assert "none of these 1 runs is finished: 1 failed" in refused(runs_dir, "--figure", "tau")


def test_runs_without_what_a_figure_varies(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings(), best=80.0)
    line = refused(runs_dir, "--figure", "tau")
    assert "have tau 0.2" in line
    assert "python -m sweeps.launch run tau data.root=PATH" in line


def test_an_unknown_figure(some_runs: Path) -> None:
    assert "known figures: " in refused(some_runs, "--figure", "pie")


def test_an_unknown_format(some_runs: Path) -> None:
    assert "known formats: png, svg" in refused(some_runs, "--figure", "tau", "--format", "gif")


def test_nothing_asked_for(some_runs: Path) -> None:
    assert "--figure NAME" in refused(some_runs)
    assert "RUNS" in refused("--figure", "tau")


def test_a_folder_that_cannot_be_written(some_runs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be made" in refused(some_runs, "--figure", "tau", "--out", tmp_path / "file" / "out")
