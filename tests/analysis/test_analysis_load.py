"""Records on disk -> data frames, whatever state they are in."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis
import pandas as pd
import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

import analysis
from analysis.records import Records
from analysis.records.load import _flatten, _parsed, finished, setting_columns
from sanm.errors import InputError


def test_settings_and_results_are_columns(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("full", 0.5, seed=3), best=88.0, novelty=7)
    run = analysis.load(runs_dir).iloc[0]
    assert (run["tau.value"], run["noise.rate"], run["seed"], run["status"]) == (0.2, 0.5, 3, "done")
    assert (run["best_accuracy"], run["versions.torch"], run["result.novelty"]) == (88.0, "2.9.0", 7)
    assert run["model.widths"] == (16, 32)
    assert run["path"] == str(runs_dir / "run-0000")


def test_outcomes_are_no_settings(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings(), best=88.0, novelty=7)
    columns = setting_columns(analysis.load(runs_dir))
    assert {"seed", "tau.value", "components.start"} <= set(columns)
    assert not {"best_accuracy", "status", "run", "commit", "result.novelty"} & set(columns)


def test_null_settings_are_absent(runs_dir: Path, settings: Any, write_run: Any) -> None:
    config = settings()
    config["data"]["subset"] = None
    write_run(config, best=88.0)
    assert "data.subset" not in analysis.load(runs_dir).columns


def test_every_state_is_a_row(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings(), best=88.0)
    write_run(settings(), failure="RuntimeError: out of memory")
    write_run(settings())
    runs = analysis.load(runs_dir)
    assert runs["status"].tolist() == ["done", "failed", "interrupted"]
    assert runs["reason"].tolist()[1] == "RuntimeError: out of memory"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("result.json", '{"status": "do', "result.json is no JSON"),
        ("result.json", "[1, 2]", "result.json holds no fields"),
        ("config.yaml", "seed: [1, 2", "expected"),
        ("config.yaml", "", "config.yaml holds no settings"),
        ("config.yaml", None, "config.yaml is missing"),
    ],
)
def test_half_written_records_are_listed(
    runs_dir: Path, settings: Any, write_run: Any, name: str, content: str | None, reason: str
) -> None:
    write_run(settings(), best=88.0)
    broken = write_run(settings(), best=89.0)
    if content is None:
        (broken / name).unlink()
    else:
        (broken / name).write_text(content)
    runs = analysis.load(runs_dir)
    assert runs["status"].tolist() == ["done", "unreadable"]
    assert reason in runs["reason"].iloc[1]
    assert "\n" not in runs["reason"].iloc[1]


def test_a_broken_result_keeps_its_settings(runs_dir: Path, settings: Any, write_run: Any) -> None:
    (write_run(settings("amg", 0.8), best=1.0) / "result.json").write_text("")
    assert analysis.load(runs_dir)["components.name"].tolist() == ["amg"]


@pytest.mark.parametrize("value", ["high", True, [88.0], 880.0, -1, math.nan, math.inf])
def test_numbers_are_numbers(runs_dir: Path, settings: Any, write_run: Any, value: object) -> None:
    write_run(settings(), best=88.0, best_accuracy=value)
    run = analysis.load(runs_dir).iloc[0]
    assert run["status"] == "unreadable"
    assert "best_accuracy" in run["reason"]


def test_folders_that_are_no_runs_are_ignored(runs_dir: Path, settings: Any, write_run: Any) -> None:
    (runs_dir / "figures").mkdir()
    (runs_dir / "notes.txt").write_text("not a run")
    write_run(settings(), best=88.0)
    assert len(analysis.load(runs_dir)) == 1


def test_epochs_have_their_run(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings(), best=88.0)
    torn = write_run(settings())
    with (torn / "metrics.csv").open("a") as file:
        file.write("3,1.7,60.0,,0.5,0.9,0.02,1")
    (write_run(settings()) / "metrics.csv").unlink()
    epochs = analysis.load_epochs(runs_dir)
    assert epochs[["run", "epoch"]].to_numpy().tolist() == [
        ["run-0000", 1],
        ["run-0000", 2],
        ["run-0001", 1],
        ["run-0001", 2],
    ]
    assert epochs["test_accuracy"].tolist() == [40.0, 50.0, 40.0, 50.0]
    assert epochs["validation_accuracy"].isna().all()


def test_epochs_without_metrics_are_an_empty_frame(runs_dir: Path, settings: Any, write_run: Any) -> None:
    (write_run(settings()) / "metrics.csv").unlink()
    assert analysis.load_epochs(runs_dir).empty


def test_no_finished_run_is_said_with_counts(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings(), failure="boom")
    write_run(settings())
    with pytest.raises(InputError, match="1 failed, 1 interrupted"):
        finished(analysis.load(runs_dir))


def test_a_run_is_not_a_folder_of_runs(settings: Any, write_run: Any) -> None:
    with pytest.raises(InputError, match="is one run"):
        analysis.load(write_run(settings(), best=88.0))


def test_analysis_imports_no_torch() -> None:
    program = (
        "import sys, analysis, analysis.tables.__main__, analysis.tables.components\n"
        "print({'torch', 'hydra', 'optuna'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def test_paper_numbers_are_complete() -> None:
    from analysis.paper import numbers_of, reported

    assert len(reported()) == 311
    for dataset in ("cifar10", "cifar100"):
        numbers = numbers_of("table5_components", dataset)
        assert len(numbers) == len(numbers.drop_duplicates(["setting", "rate", "statistic"])) == 32
        assert isinstance(numbers["paper"], pd.Series)
        assert numbers["paper"].between(30, 97).all()


@hypothesis.settings(deadline=None)
@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=5,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_sections_are_read_as_the_whole_is(config: dict[str, Any]) -> None:
    text = yaml.safe_dump(config, sort_keys=False)
    assert _parsed(text) == _flatten(yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    [
        "a: &one 1\nb: *one\n",
        "base: &b\n  x: 1\nmore:\n  <<: *b\n  y: 2\n",
        "a: 'first\nb: second'\n",
        "a: |\n  text\n\n  more\nb: 2\n",
        "# a comment\na: 1\n",
        "{a: 1, b: {c: 2}}\n",
        "a: 1\nb:\n- 2\n- 3\nc:\n  d: [4]",
    ],
)
def test_yaml_that_nobody_wrote_for_us(text: str) -> None:
    assert _parsed(text) == _flatten(yaml.safe_load(text))


@pytest.mark.parametrize("text", ["a: 1\n---\nb: 2\n", "a: 1\nb: [2\nc: 3\n", "a: *nowhere\n"])
def test_a_broken_section_is_a_broken_config(text: str) -> None:
    with pytest.raises(ValueError, match="YAML"):
        _parsed(text)


def test_a_failed_run_knows_its_command(runs_dir: Path, settings: Any, write_run: Any) -> None:
    for failure in ("boom", "boom\n\ncommand: components=full 'data.root=/a b'", "boom\n\ncommand: data.root=it's"):
        write_run(settings(), failure=failure)
    overrides = analysis.load(runs_dir)["overrides"].tolist()
    assert overrides[1:] == [("components=full", "data.root=/a b"), ("data.root=it's",)]
    assert not isinstance(overrides[0], tuple)


def test_a_record_that_cannot_be_read_is_named_beside_what_can(runs_dir: Path, settings: Any, write_run: Any) -> None:
    for _ in range(5):
        (write_run(settings(), best=88.0) / "result.json").write_text("{}")
    with pytest.raises(InputError, match=r"5 unreadable; .*run-0000: result\.json"):
        finished(analysis.load(runs_dir))
    write_run(settings(), best=88.0)
    with pytest.warns(UserWarning, match=r"run-0001: result\.json") as warned:
        assert len(finished(Records(runs_dir).runs)) == 1
    assert len(warned) == 4
    assert "2 more" in str(warned[-1].message)
