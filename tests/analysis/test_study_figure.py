"""Figure study: its drawings from the files of a study's report, and what it says when they are not there."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml  # type: ignore[import-untyped]
from matplotlib.container import ErrorbarContainer

from analysis.figures import build
from analysis.figures.chart import Chart
from analysis.records import Records
from sanm.errors import InputError

SPACE: dict[str, Any] = {
    "tau.value": {"low": 0.05, "high": 0.6, "log": False, "step": 0.01},
    "trainer.lr": {"low": 0.001, "high": 0.1, "log": True, "step": None},
    "mask_strategy.name": {"choices": ["adaptive", "fixed", "None"]},
}
TRIALS = """\
trial,state,selection,tau.value,trainer.lr,mask_strategy.name,mean,sd_over_seeds,runs,seed1,seed2,reason
0,complete,validation,0.1,0.001,fixed,50,1,2,49,51,
1,complete,validation,0.2,0.01,adaptive,70,2,2,68,72,
2,pruned,validation,0.5,0.02,None,40,,1,40,,
3,fail,validation,0.6,0.1,fixed,,,0,,,the loss is not finite
4,complete,validation,0.3,0.1,None,60,3,2,57,63,
5,complete,validation,0.3,0.1,None,64,1,2,63,65,
"""
SENSITIVITY = """\
parameter,from,to,trials,mean,sd,best,selection
tau.value,0.1,0.1,1,50,,50,validation
tau.value,0.2,0.2,1,70,,70,validation
tau.value,0.3,0.3,2,62,2.8,64,validation
trainer.lr,0.001,0.01,1,50,,50,validation
trainer.lr,0.01,0.1,3,64.67,5,70,validation
mask_strategy.name,adaptive,adaptive,1,70,,70,validation
mask_strategy.name,fixed,fixed,1,50,,50,validation
mask_strategy.name,None,None,2,62,2.8,64,validation
"""
IMPORTANCES = "parameter,importance\ntrainer.lr,0.7\ntau.value,0.2\nmask_strategy.name,0.1\n"


@pytest.fixture
def study(runs_dir: Path) -> Path:
    return written(runs_dir, "search", SPACE)


def written(runs_dir: Path, name: str, space: dict[str, Any]) -> Path:
    folder = runs_dir / "studies" / name
    folder.mkdir(parents=True)
    definition = {
        "name": name,
        "selection": "validation",
        "rule": "accuracy on held-out noisy labels",
        "space": space,
        "noise_rates": [0.5],
        "seeds": [1, 2],
        "overrides": ["base_method=ce"],
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(definition, sort_keys=False))
    (folder / "trials.csv").write_text(TRIALS)
    (folder / "sensitivity.csv").write_text(SENSITIVITY)
    (folder / "importances.csv").write_text(IMPORTANCES)
    return folder


def drawings(runs_dir: Path) -> dict[str, Chart]:
    return {chart.about.split(" · ")[1]: chart for chart in build("study", Records(runs_dir))}


def points(container: ErrorbarContainer) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in zip(*container.lines[0].get_data(), strict=True)]


def test_what_is_drawn_of_a_study(study: Path, runs_dir: Path) -> None:
    found = drawings(runs_dir)
    assert list(found) == ["history", "slices", "contour", "importances"]
    for chart in found.values():
        assert chart.about.startswith("search · ")
        assert "Selection: accuracy on held-out noisy labels." in chart.caption
        assert "6 trials, 4 complete, 1 pruned, 1 failed" in chart.caption
        assert "Best: trial 1, 70.00 % (tau.value=0.2 trainer.lr=0.01 mask_strategy.name=adaptive)" in chart.caption


def test_history(study: Path, runs_dir: Path) -> None:
    chart = drawings(runs_dir)["history"]
    assert chart.numbers["best_so_far"].ffill().tolist() == [50, 70, 70, 70, 70, 70]
    (axes,) = chart.drawing.axes
    (container,) = axes.containers
    assert isinstance(container, ErrorbarContainer)
    assert points(container) == [(0, 50), (1, 70), (4, 60), (5, 64)]
    data = {line.get_label(): list(line.get_xdata()) for line in axes.get_lines()}
    assert (data["pruned, so far"], data["failed"], data["best"]) == ([2], [3], [1])


def test_slices(study: Path, runs_dir: Path) -> None:
    chart = drawings(runs_dir)["slices"]
    tau, rate, strategy = chart.drawing.axes
    assert [axes.get_xlabel() for axes in (tau, rate, strategy)] == list(SPACE)
    assert (tau.get_xscale(), rate.get_xscale()) == ("linear", "log")
    assert [tick.get_text() for tick in strategy.get_xticklabels()] == ["adaptive", "fixed", "None"]
    containers = [axes.containers[0] for axes in (tau, rate, strategy)]
    assert [[x for x, _ in points(one)] for one in containers if isinstance(one, ErrorbarContainer)] == [
        [0.1, 0.2, 0.3, 0.3],
        [0.001, 0.01, 0.1, 0.1],
        [1, 0, 2, 2],
    ]
    means = next(line for line in rate.get_lines() if line.get_label() == "mean of the trials there")
    assert list(means.get_xdata()) == pytest.approx([0.001**0.5 * 0.01**0.5, 0.01**0.5 * 0.1**0.5])
    assert list(means.get_ydata()) == [50, 64.67]
    assert "paper's tau, 0.2" in tau.get_legend_handles_labels()[1]
    assert "paper's tau, 0.2" not in rate.get_legend_handles_labels()[1]
    assert chart.numbers.groupby(["parameter", "kind"]).size().to_dict() == {
        ("mask_strategy.name", "part"): 3,
        ("mask_strategy.name", "trial"): 4,
        ("tau.value", "part"): 3,
        ("tau.value", "trial"): 4,
        ("trainer.lr", "part"): 2,
        ("trainer.lr", "trial"): 4,
    }


def test_the_contour_is_of_the_two_that_matter_most(study: Path, runs_dir: Path) -> None:
    chart = drawings(runs_dir)["contour"]
    axes = chart.drawing.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("tau.value", "trainer.lr", "log")
    assert chart.numbers.to_numpy().tolist() == [[0.1, 0.001, 50, 1], [0.2, 0.01, 70, 1], [0.3, 0.1, 62, 2]]
    assert "of 3 the two that matter most" in chart.caption
    assert "too few different ones for lines" in chart.caption


def test_a_contour_has_lines_between_enough_trials(study: Path, runs_dir: Path) -> None:
    more = "6,complete,validation,0.1,0.1,fixed,55,1,2,54,56,\n"
    (study / "trials.csv").write_text(TRIALS + more)
    assert "lines of equal accuracy" in drawings(runs_dir)["contour"].caption


def test_importances(study: Path, runs_dir: Path) -> None:
    (axes,) = drawings(runs_dir)["importances"].drawing.axes
    by_name = dict(zip([tick.get_text() for tick in axes.get_yticklabels()], axes.patches, strict=True))
    assert {name: bar.get_width() for name, bar in by_name.items()} == {  # type: ignore[attr-defined]
        "trainer.lr": 0.7,
        "tau.value": 0.2,
        "mask_strategy.name": 0.1,
    }


def test_unknown_importances_are_said_to_be_so(study: Path, runs_dir: Path) -> None:
    (study / "importances.csv").write_text("parameter,importance\n")
    found = drawings(runs_dir)
    assert "importances" not in found
    assert "Importances: too few complete trials." in found["history"].caption


def test_one_parameter_has_no_contour(runs_dir: Path) -> None:
    written(runs_dir, "one", {"tau.value": SPACE["tau.value"]})
    assert list(drawings(runs_dir)) == ["history", "slices", "importances"]


def test_every_study_is_drawn(study: Path, runs_dir: Path) -> None:
    written(runs_dir, "another", SPACE)
    assert [chart.about for chart in build("study", Records(runs_dir))][::4] == [
        "another · history",
        "search · history",
    ]


def test_no_study_is_one_line_with_the_command(runs_dir: Path) -> None:
    with pytest.raises(InputError, match=r"studies .*python -m sweeps\.tune study=tau_aspect runs_dir="):
        build("study", Records(runs_dir))


def test_a_study_without_a_report_is_one_line_with_the_command(study: Path, runs_dir: Path) -> None:
    (study / "study.yaml").unlink()
    with pytest.raises(InputError, match=r"study\.yaml: .*python -m sweeps\.tune report study=search"):
        build("study", Records(runs_dir))


@pytest.mark.parametrize(("file", "text"), [("study.yaml", "[1, 2"), ("study.yaml", "7"), ("trials.csv", "a\n1\n")])
def test_a_broken_report_is_one_line(study: Path, runs_dir: Path, file: str, text: str) -> None:
    (study / file).write_text(text)
    with pytest.raises(InputError, match="no report of a study") as raised:
        build("study", Records(runs_dir))
    assert "\n" not in str(raised.value)


def test_no_complete_trial_is_one_line(study: Path, runs_dir: Path) -> None:
    (study / "trials.csv").write_text(TRIALS.replace("complete", "running"))
    with pytest.raises(InputError, match=r"\(search: 6 trials, 4 running, 1 pruned, 1 failed\)"):
        build("study", Records(runs_dir))


def test_numbers_are_those_of_the_files(study: Path, runs_dir: Path) -> None:
    trials = pd.read_csv(study / "trials.csv")
    history = drawings(runs_dir)["history"].numbers
    assert history["mean"].tolist() == pytest.approx(trials["mean"].tolist(), nan_ok=True)
