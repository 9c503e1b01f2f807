"""`python -m analysis.tables` as a user types it."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.analysis.conftest import command, refusal, within
from tests.conftest import ROOT

typed = partial(command, "analysis.tables")
tables = partial(within, "analysis.tables")
refused = partial(refusal, "analysis.tables")


@pytest.fixture
def some_runs(runs_dir: Path, settings: Any, write_run: Any) -> Path:
    for components in ("none", "full"):
        write_run(settings(components, 0.5), best=80.0)
    return runs_dir


def test_markdown_is_the_default(some_runs: Path) -> None:
    answer = tables(some_runs, "--table", "components")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "## digits · dividemix · symmetric noise" in answer.stdout


def test_a_file_can_be_written(some_runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    answer = tables(some_runs, "--table", "components", "--format", "csv", "--out", out, "--statistic", "last")
    assert (answer.returncode, answer.stdout) == (0, "")
    assert pd.read_csv(out)["statistic"].unique().tolist() == ["last"]


def test_latex(some_runs: Path) -> None:
    assert r"\toprule" in tables(some_runs, "--table", "components", "--format", "latex").stdout


def test_help() -> None:
    answer = typed("--help")
    assert answer.returncode == 0
    assert "--statistic" in answer.stdout
    assert "components" in answer.stdout


def test_a_missing_folder(tmp_path: Path) -> None:
    line = refused(tmp_path / "absent", "--table", "components")
    assert "python -m sanm.run -m components=none,amg,amg_nlr,full noise.rate=0.2,0.5,0.8,0.9" in line


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "python -m sanm.run -m" in refused(tmp_path, "--table", "components")


def test_no_finished_runs(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings(), failure="boom")
    write_run(settings())
    assert "1 failed, 1 interrupted" in refused(runs_dir, "--table", "components")


def test_nothing_but_unreadable_records(runs_dir: Path, settings: Any, write_run: Any) -> None:
    (write_run(settings()) / "config.yaml").write_text("[")
    assert "1 unreadable" in refused(runs_dir, "--table", "components")


def test_an_unknown_table(some_runs: Path) -> None:
    assert "known tables: aspect, asymmetric" in refused(some_runs, "--table", "colours")


def test_runs_without_the_factors(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings(noise__rate=None), best=80.0)
    assert "noise.rate" in refused(runs_dir, "--table", "components")


def test_an_unknown_statistic(some_runs: Path) -> None:
    assert "best, last, selected" in refused(some_runs, "--table", "components", "--statistic", "median")


def test_no_table_named(some_runs: Path) -> None:
    assert "--table" in refused(some_runs)


def test_a_file_that_cannot_be_written(some_runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "absent" / "table.md"
    assert "cannot be written" in refused(some_runs, "--table", "components", "--out", out)


def test_a_record_is_never_replaced(some_runs: Path, tmp_path: Path) -> None:
    metrics = some_runs / "run-0000" / "metrics.csv"
    (tmp_path / "table.csv").symlink_to(metrics)
    before = metrics.read_text()
    for out in (metrics, tmp_path / "table.csv"):
        assert "is part of the record of a run" in refused(some_runs, "--table", "components", "--out", out)
    assert metrics.read_text() == before


def test_what_these_runs_support(some_runs: Path) -> None:
    answer = tables(some_runs, "--list")
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert lines[lines.index("components") + 1 :][:2] == [
        "    The paper's Table 5: what each of SANM's components adds, against the noise rate.",
        "    yes",
    ]
    assert lines[lines.index("sensitivity") + 2].startswith("    no: no two runs here differ in tau.value")


def test_numbers_of_another_table(some_runs: Path) -> None:
    assert "seconds_per_epoch" in refused(some_runs, "--table", "cost", "--statistic", "best")
    answer = tables(some_runs, "--table", "cost", "--statistic", "minutes")
    assert "| minutes" in answer.stdout
    assert "images_per_second" not in answer.stdout


def test_a_reader_that_goes_away_is_no_error(some_runs: Path) -> None:
    line = f"{sys.executable} -m analysis.tables {some_runs} --table components | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
