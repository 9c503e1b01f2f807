"""Runs and predictions from Python."""

import re
from pathlib import Path

import pandas as pd
import pytest

from sanm.errors import InputError
from sanm.notebook import FailedRunError, run, trained
from tests.conftest import ROOT, SMALL

EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def test_the_example_of_the_docs_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = EXAMPLE.findall((ROOT / "docs/notebooks.md").read_text())
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    exec(code, found)
    runs, predictions = found["runs"], found["predictions"]
    assert isinstance(runs, pd.DataFrame)
    assert isinstance(predictions, pd.DataFrame)
    assert set(runs["base_method.name"]) == {"ce", "elr"}
    assert runs["status"].eq("done").all()
    assert len(predictions) == 10
    classes = predictions[[str(digit) for digit in range(10)]]
    assert ((classes.sum(axis=1) - 1).abs() < 1e-4).all()
    assert (classes.idxmax(axis=1) == predictions["predicted_label"]).all()


def test_what_is_finished_is_not_trained_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SMALL, "base_method=ce", "components=none", f"runs_dir={tmp_path}"]
    folder = run(words)
    assert run(words) == folder
    assert "skip" in capsys.readouterr().out


def test_errors_are_exceptions(tmp_path: Path) -> None:
    where = f"runs_dir={tmp_path}"
    with pytest.raises(InputError, match="base_method"):
        run([where, "base_method=nothing"])
    with pytest.raises(InputError, match=r"noise\.rate"):
        run([where, "noise.rate=2"])
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        trained(tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FailedRunError, match=r"failure\.txt"):
        run([*SMALL, where, "base_method=ce", "components=none", "trainer.lr=1e30"])
