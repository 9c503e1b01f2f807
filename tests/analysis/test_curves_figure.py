"""Figure curves: which runs are a chart and which a line, means and bands, marks, what is not drawn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.figures import build
from analysis.figures.chart import Chart
from analysis.records import Records
from analysis.records.load import load, load_epochs
from sanm.errors import InputError

HEADER = "epoch,loss,test_accuracy,validation_accuracy,labeled_fraction,clean_auroc,learning_rate,seconds"


@pytest.fixture
def write_epochs(write_run: Any) -> Callable[..., Path]:
    """A run with these accuracies, an epoch each, and a labeled fraction that shrinks if `splits`."""

    def write(config: Any, accuracies: list[float], splits: bool = False, **how: Any) -> Path:
        directory: Path = write_run(config, **how)
        rows = [
            f"{epoch},1.0,{accuracy},,{0.5 + 0.5 / epoch if splits else 1.0},{0.6 + epoch / 100},0.02,1"
            for epoch, accuracy in enumerate(accuracies, 1)
        ]
        (directory / "metrics.csv").write_text("\n".join([HEADER, *rows]) + "\n")
        return directory

    return write


def lines(chart: Chart) -> list[str]:
    """The legend's lines, without the entry for the best epochs."""
    (legend,) = chart.drawing.legends
    return [text.get_text() for text in legend.get_texts() if text.get_text() != "best epoch of a run"]


def test_lines_are_means_over_seeds(runs_dir: Path, settings: Any, write_epochs: Any) -> None:
    for name in ("none", "full"):
        for seed in (1, 2):
            write_epochs(settings(name, 0.5, seed), [10.0 * seed, 30, 40 + seed], splits=True, best=50.0 + seed)
    (chart,) = build("curves", Records(runs_dir))
    runs, epochs = load(runs_dir), load_epochs(runs_dir)
    full = epochs[epochs["run"].isin(runs.loc[runs["components.name"] == "full", "run"])]
    assert lines(chart) == ["none", "full"]
    for column in ("test_accuracy", "labeled_fraction", "clean_auroc"):
        by_hand = full.groupby("epoch")[column].agg(["mean", "std"])
        ours = chart.numbers[(chart.numbers["line"] == "full") & (chart.numbers["quantity"] == column)]
        assert ours.set_index("epoch")[["mean", "std"]].to_numpy() == pytest.approx(by_hand.to_numpy())
        assert set(ours["n"]) == {2}
    assert [axes.get_ylabel() for axes in chart.drawing.axes] == [
        "test accuracy, %",
        "labeled fraction",
        "clean/noisy AUROC",
    ]
    drawn = [line for line in chart.drawing.axes[0].get_lines() if line.get_label() == "line"]
    assert list(drawn[1].get_ydata()) == [15, 30, 41.5]


def test_best_and_last_are_those_of_the_records(runs_dir: Path, settings: Any, write_epochs: Any) -> None:
    for seed in (1, 2):
        write_epochs(settings("none", 0.5, seed), [20, 30], best=50.0 + seed, best_epoch=seed)
    (chart,) = build("curves", Records(runs_dir))
    best = chart.numbers[chart.numbers["quantity"] == "best"]
    assert best[["epoch", "mean"]].to_numpy().tolist() == [[1, 51], [2, 52]]
    last = chart.numbers[chart.numbers["quantity"] == "last"]
    assert last[["mean", "n"]].to_numpy().tolist() == [[50.5, 2]]
    stars = [line for line in chart.drawing.axes[0].get_lines() if line.get_marker() == "*"]
    assert [list(line.get_xdata()) for line in stars] == [[1, 2]]
    assert "best = highest test accuracy of any epoch (chosen on the test set)" in chart.caption


def test_methods_are_lines_and_rates_are_charts(runs_dir: Path, settings: Any, write_epochs: Any) -> None:
    for method in ("elr", "ce"):
        for name in ("none", "amg", "full"):
            for rate in (0.5, 0.8):
                write_epochs(settings(name, rate, base_method__name=method), [20, 30], best=50.0)
    one, other = build("curves", Records(runs_dir))
    assert lines(one) == ["ce", "SANM(ce)", "ce + amg", "elr", "SANM(elr)", "elr + amg"]
    assert (one.about, other.about) == (
        "digits · symmetric noise · rate 0.5 · inclusive",
        "digits · symmetric noise · rate 0.8 · inclusive",
    )


def test_settings_of_sanm_that_differ_are_told(runs_dir: Path, settings: Any, write_epochs: Any) -> None:
    write_epochs(settings("none"), [20], best=50.0)
    for tau in (0.1, 0.3):
        write_epochs(settings("full", tau__value=tau), [20], best=50.0)
    (chart,) = build("curves", Records(runs_dir))
    assert lines(chart) == ["none", "full, tau 0.1", "full, tau 0.3"]


def test_of_many_settings_a_line_tells_those_that_are_unusual(runs_dir: Path, settings: Any, write_epochs: Any) -> None:
    usual = {"variant__fill": "uniform", "variant__anchor": "center", "tau__value": 0.2}
    unusual = {"variant__anchor": "corner", "tau__value": 0.4, "mask_strategy__aspect": 0.3, "variant__fill": "black"}
    for changes in ({}, {"variant__fill": "box_color"}, unusual):
        for seed in (1, 2, 3) if not changes else (1,):
            write_epochs(settings("full", 0.5, seed, **{**usual, **changes}), [20], best=50.0)
    (chart,) = build("curves", Records(runs_dir))
    assert lines(chart) == ["full", "full, fill box_color", "full, mask_strategy.aspect 0.3, tau 0.4 and 2 more"]


def test_more_than_eight_lines_are_cut_by_method(runs_dir: Path, settings: Any, write_epochs: Any) -> None:
    for method in ("ce", "elr", "cdr", "coteaching", "dividemix"):
        for name in ("none", "full"):
            write_epochs(settings(name, base_method__name=method), [20, 30], best=50.0)
    charts = build("curves", Records(runs_dir))
    assert [chart.about.split(" · ")[1] for chart in charts] == ["cdr", "ce", "coteaching", "dividemix", "elr"]
    assert all(lines(chart) == ["none", "full"] for chart in charts)


def test_a_method_of_more_than_eight_lines_is_cut_in_parts(runs_dir: Path, settings: Any, write_epochs: Any) -> None:
    write_epochs(settings("none"), [20], best=50.0)
    for number in range(10):
        write_epochs(settings("full", tau__value=0.1 + number / 100), [20], best=50.0)
    one, other = build("curves", Records(runs_dir))
    assert (one.about.split(" · ")[-1], other.about.split(" · ")[-1]) == ("part 1 of 2", "part 2 of 2")
    assert (len(lines(one)), len(lines(other))) == (8, 4)
    assert lines(one)[0] == lines(other)[0] == "none"


def test_unfinished_runs_are_drawn_only_for_want_of_others(runs_dir: Path, settings: Any, write_epochs: Any) -> None:
    write_epochs(settings("none", 0.5, 1), [20, 30], best=50.0)
    write_epochs(settings("none", 0.5, 2), [90])
    write_epochs(settings("full", 0.5, 1), [25])
    (chart,) = build("curves", Records(runs_dir))
    assert lines(chart) == ["none", "full (unfinished)"]
    first = chart.numbers[(chart.numbers["quantity"] == "test_accuracy") & (chart.numbers["epoch"] == 1)]
    assert dict(zip(first["line"], first["mean"], strict=True)) == {"none": 20, "full (unfinished)": 25}
    assert "Not drawn: none (interrupted, seed 2)." in chart.caption


def test_a_labeled_fraction_of_one_is_not_drawn(runs_dir: Path, settings: Any, write_epochs: Any) -> None:
    write_epochs(settings("none", base_method__name="ce"), [20, 30], best=50.0)
    (alone,) = build("curves", Records(runs_dir))
    assert "labeled_fraction" not in set(alone.numbers["quantity"])
    assert len(alone.drawing.axes) == 2
    assert "Labeled fraction: not drawn" in alone.caption
    write_epochs(settings("none"), [20, 30], splits=True, best=50.0)
    (both,) = build("curves", Records(runs_dir))
    fractions = both.numbers[both.numbers["quantity"] == "labeled_fraction"]
    assert set(fractions["line"]) == {"dividemix"}
    assert "the share of labels that are right, 0.550" in both.caption


def test_noise_without_a_rate(runs_dir: Path, settings: Any, write_epochs: Any) -> None:
    write_epochs(settings("none", noise__rate=None, noise__name="none"), [20, 30], best=50.0)
    (chart,) = build("curves", Records(runs_dir))
    assert chart.about == "digits · dividemix · none noise · inclusive"


def test_runs_without_epochs_are_refused_or_left_out(runs_dir: Path, settings: Any, write_epochs: Any) -> None:
    write_epochs(settings("none"), [])
    with pytest.raises(InputError, match=r"none of these 1 .*python -m sanm\.run"):
        build("curves", Records(runs_dir))
    write_epochs(settings("full"), [20], best=50.0)
    (chart,) = build("curves", Records(runs_dir))
    assert "Left out: run-0000 (no epoch yet)." in chart.caption
    assert pd.isna(chart.numbers["std"]).all(), "one seed has no deviation"
