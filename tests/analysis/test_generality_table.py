"""The table of base methods with and without SANM: pairs, their order, what may differ, and how it reads."""

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analysis
from analysis.compare.blocks import Block
from analysis.compare.method_rows import numbers, with_gains
from analysis.compare.render import csv, latex, markdown
from analysis.tables import build, names
from analysis.tables.generality import table
from sanm.errors import InputError
from tests.conftest import record_of


@pytest.fixture
def write_method(settings: Any, write_run: Any) -> Any:
    """`write_method("ce", "full", 0.5, seed, best=80.0, section__key=value)`: one run of a base method."""

    def write(method: str, components: str, rate: float = 0.5, seed: int = 1, **given: Any) -> Path:
        changes = {key: given.pop(key) for key in list(given) if "__" in key}
        return write_run(settings(components, rate, seed, **{"base_method__name": method, **changes}), **given)

    return write


@pytest.fixture
def write_paper_method(paper_settings: Any, write_run: Any) -> Any:
    """The same in the paper's setting."""

    def write(method: str, components: str, best: float, rate: float = 0.5, **changes: Any) -> Path:
        return write_run(paper_settings(components, rate, **{"base_method__name": method, **changes}), best=best)

    return write


def cell(block: Block, method: str, rate: float = 0.5, statistic: str = "best") -> pd.Series:
    found = block.cells.set_index(["statistic", "method", "noise.rate"]).xs((statistic, method, rate))
    assert isinstance(found, pd.Series)
    return found


def row_order(block: Block) -> list[str]:
    return block.cells["method"].drop_duplicates().tolist()


def pipe_rows(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if line.startswith("|"):
            yield [part.strip() for part in line.strip("|").split("|")]


def unwrapped(text: str) -> str:
    return " ".join(text.split())


def test_the_table_is_found_by_its_name(runs_dir: Path, write_method: Any) -> None:
    write_method("ce", "none", best=70.0)
    assert "generality" in names()
    assert build("generality", analysis.load(runs_dir)).title == "SANM on every base method"


def test_the_gain_pairs_equal_seeds(runs_dir: Path, write_method: Any) -> None:
    for seed, best in ((1, 70.0), (2, 60.0), (3, 65.0), (4, 99.0)):
        write_method("ce", "none", seed=seed, best=best)
    for seed, best in ((1, 71.0), (2, 63.0), (3, 70.0), (5, 10.0)):
        write_method("ce", "full", seed=seed, best=best)
    block = table(analysis.load(runs_dir)).blocks[0]
    gain = cell(block, "ce: gain")
    assert gain["mean"] == pytest.approx(3)
    assert gain["std"] == pytest.approx(2)
    assert (gain["n"], gain["runs"], gain["missing"]) == (3, 3, 2)
    assert cell(block, "ce: gain", statistic="last")["mean"] == pytest.approx(3)
    assert (cell(block, "ce")["n"], cell(block, "SANM(ce)")["n"]) == (4, 4)
    assert ["best", "ce: gain", "+3.0 ± 2.0 (3), p = 0.12"] in list(pipe_rows(markdown(table(analysis.load(runs_dir)))))


def test_seeds_of_the_noise_count_for_pairs_too(runs_dir: Path, write_method: Any) -> None:
    write_method("ce", "none", seed=1, noise__seed=7, best=70.0)
    write_method("ce", "full", seed=1, noise__seed=8, best=80.0)
    gain = cell(table(analysis.load(runs_dir)).blocks[0], "ce: gain")
    assert (gain["n"], gain["runs"]) == (0, 0)
    assert math.isnan(gain["mean"])


def test_runs_of_one_seed_count_by_their_mean_and_are_warned_of(runs_dir: Path, write_method: Any) -> None:
    write_method("ce", "none", best=70.0)
    write_method("ce", "full", best=71.0)
    write_method("ce", "full", best=75.0, base_method__warm_up=9)
    block = table(analysis.load(runs_dir)).blocks[0]
    assert (cell(block, "ce: gain")["mean"], cell(block, "ce: gain")["n"]) == (3, 1)
    warning = "base_method.warm_up is mixed at base_method.name ce at noise.rate 0.5: 5 (2 runs), 9 (1 run)"
    assert warning in block.warnings


def test_cells_as_text(runs_dir: Path, write_method: Any) -> None:
    write_method("ce", "none", seed=1, best=70.0)
    write_method("ce", "full", seed=1, best=69.0)
    write_method("ce", "none", seed=2, best=72.0)
    write_method("ce", "full", seed=2, failure="RuntimeError: CUDA out of memory")
    write_method("elr", "none", seed=1, best=80.0)
    write_method("elr", "full", seed=1)
    write_method("elr", "none", rate=0.8, best=50.0)
    text = markdown(table(analysis.load(runs_dir)))
    rows = list(pipe_rows(text))
    assert rows[0] == ["statistic", "method", "50 %", "80 %"]
    assert ["best", "ce", "**71.0 ± 1.4 (2)**", "—"] in rows
    assert ["best", "SANM(ce)", "69.0 (1/2)", "—"] in rows
    assert ["best", "ce: gain", "−1.0 (1/2)", "—"] in rows
    assert ["best", "elr", "80.0 (1)", "50.0 (1)"] in rows
    assert ["best", "SANM(elr)", "interrupted", "—"] in rows
    assert ["best", "elr: gain", "—", "—"] in rows
    assert ["", "realised noise", "45 %", "72 %"] in rows
    text = unwrapped(text)
    assert "failed: SANM(ce) at noise.rate 0.5 (seed 2, noise.seed 2): RuntimeError: CUDA out of memory" in text
    assert "interrupted: SANM(elr) at noise.rate 0.5" in text
    assert "Not started: ce at noise.rate 0.8 (2 seeds), SANM(ce) at noise.rate 0.8 (2 seeds), elr at" in text
    assert ": gain at" not in text
    assert "commit abcdef0123" in text
    assert "the final 10 epochs" in text
    assert "**bold**: the better of a method and SANM on it" in text


def test_bold_is_within_a_method(runs_dir: Path, write_method: Any) -> None:
    for method, plain, lifted in (("ce", 60.0, 65.0), ("elr", 90.0, 85.0)):
        write_method(method, "none", best=plain)
        write_method(method, "full", best=lifted)
    rows = list(pipe_rows(markdown(table(analysis.load(runs_dir)))))
    assert ["best", "ce", "60.0 (1)"] in rows
    assert ["best", "SANM(ce)", "**65.0 (1)**"] in rows
    assert ["best", "ce: gain", "+5.0 (1)"] in rows
    assert ["best", "elr", "**90.0 (1)**"] in rows
    assert ["best", "SANM(elr)", "85.0 (1)"] in rows


def test_methods_in_order_others_by_name(runs_dir: Path, write_method: Any) -> None:
    for method in ("zeta", "c2d", "alpha", "elr_plus", "ce", "dividemix", "coteaching", "elr", "cdr"):
        write_method(method, "full", best=70.0)
    order = row_order(table(analysis.load(runs_dir)).blocks[0])
    assert order[:3] == ["ce", "SANM(ce)", "ce: gain"]
    methods = ["ce", "coteaching", "cdr", "elr_plus", "dividemix", "c2d", "alpha", "elr", "zeta"]
    assert order[::3] == methods


def test_methods_with_settings_and_encoders_of_their_own_share_a_block(runs_dir: Path, write_method: Any) -> None:
    write_method("ce", "none", best=70.0, quality__window=1)
    write_method("ce", "full", best=71.0, quality__window=1, components__start=3)
    c2d: dict[str, Any] = {"pretrain__name": "simclr", "pretrain__epochs": 1000, "quality__iterations": 200}
    write_method("c2d", "none", best=90.0, quality__window=5, base_method__threshold=0.03, **c2d)
    write_method("c2d", "full", best=91.0, quality__window=5, base_method__threshold=0.03, **c2d)
    result = table(analysis.load(runs_dir))
    assert len(result.blocks) == 2
    assert not result.blocks[0].warnings
    assert "From a pre-trained encoder: c2d (simclr)." in result.blocks[0].notes


@pytest.mark.parametrize(
    "change", [{"trainer__epochs": 60}, {"model__widths": [8]}, {"noise__convention": "exclusive"}]
)
def test_other_protocols_stand_in_other_blocks(runs_dir: Path, write_method: Any, change: dict[str, Any]) -> None:
    write_method("ce", "none", best=70.0)
    write_method("elr", "none", best=70.0, **change)
    blocks = table(analysis.load(runs_dir)).blocks[:-1]
    assert sorted(row_order(block)[0] for block in blocks) == ["ce", "elr"]


def test_plain_runs_join_every_tau(runs_dir: Path, write_method: Any) -> None:
    write_method("ce", "none", best=70.0)
    for tau in (0.1, 0.3):
        write_method("ce", "full", best=70 + 10 * tau, tau__value=tau)
    blocks = table(analysis.load(runs_dir)).blocks[:-1]
    assert [block.title.split(" · ")[-1] for block in blocks] == ["tau.value=0.1", "tau.value=0.3"]
    assert [cell(block, "ce: gain")["mean"] for block in blocks] == pytest.approx([1, 3])


def test_settings_tabulated_by_rate_are_noted_and_not_warned_of(runs_dir: Path, write_method: Any) -> None:
    for components in ("none", "full"):
        write_method("dividemix", components, 0.9, best=60.0)
        write_method("dividemix", components, 0.5, best=80.0)
    block = table(analysis.load(runs_dir)).blocks[0]
    assert not block.warnings
    noted = "Differ between noise rates: dividemix base_method.lambda_u 25, 50; dividemix quality.window 1, 5."
    assert noted in block.notes


def test_a_pair_that_differs_in_more_than_sanm_is_warned_of(runs_dir: Path, write_method: Any) -> None:
    write_method("ce", "none", best=70.0)
    write_method("ce", "full", best=90.0, pretrain__name="simclr", base_method__warm_up=9, dirty=True)
    warnings = "\n".join(table(analysis.load(runs_dir)).blocks[0].warnings)
    assert "pretrain.name is mixed at base_method.name ce at noise.rate 0.5: none (1 run), simclr (1 run)" in warnings
    assert "base_method.warm_up is mixed" in warnings
    assert "commits are mixed" in warnings


def test_other_component_sets_are_left_out_and_counted(runs_dir: Path, settings: Any, write_run: Any) -> None:
    for components in ("none", "amg", "amg_nlr", "full"):
        write_run(settings(components), best=70.0)
    write_run(settings("full", noise__rate=None), best=70.0)
    result = table(analysis.load(runs_dir))
    assert row_order(result.blocks[0]) == ["dividemix", "SANM(dividemix)", "dividemix: gain"]
    assert "Left out: 2 with components.name amg and amg_nlr." in result.notes
    assert "Left out: 1 without base_method.name or noise.rate." in result.notes


def test_nothing_to_compare_is_refused(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("amg"), best=70.0)
    with pytest.raises(InputError, match=r"components\.name .*sweeps\.launch run generality") as caught:
        table(analysis.load(runs_dir))
    assert "\n" not in str(caught.value)


def test_runs_without_the_factors_are_refused(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("full", noise__rate=None), best=80.0)
    with pytest.raises(InputError, match=r"base_method\.name and noise\.rate"):
        table(analysis.load(runs_dir))


def test_the_papers_numbers_beside_ours_in_its_setting(runs_dir: Path, write_paper_method: Any) -> None:
    write_paper_method("ce", "none", best=80.0)
    write_paper_method("ce", "full", best=89.0)
    write_paper_method("mine", "full", best=89.0)
    result = table(analysis.load(runs_dir))
    (block,) = result.blocks
    assert cell(block, "SANM(ce)")["paper"] == 89.7
    assert cell(block, "ce: gain")["paper"] == pytest.approx(10.3)
    assert cell(block, "ce: gain")["difference"] == pytest.approx(-1.3)
    assert math.isnan(cell(block, "SANM(mine)")["paper"])
    assert math.isnan(cell(block, "ce", statistic="last")["paper"])
    rows = [row for row in pipe_rows(markdown(result)) if row[0] == "best"]
    assert rows[:3] == [["best", "ce", "80.0 (1)"], ["best", "paper: ce", "79.4"], ["best", "ours − paper", "+0.6"]]
    assert rows[6:9] == [
        ["best", "ce: gain", "+9.0 (1)"],
        ["best", "paper: ce: gain", "+10.3"],
        ["best", "ours − paper", "−1.3"],
    ]


@pytest.mark.parametrize("change", [{"trainer__epochs": 30}, {"data__subset": 6000}, {"tau__value": 0.3}])
def test_departures_move_the_papers_numbers_to_a_block(
    runs_dir: Path, write_paper_method: Any, change: dict[str, Any]
) -> None:
    write_paper_method("ce", "full", best=80.0, **change)
    block, reference = table(analysis.load(runs_dir)).blocks
    assert block.cells[["paper", "difference"]].isna().all(axis=None)
    assert any(note.startswith("Not the paper's setting") for note in block.notes)
    assert reference.title == "the paper's Table 6 (CIFAR-10, symmetric noise): not this setting"


def test_a_method_that_starts_from_something_else_is_not_compared(runs_dir: Path, write_paper_method: Any) -> None:
    write_paper_method("ce", "none", best=80.0, pretrain__name="simclr")
    write_paper_method("cdr", "none", best=80.0)
    (block,) = table(analysis.load(runs_dir)).blocks
    assert math.isnan(cell(block, "ce")["paper"])
    assert cell(block, "cdr")["paper"] == 85.0
    assert "Not the paper's ce: pretrain.name simclr (paper: none)." in block.notes


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8, 0.9])
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_the_preset_of_the_paper_is_its_setting(runs_dir: Path, write_run: Any, dataset: str, rate: float) -> None:
    for method in ("ce", "dividemix", "c2d"):
        for components in ("none", "full"):
            words = (f"noise.rate={rate}", f"base_method={method}", f"components={components}")
            write_run(record_of("preset=paper", f"data={dataset}", f"data.root={runs_dir}", *words), best=90.0)
    for name in ("components", "symmetric", "generality"):
        notes = [note for block in build(name, analysis.load(runs_dir)).blocks for note in block.notes]
        assert notes
        assert not [note for note in notes if note.startswith("Not the paper's")]


def test_c2d_starts_from_simclr_and_may_have_its_own_network(runs_dir: Path, write_paper_method: Any) -> None:
    write_paper_method("c2d", "full", best=96.0, pretrain__name="simclr", model__name="resnet")
    (block,) = build("symmetric", analysis.load(runs_dir)).blocks[:-1]
    assert cell(block, "SANM(c2d)")["paper"] == 96.4
    assert not any(note.startswith("Not the paper's") for note in block.notes)


def test_dividemix_of_another_lambda_is_not_compared(runs_dir: Path, write_paper_method: Any) -> None:
    write_paper_method("dividemix", "full", best=96.0, base_method__lambda_u=0, base_method__temperature=1)
    write_paper_method("ce", "full", best=89.0)
    block = build("symmetric", analysis.load(runs_dir)).blocks[0]
    assert math.isnan(cell(block, "SANM(dividemix)")["paper"])
    assert (
        "Not the paper's dividemix: base_method.temperature at 50 % 1 (paper: 0.5), "
        "base_method.lambda_u at 50 % 0 (paper: 25)." in block.notes
    )


def test_a_gain_is_of_one_pool_of_views(runs_dir: Path, write_method: Any) -> None:
    write_method("ce", "none", best=70.0, base_method__learn_from="weak")
    write_method("ce", "full", best=90.0, base_method__learn_from="autoaugment")
    blocks = table(analysis.load(runs_dir)).blocks[:-1]
    assert [block.title.split("=")[-1] for block in blocks] == ["autoaugment", "weak"]
    assert [cell(block, "ce: gain")["n"] for block in blocks] == [0, 0]


@pytest.mark.parametrize(
    ("change", "dataset"),
    [({"data__name": "digits"}, "CIFAR-10"), ({"noise__name": "asymmetric", "data__name": "cifar100"}, "CIFAR-100")],
)
def test_other_experiments_get_the_papers_table(
    runs_dir: Path, write_paper_method: Any, change: dict[str, Any], dataset: str
) -> None:
    write_paper_method("ce", "none", best=80.0, **change)
    result = table(analysis.load(runs_dir))
    reference = result.blocks[1]
    assert dataset in reference.title
    assert row_order(reference)[::3] == ["ce", "coteaching", "cdr", "elr_plus"]
    assert row_order(reference)[:3] == ["ce", "SANM(ce)", "ce: gain"]
    if dataset == "CIFAR-10":
        rows = list(pipe_rows(markdown(result)))
        assert ["best", "SANM(coteaching)", "89.2", "78.2", "36.4", "20.7"] in rows
        assert ["best", "coteaching: gain", "+6.6", "+5.2", "+12.4", "+6.1"] in rows
    assert len(table(analysis.load(runs_dir), ["last"]).blocks) == 1


def test_every_reported_number_has_its_row() -> None:
    for dataset in ("cifar10", "cifar100"):
        reported = numbers("table6_generality", None, {"data.name": dataset})
        assert len(reported) == 4 * 2 * 4
        assert len(with_gains(reported)) == 4 * 3 * 4
        assert not with_gains(reported)["paper"].isna().any()


def test_seconds_an_epoch(runs_dir: Path, write_method: Any) -> None:
    write_method("ce", "none", 0.5, best=70.0, seconds=60.0)
    write_method("ce", "none", 0.8, best=70.0, seconds=120.0)
    write_method("ce", "full", 0.5, best=70.0, seconds=225.0)
    write_method("elr", "none", 0.5, failure="boom")
    block = table(analysis.load(runs_dir)).blocks[0]
    assert cell(block, "ce", 0.8)["seconds_per_epoch"] == pytest.approx(4)
    assert math.isnan(cell(block, "ce: gain")["seconds_per_epoch"])
    expected = "Seconds an epoch, mean of the finished runs (device cpu, threads 2): ce 2, SANM(ce) 7.5 (3.8 times)."
    assert expected in block.notes


def test_seconds_are_compared_at_the_rates_that_both_have(runs_dir: Path, write_method: Any) -> None:
    for components, rate, seconds in (("none", 0.2, 300.0), ("none", 0.5, 120.0), ("full", 0.2, 900.0)):
        write_method("dividemix", components, rate, best=70.0, seconds=seconds)
    notes = table(analysis.load(runs_dir)).blocks[0].notes
    assert any(note.endswith("dividemix 10, SANM(dividemix) 30 (3 times).") for note in notes)


def test_statistics_are_chosen(runs_dir: Path, write_method: Any) -> None:
    write_method("ce", "none", best=80.0, selected_accuracy=78.0)
    write_method("ce", "full", best=80.0, selected_accuracy=79.5)
    write_method("elr", "none", best=80.0)
    write_method("elr", "full", best=80.0)
    (block,) = table(analysis.load(runs_dir), ["selected"]).blocks
    assert cell(block, "ce: gain", statistic="selected")["mean"] == 1.5
    gain = cell(block, "elr: gain", statistic="selected")
    assert (gain["n"], gain["runs"]) == (0, 1)


def test_csv_reads_back(runs_dir: Path, write_method: Any) -> None:
    write_method("ce", "none", best=70.0)
    write_method("ce", "full", best=69.0)
    frame = pd.read_csv(io.StringIO(csv(table(analysis.load(runs_dir)))), keep_default_na=False)
    ours = frame[(frame["data.name"] == "digits") & (frame["statistic"] == "best")]
    assert ours["components.name"].tolist() == ["none", "full", "gain"]
    assert ours["base_method.name"].unique().tolist() == ["ce"]
    assert ours["mean"].astype(float).tolist() == [70, 69, -1]
    assert (frame["data.name"] == "cifar10").sum() == 48


def test_latex(runs_dir: Path, write_method: Any) -> None:
    write_method("elr_plus", "none", best=70.0)
    write_method("elr_plus", "full", best=69.0)
    text = latex(table(analysis.load(runs_dir)))
    assert r"best & elr\_plus & \textbf{70.0 (1)} \\" in text
    assert r"best & elr\_plus: gain & $-$1.0 (1) \\" in text
    assert "bold: the better of a method and SANM on it" in text
    assert text.isascii()
