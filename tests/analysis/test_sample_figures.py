"""The figures of images and losses: what they draw, of which runs, and what they say of it."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.figures import build, names
from analysis.figures.activation import charts as activation
from analysis.figures.chart import Chart
from analysis.figures.loss_histogram import charts as loss_histogram
from analysis.figures.masks import charts as masks
from analysis.records import Records
from sanm.errors import InputError
from tests.analysis.sampled import sample_arrays, write_samples

FIGURES = {"activation": activation, "masks": masks, "loss_histogram": loss_histogram}
MakeRun = Callable[..., Path]


@pytest.fixture
def sampled_run(write_run: Any, settings: Any) -> MakeRun:
    """A finished run with samples; the options of its arrays, its settings, and when it finished."""

    def make(components: str = "full", rate: float = 0.5, finished: str = "2026-11-20", **options: Any) -> Path:
        seed = options.pop("seed", 1)
        run: Path = write_run(settings(components, rate, seed), best=80.0, finished=finished)
        write_samples(run, masks=components != "none", **options)
        return run

    return make


def drawn(chart: Chart) -> bytes:
    picture = io.BytesIO()
    chart.drawing.savefig(picture, format="png", dpi=60)
    return picture.getvalue()


def texts(drawing: Figure) -> list[Text]:
    return [each for each in drawing.findobj(Text) if isinstance(each, Text) and each.get_text().strip()]


def words(drawing: Figure) -> str:
    return "\n".join(each.get_text() for each in texts(drawing))


def test_they_are_found_by_their_names(sampled_run: MakeRun, runs_dir: Path) -> None:
    sampled_run()
    assert set(FIGURES) <= set(names())
    for name in FIGURES:
        assert len(build(name, Records(runs_dir))) == 1


@pytest.mark.parametrize("options", [{}, {"channels": 3, "networks": 2, "views": 2}, {"truth": False}, {"count": 5}])
@pytest.mark.parametrize("figure", FIGURES)
def test_they_can_be_drawn_and_read(sampled_run: MakeRun, runs_dir: Path, figure: str, options: dict[str, Any]) -> None:
    run = sampled_run(**options)
    (chart,) = FIGURES[figure](Records(runs_dir))
    assert drawn(chart).startswith(b"\x89PNG")
    assert chart.drawing.get_size_inches()[0] == 6.5
    assert min(each.get_fontsize() for each in texts(chart.drawing)) >= 7
    assert run.name in chart.caption
    assert chart.about == "digits · dividemix · symmetric noise 50 % · full"
    assert set(chart.numbers["run"]) == {run.name}


# ---- which runs


@pytest.mark.parametrize("figure", FIGURES)
def test_the_newest_run_of_each_kind_stands_for_it(sampled_run: MakeRun, runs_dir: Path, figure: str) -> None:
    sampled_run(seed=1, finished="2026-11-20T10:00:00+00:00")
    newest = sampled_run(seed=2, finished="2026-11-21T10:00:00+00:00")
    sampled_run(seed=3, finished="2026-11-19T10:00:00+00:00")
    other = sampled_run(rate=0.2, finished="2026-11-18T10:00:00+00:00")
    found = FIGURES[figure](Records(runs_dir))
    assert [set(chart.numbers["run"]) for chart in found] == [{newest.name}, {other.name}]
    assert f"{newest.name}, the newest of 3 of its kind: " in found[0].caption


@pytest.mark.parametrize("figure", ["activation", "loss_histogram"])
def test_runs_with_sanm_come_first_and_no_more_than_a_handful(
    sampled_run: MakeRun, runs_dir: Path, figure: str
) -> None:
    sampled_run("none", finished="2026-11-22")
    for rate in (0.1, 0.2, 0.3, 0.4):
        sampled_run("full", rate)
    found = FIGURES[figure](Records(runs_dir))
    assert len(found) == 4
    assert all(chart.about.endswith("full") for chart in found)


@pytest.mark.parametrize("figure", FIGURES)
def test_a_run_can_be_asked_for(sampled_run: MakeRun, runs_dir: Path, figure: str) -> None:
    runs = [sampled_run(seed=seed, finished=f"2026-11-2{seed}") for seed in (1, 2)]
    (chart,) = FIGURES[figure](Records(runs_dir), run=runs[0].name)
    assert set(chart.numbers["run"]) == {runs[0].name}
    with pytest.raises(InputError, match=r"nobody; .*run-"):
        FIGURES[figure](Records(runs_dir), run="nobody")


@pytest.mark.parametrize("figure", FIGURES)
def test_runs_without_samples_are_passed_over_or_named(
    sampled_run: MakeRun, runs_dir: Path, write_run: Any, settings: Any, figure: str
) -> None:
    old = write_run(settings("full", 0.5, 9), best=80.0, finished="2026-12-01")
    with pytest.raises(InputError, match=r"none of these 1 .*samples\.npz"):
        FIGURES[figure](Records(runs_dir))
    with pytest.raises(InputError, match=rf"{old.name}.samples\.npz"):
        FIGURES[figure](Records(runs_dir), run=old.name)
    run = sampled_run()
    (chart,) = FIGURES[figure](Records(runs_dir))
    assert set(chart.numbers["run"]) == {run.name}


def test_a_damaged_file_is_named(sampled_run: MakeRun, runs_dir: Path) -> None:
    (sampled_run() / "samples.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"samples\.npz"):
        activation(Records(runs_dir))


def test_a_gallery_of_masks_needs_masks(sampled_run: MakeRun, runs_dir: Path) -> None:
    plain = sampled_run("none", finished="2026-11-22")
    with pytest.raises(InputError, match=r"none of these 1 .* masks"):
        masks(Records(runs_dir))
    with pytest.raises(InputError, match=f"{plain.name} .* masks"):
        masks(Records(runs_dir), run=plain.name)
    full = sampled_run("full")
    assert [set(chart.numbers["run"]) for chart in masks(Records(runs_dir))] == [{full.name}]


# ---- what they say


def test_activation_shows_both_ends_and_their_labels(sampled_run: MakeRun, runs_dir: Path) -> None:
    sampled_run()
    (chart,) = activation(Records(runs_dir))
    arrays, numbers = sample_arrays(), chart.numbers
    sides = dict(list(numbers.groupby("side", sort=False)))
    least, most = sides["Least trusted labels"], sides["Most trusted labels"]
    assert len(least) == len(most) == 5
    assert least["clean_probability"].max() < most["clean_probability"].min()
    assert set(least["given_label"]) == set(arrays["class_names"]), "of every given label there is one"
    first = least.iloc[0]
    at = int(first["index"]) // 7
    assert (first["key"], first["given_label"]) == (f"train/{at}.png", arrays["class_names"][arrays["given"][at]])
    assert first["true_label"] == arrays["class_names"][arrays["true"][at]]
    assert (first["nominal_ratio_most"], first["nominal_ratio_least"]) == (0.12, 0.06)
    said = words(chart.drawing)
    assert "cat → dog   (dog)   w 0.00" in said
    assert "a class with …" in said, "a long name is cut"
    for step in ("image", "activation", "boxes", "masked view", "box at the most activated point"):
        assert step in said


def test_activation_without_masks_or_truth(sampled_run: MakeRun, runs_dir: Path) -> None:
    sampled_run("none", truth=False)
    (chart,) = activation(Records(runs_dir))
    said = words(chart.drawing)
    assert "masked" not in said
    assert "cat → dog\nw 0.00" in said
    assert chart.numbers["true_label"].isna().all()
    assert "true label unknown" in chart.caption


def test_masks_that_were_not_learned_from_are_said_to_be(sampled_run: MakeRun, runs_dir: Path) -> None:
    run = sampled_run()
    assert "before SANM set in" not in masks(Records(runs_dir))[0].caption
    write_samples(run, {**sample_arrays(), "masks_trained": np.array(False)})
    assert "before SANM set in" in masks(Records(runs_dir))[0].caption


@pytest.mark.parametrize("views", [1, 2])
def test_the_gallery_has_shares_and_targets(sampled_run: MakeRun, runs_dir: Path, views: int) -> None:
    run = sampled_run(views=views)
    (chart,) = masks(Records(runs_dir))
    numbers = chart.numbers
    assert len(numbers) == 24
    assert numbers["view"].nunique() == views
    shares = {0: 12 / 64} if views == 1 else {0: 8 / 64, 1: 4 / 64}
    assert numbers.groupby("view")["share"].unique().map(list).to_dict() == {view: [s] for view, s in shares.items()}
    assert numbers["given label"].to_numpy() == pytest.approx(0.8)
    assert numbers["likeliest other class"].to_numpy() == pytest.approx(0.2 / 3), "the label is softened alone"
    assert numbers["all further classes"].to_numpy() == pytest.approx(0.4 / 3)
    assert f"{100 * shares[0]:.0f} % masked" in words(chart.drawing)

    arrays = sample_arrays(views=views)
    arrays["target"] = np.array([[[0.4, 0.35, 0.2, 0.05]] * views] * 32)
    write_samples(run, arrays)
    numbers = masks(Records(runs_dir))[0].numbers
    of_dog = numbers[numbers["given_label"] == "dog"]
    assert of_dog["given label"].to_numpy() == pytest.approx(0.35)
    assert of_dog["likeliest other class"].to_numpy() == pytest.approx(0.4)
    assert of_dog["all further classes"].to_numpy() == pytest.approx(0.25)


def test_the_histogram_counts_right_and_wrong_labels(sampled_run: MakeRun, runs_dir: Path) -> None:
    sampled_run(networks=2)
    (chart,) = loss_histogram(Records(runs_dir))
    numbers, arrays = chart.numbers, sample_arrays(networks=2)
    for network in (1, 2):
        own = numbers[numbers["network"] == network]
        counts = own.groupby("labels")["count"].sum().to_dict()
        assert counts == {"right labels": 210, "wrong labels": 90}
        assert (own["density"] * (own["to"] - own["from"])).sum() == pytest.approx(1), "together they are all samples"
        bar = own[(own["labels"] == "wrong labels")].iloc[35]
        losses = arrays["normalised_losses"][network - 1][arrays["is_wrong"]].astype(float)
        assert bar["count"] == ((losses >= 0.7) & (losses < 0.72)).sum() > 0
        # The densities are those of the mixture: N(0.7, 0.1) with weight 1/3 at 0.71.
        assert bar["high"] == pytest.approx(np.exp(-0.5 * 0.1**2) / np.sqrt(2 * np.pi) / 0.1 / 3)
        assert bar["low"] == pytest.approx(0, abs=1e-6)


def test_the_threshold_is_where_the_mixture_says(sampled_run: MakeRun, runs_dir: Path) -> None:
    sampled_run()
    (chart,) = loss_histogram(Records(runs_dir))
    (axis,) = chart.drawing.axes
    at = float(next(line for line in axis.lines if line.get_label() == "clean probability 0.5").get_xdata()[0])  # type: ignore[index, arg-type]
    low = 2 / 3 * np.exp(-((at - 0.2) ** 2) / (2 * 0.0025)) / 0.05
    high = 1 / 3 * np.exp(-((at - 0.7) ** 2) / (2 * 0.01)) / 0.1
    assert low / (low + high) == pytest.approx(0.5, abs=0.03)
    assert f"the threshold is at {at:.2f}" in chart.caption
    assert "losses of the last scan 0.25 to 5;" in chart.caption


def test_a_methods_own_threshold_is_drawn(write_run: Any, settings: Any, runs_dir: Path) -> None:
    write_samples(write_run(settings(base_method__threshold=0.9), best=80.0))
    (chart,) = loss_histogram(Records(runs_dir))
    assert "clean probability 0.9" in words(chart.drawing)


def test_unknown_truth_is_one_histogram(sampled_run: MakeRun, runs_dir: Path) -> None:
    sampled_run(truth=False)
    (chart,) = loss_histogram(Records(runs_dir))
    assert set(chart.numbers["labels"]) == {"all labels"}
    assert chart.numbers["count"].sum() == 300
    assert "True labels are unknown." in chart.caption


def test_losses_that_did_not_differ_have_no_mixture(sampled_run: MakeRun, runs_dir: Path) -> None:
    run = sampled_run()
    arrays = sample_arrays()
    arrays |= {"mixture": np.full((1, 3, 2), np.nan), "normalised_losses": np.zeros((1, 300), dtype=np.float16)}
    write_samples(run, arrays)
    (chart,) = loss_histogram(Records(runs_dir))
    assert drawn(chart)
    assert "the threshold is nowhere" in chart.caption
