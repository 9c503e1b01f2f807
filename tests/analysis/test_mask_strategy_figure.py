"""Figure mask_strategy: its points, its panels, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest

from analysis.figures import build
from analysis.records import Records
from analysis.records.load import load
from sanm.errors import InputError


@pytest.fixture
def compared(runs_dir: Path, settings: Any, write_run: Any) -> Path:
    for rate in (0.5, 0.9):
        for seed in (1, 2, 3):
            write_run(settings("none", rate, seed), best=60 - 10 * rate + seed**2)
            write_run(settings("full", rate, seed), best=75 - 10 * rate + seed)
            for strategy in ("fixed", "random"):
                config = settings("full", rate, seed, mask_strategy__name=strategy, variant__ratio_at_maximum=None)
                write_run(config, best=70 + len(strategy) + seed)
    return runs_dir


def test_the_numbers_are_those_of_a_groupby(compared: Path) -> None:
    (chart,) = build("mask_strategy", Records(compared))
    runs = load(compared)
    runs["mask_strategy.name"] = runs["mask_strategy.name"].fillna("none")
    by_hand = runs.groupby(["mask_strategy.name", "noise.rate"])["last_accuracy"].agg(["mean", "std"])
    last = chart.numbers[chart.numbers["statistic"] == "last"].set_index(["mask_strategy.name", "noise.rate"])
    assert len(last) == 8
    assert last["mean"].to_dict() == pytest.approx(by_hand["mean"].to_dict())
    assert last["std"].to_dict() == pytest.approx(by_hand["std"].to_dict())
    assert "n = 3 finished runs a point" in chart.caption


def test_a_row_of_panels_a_rate_a_column_a_statistic(compared: Path) -> None:
    (chart,) = build("mask_strategy", Records(compared))
    best_50, last_50, best_90, _ = chart.drawing.axes
    assert (best_50.get_title(), last_50.get_title()) == ("best", "last")
    assert (best_50.get_ylabel(), best_90.get_ylabel()) == ("50 % noise", "90 % noise")
    ways = [tick.get_text() for tick in best_50.get_yticklabels()]
    assert ways == ["no masks", "fixed ratio", "random ratio", "adaptive ratio"]
    drawn = {ways[round(container.lines[0].get_ydata()[0])]: container.lines[0].get_xdata()[0]
             for container in best_50.containers}  # fmt: skip
    assert drawn == pytest.approx(
        {"no masks": 55 + 14 / 3, "fixed ratio": 77, "random ratio": 78, "adaptive ratio": 72}
    )


def test_another_tau_is_another_chart(compared: Path, settings: Any, write_run: Any) -> None:
    for strategy in ("adaptive", "fixed"):
        write_run(settings("full", mask_strategy__name=strategy, tau__value=0.4), best=50.0)
    of_paper, other = build("mask_strategy", Records(compared))
    assert of_paper.about.endswith("tau.value=0.2")
    assert other.about.endswith("tau.value=0.4")
    assert set(other.numbers["mask_strategy.name"]) == {"none", "fixed", "adaptive"}


def test_missing_ones_are_named(compared: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("full", 0.5, 4))
    (chart,) = build("mask_strategy", Records(compared))
    assert "Not drawn: interrupted: adaptive at noise.rate 0.5 (seed 4, noise.seed 4)." in chart.caption
    assert "Not started: none at noise.rate 0.5 (1 seed)" in chart.caption


def test_one_strategy_is_refused_with_the_command(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("none"), best=80.0)
    write_run(settings("full"), best=80.0)
    with pytest.raises(InputError) as raised:
        build("mask_strategy", Records(runs_dir))
    assert "have mask_strategy adaptive;" in str(raised.value)
    assert "python -m sweeps.launch run mask_strategy" in str(raised.value)
