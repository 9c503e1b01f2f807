"""`python -m analysis RUNS`: what is there, and what cannot be read."""

from pathlib import Path
from typing import Any

import pytest

from analysis.__main__ import main


def test_counts_and_unreadable_records(
    runs_dir: Path, settings: Any, write_run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(settings(), best=88.0)
    write_run(settings(), failure="boom")
    (write_run(settings(), best=88.0) / "result.json").write_text('{"sta')
    assert main([str(runs_dir)]) == 0
    runs, epochs, *unreadable = capsys.readouterr().out.splitlines()
    assert runs.startswith("3 runs (1 done, 1 failed, 1 unreadable), read in ")
    assert epochs.startswith("6 epochs, read in ")
    assert len(unreadable) == 1
    assert "run-0002: result.json is no JSON" in unreadable[0]


def test_no_runs_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} holds no runs")
