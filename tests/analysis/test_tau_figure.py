"""Figure tau: the numbers of its curve and its lines, the paper's marks, what is missing, what it refuses."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.figures import build
from analysis.figures.masking import STYLES
from analysis.records import Records
from analysis.records.load import load
from sanm.errors import InputError

TAUS = (0.1, 0.2, 0.4)
ACCURACY = {"none": 70.0, "fixed": 72.0, "random": 71.0}


@pytest.fixture
def swept(runs_dir: Path, settings: Any, write_run: Any) -> Path:
    for rate in (0.5, 0.8):
        for seed in (1, 2):
            for tau in TAUS:
                write_run(settings("full", rate, seed, tau__value=tau), best=80 - 10 * rate - 20 * tau + seed)
            for strategy in ("fixed", "random"):
                config = settings("full", rate, seed, mask_strategy__name=strategy, variant__ratio_at_maximum=None)
                write_run(config, best=ACCURACY[strategy] + seed)
            write_run(settings("none", rate, seed), best=ACCURACY["none"] + 2 * seed)
    return runs_dir


def panels(drawing: Figure, row: int = 0) -> Axes:
    return drawing.axes[row]


def labelled(axes: Axes, label: str) -> Any:
    return next(line for line in axes.get_lines() if line.get_label() == label)


def test_the_numbers_are_those_of_a_groupby(swept: Path) -> None:
    (chart,) = build("tau", Records(swept))
    runs = load(swept)
    full = runs[(runs["components.name"] == "full") & (runs["mask_strategy.name"] == "adaptive")]
    by_hand = full.groupby(["tau.value", "noise.rate"])["best_accuracy"].agg(["mean", "std", "count"])
    best = chart.numbers[chart.numbers["statistic"] == "best"]
    ours = best[best["mask_strategy.name"] == "adaptive"].set_index(["tau.value", "noise.rate"]).sort_index()
    assert len(ours) == 6
    assert ours["mean"].to_dict() == pytest.approx(by_hand["mean"].to_dict())
    assert ours["std"].to_dict() == pytest.approx(by_hand["std"].to_dict())
    assert ours["n"].to_dict() == by_hand["count"].to_dict()


def test_the_curve_and_the_lines_are_drawn_at_the_numbers(swept: Path) -> None:
    (chart,) = build("tau", Records(swept))
    axes = panels(chart.drawing)
    assert axes.get_title() == "50 % noise"
    assert axes.get_ylabel() == "best accuracy, %"
    curve = labelled(axes, "adaptive ratio")
    assert list(curve.get_xdata()) == list(TAUS)
    assert list(curve.get_ydata()) == pytest.approx([80 - 5 - 20 * tau + 1.5 for tau in TAUS])
    for label, mean in (("no masks", 73.0), ("fixed ratio 0.2", 73.5), ("random ratio 0.2", 72.5)):
        assert set(labelled(axes, label).get_ydata()) == {mean}


def test_bands_are_the_deviation_over_seeds(swept: Path) -> None:
    (chart,) = build("tau", Records(swept))
    axes = panels(chart.drawing)
    (band,) = axes.collections
    low, high = band.get_paths()[0].get_extents().intervaly
    half = 0.5**0.5  # of two seeds that are 1 apart
    assert (low, high) == pytest.approx((80 - 5 - 20 * 0.4 + 1.5 - half, 80 - 5 - 20 * 0.1 + 1.5 + half))
    color = STYLES["none"]["color"]
    beside = next(patch for patch in axes.patches if to_hex(patch.get_facecolor()) == color)
    assert isinstance(beside, Rectangle)
    assert beside.get_y() == pytest.approx(73 - 2**0.5)
    assert beside.get_height() == pytest.approx(2 * 2**0.5)


def test_the_papers_tau_and_range_are_marked(swept: Path) -> None:
    (chart,) = build("tau", Records(swept))
    for axes in chart.drawing.axes:
        spans = [patch for patch in axes.patches if isinstance(patch, Rectangle) and "range" in str(patch.get_label())]
        assert [(span.get_x(), span.get_width()) for span in spans] == [(0.1, pytest.approx(0.2))]
        assert set(labelled(axes, "paper's tau, 0.2").get_xdata()) == {0.2}
    assert "from 0.1 to 0.3" in chart.caption


def test_a_chart_a_protocol_and_a_panel_a_rate_and_statistic(swept: Path, settings: Any, write_run: Any) -> None:
    for tau in TAUS:
        write_run(settings("full", 0.5, base_method__name="ce", tau__value=tau), best=50 + tau)
    one, other = build("tau", Records(swept))
    assert (one.about, other.about) == (
        "digits · ce · full · symmetric noise · inclusive",
        "digits · dividemix · full · symmetric noise · inclusive",
    )
    assert (len(one.drawing.axes), len(other.drawing.axes)) == (2, 4)
    assert "no masks" not in panels(one.drawing).get_legend_handles_labels()[1], "those of another method"


def test_more_than_four_rates_go_into_further_rows(runs_dir: Path, settings: Any, write_run: Any) -> None:
    for rate in (0.1, 0.2, 0.3, 0.4, 0.5):
        for tau in TAUS:
            write_run(settings("full", rate, tau__value=tau), best=100 * rate)
    (chart,) = build("tau", Records(runs_dir))
    titled = [axes.get_title() for axes in chart.drawing.axes if axes.get_title()]
    assert titled == ["10 % noise", "20 % noise", "30 % noise", "40 % noise", "50 % noise"]
    assert len(chart.drawing.axes) == 10
    assert sum(axes.get_xlabel() == "basic mask ratio tau" for axes in chart.drawing.axes) == 5


def test_best_last_and_selected_are_named(swept: Path) -> None:
    (chart,) = build("tau", Records(swept))
    assert chart.numbers["statistic"].unique().tolist() == ["best", "last"]
    assert "best = highest test accuracy of any epoch (chosen on the test set)" in chart.caption
    assert "n = 2 finished runs a point" in chart.caption


def test_selected_is_drawn_where_all_have_it(runs_dir: Path, settings: Any, write_run: Any) -> None:
    for tau in TAUS:
        write_run(settings("full", 0.5, tau__value=tau), best=80.0, selected_accuracy=60 + tau)
    (chart,) = build("tau", Records(runs_dir))
    own = chart.numbers[chart.numbers["statistic"] == "selected"]
    assert own["mean"].tolist() == [60.1, 60.2, 60.4]
    assert "selected = " in chart.caption


def test_what_is_missing_is_named(swept: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("full", 0.5, 3, tau__value=0.4), failure="the loss is not finite")
    (chart,) = build("tau", Records(swept))
    assert "failed: adaptive 0.4 at noise.rate 0.5 (seed 3, noise.seed 3): the loss is not finite" in chart.caption
    assert "Not started: none at noise.rate 0.5 (1 seed)" in chart.caption
    cells = chart.numbers[(chart.numbers["masking"] == "adaptive 0.4") & (chart.numbers["noise.rate"] == 0.5)]
    assert cells[["n", "runs", "failed"]].to_numpy().tolist() == [[2, 3, 1]] * 2


def test_component_sets_are_charts_of_their_own(swept: Path, settings: Any, write_run: Any) -> None:
    for tau in TAUS:
        write_run(settings("amg", 0.5, tau__value=tau), best=60 + tau)
    amg, full = build("tau", Records(swept))
    assert amg.about.startswith("digits · dividemix · amg · ")
    assert full.about.startswith("digits · dividemix · full · ")
    assert amg.numbers.query("statistic == 'best' and masking == 'adaptive 0.1'")["mean"].iloc[0] == 60.1
    assert set(labelled(panels(amg.drawing), "no masks").get_ydata()) == {73.0}, "plain runs stand in both"


def test_strategies_of_several_taus_are_curves(swept: Path, settings: Any, write_run: Any) -> None:
    config = settings("full", 0.5, mask_strategy__name="fixed", variant__ratio_at_maximum=None, tau__value=0.4)
    write_run(config, best=50.0)
    (chart,) = build("tau", Records(swept))
    fixed = labelled(panels(chart.drawing), "fixed ratio")
    assert (list(fixed.get_xdata()), list(fixed.get_ydata())) == ([0.2, 0.4], [73.5, 50.0])


def test_the_papers_numbers_stand_where_the_setting_is_its_own(
    runs_dir: Path, paper_settings: Any, write_run: Any
) -> None:
    for tau in TAUS:
        write_run(paper_settings("full", 0.5, tau__value=tau), best=95.0)
    write_run(paper_settings("none", 0.5), best=94.0)
    (chart,) = build("tau", Records(runs_dir))
    known = chart.numbers[chart.numbers["statistic"] == "best"].dropna(subset=["paper"]).set_index("masking")
    assert known["paper"].to_dict() == {"adaptive 0.2": 95.8, "none": 94.6}
    assert known["difference"].to_dict() == pytest.approx({"adaptive 0.2": -0.8, "none": -0.6})
    star = labelled(panels(chart.drawing), "paper's Table 5, adaptive ratio")
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([0.2], [95.8])
    assert "Stars: The paper's Table 5, SANM at tau 0.2: best at 50 % noise 95.8 (none: 94.6)" in chart.caption


def test_the_papers_numbers_are_told_but_not_drawn_elsewhere(
    runs_dir: Path, paper_settings: Any, write_run: Any
) -> None:
    for tau in TAUS:
        write_run(paper_settings("full", 0.5, tau__value=tau, trainer__epochs=30), best=75.0)
    (chart,) = build("tau", Records(runs_dir))
    assert chart.numbers["paper"].isna().all()
    assert "That is another setting: trainer.epochs 30 (paper: 300)" in chart.caption
    assert not [label for label in panels(chart.drawing).get_legend_handles_labels()[1] if "Table 5" in label]


def test_one_tau_is_refused_with_the_command(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("full"), best=80.0)
    with pytest.raises(InputError) as raised:
        build("tau", Records(runs_dir))
    line = str(raised.value)
    assert "have tau 0.2" in line
    assert "python -m sweeps.launch run tau" in line
    assert "\n" not in line


def test_runs_without_masks_are_refused(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("none"), best=80.0)
    with pytest.raises(InputError, match="have tau none"):
        build("tau", Records(runs_dir))


def test_taus_that_differ_in_more_are_no_curve(runs_dir: Path, settings: Any, write_run: Any) -> None:
    for tau in TAUS:
        write_run(settings("full", tau__value=tau, mask_strategy__aspect=tau), best=80.0)
    with pytest.raises(InputError, match=r"have tau 0\.1, 0\.2, 0\.4"):
        build("tau", Records(runs_dir))


def test_a_run_without_a_rate_is_left_out_and_counted(swept: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("full", noise__rate=None), best=80.0)
    (chart,) = build("tau", Records(swept))
    assert "Left out: 1 without noise.rate, or masked without tau." in chart.caption
