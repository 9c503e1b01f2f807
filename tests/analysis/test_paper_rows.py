"""Tables 1 to 3: every row of the paper's stands in them, in its order, with what is ours, theirs, and missing."""

import io
import math
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

import analysis
from analysis import paper
from analysis.compare.blocks import Block
from analysis.compare.method_rows import OUR_READING, label
from analysis.compare.render import csv, latex, markdown
from analysis.tables import build
from sanm.config import limits
from sanm.config.checks import checked
from sanm.config.override_words import check_words
from sanm.errors import InputError
from sanm.record.identity import identity
from tests.conftest import record_of

TABLE_OF = {"symmetric": "table1_symmetric", "asymmetric": "table2_asymmetric", "clothing1m": "table3_clothing1m"}
ON_CLOTHING = ("preset=clothing1m", "data.root={}", "components=none")


def row_order(block: Block) -> list[str]:
    return block.cells["method"].drop_duplicates().tolist()


def at(block: Block, method: str, column: object, statistic: str = "best") -> pd.Series:
    cells = block.cells[(block.cells["method"] == method) & (block.cells["statistic"] == statistic)]
    (found,) = cells[cells[block.columns] == column].to_dict("records")
    return pd.Series(found)


@pytest.fixture
def symmetric(runs_dir: Path, paper_settings: Any, write_run: Any) -> Block:
    """Two methods of Table 1, one of them with SANM too, and one that the paper does not have."""
    for method, components in (("dividemix", "none"), ("dividemix", "full"), ("mixup", "none"), ("mine", "none")):
        for seed in (1, 2):
            run = paper_settings(components, 0.5, seed, base_method__name=method)
            write_run(run, best=90.0 + seed + (components == "full"))
    return build("symmetric", analysis.load(runs_dir)).blocks[0]


def test_all_rows_of_table_1_in_its_order_then_ours(symmetric: Block) -> None:
    assert row_order(symmetric) == [
        "ce", "coteaching_plus", "mixup", "pencil", "mlnt", "m_correction", "dividemix", "c2d", "aug_desc", "gce",
        "sel_cl", "moit_plus", "SANM(dividemix)", "SANM(dividemix) − dividemix", "SANM(c2d)", "mine",
    ]  # fmt: skip


def test_theirs_beside_ours_and_what_nobody_ran_is_missing(symmetric: Block) -> None:
    ran, missing = at(symmetric, "mixup", 0.5), at(symmetric, "aug_desc", 0.5)
    assert (ran["mean"], ran["paper"], ran["n"]) == (91.5, 87.1, 2)
    assert ran["difference"] == pytest.approx(4.4)
    assert (missing["paper"], missing["n"], missing["missing"]) == (95.4, 0, 2)
    assert math.isnan(missing["mean"])
    assert math.isnan(missing["difference"])
    assert math.isnan(at(symmetric, "mine", 0.5)["paper"])
    assert all(at(symmetric, label(*row), 0.5)["paper"] > 0 for row in paper.rows_of("table1_symmetric"))


def test_a_missing_number_is_a_dash(symmetric: Block, runs_dir: Path) -> None:
    rows = [line.split("|")[1:4] for line in markdown(build("symmetric", analysis.load(runs_dir))).splitlines()]
    words = [[word.strip() for word in row] for row in rows]
    place = words.index(["best", "aug_desc", "—"])
    assert words[place + 1] == ["best", "paper: aug_desc", "95.4"]


@pytest.mark.parametrize("name", ["symmetric", "asymmetric"])
def test_rows_are_there_in_other_settings_too(runs_dir: Path, settings: Any, write_run: Any, name: str) -> None:
    write_run(settings("none", 0.4, noise__name=name), best=70.0)
    block, reference = build(name, analysis.load(runs_dir)).blocks
    assert row_order(block) == [label(*row) for row in paper.rows_of(TABLE_OF[name])]
    assert block.cells["paper"].isna().all()
    assert len(row_order(reference)) == len(row_order(block))


@pytest.mark.parametrize(
    ("table", "count"), [("table1_symmetric", 14), ("table2_asymmetric", 14), ("table3_clothing1m", 15)]
)
def test_every_printed_method_has_a_name_here(table: str, count: int) -> None:
    rows = paper.rows_of(table)
    assert len(rows) == count
    assert {method for method, _ in rows} <= {*paper.METHODS.values()}
    printed = paper.reported()["method"][paper.reported()["table"] == table].drop_duplicates()
    assert [paper.METHODS[name.removeprefix("SANM(").removesuffix(")")] for name in printed] == [row[0] for row in rows]


def test_every_named_method_is_in_a_table() -> None:
    assert {*paper.METHODS.values()} == {*paper.order()}


def test_table_3_beside_ours_by_its_preset(runs_dir: Path, write_run: Any) -> None:
    for method in ("ce", "dividemix", "gce"):
        record = record_of(f"base_method={method}", *(word.format(runs_dir) for word in ON_CLOTHING))
        write_run(record, best=74.0, selected_accuracy=73.5)
    block, _ = build("clothing1m", analysis.load(runs_dir)).blocks
    assert row_order(block) == [label(*row) for row in paper.rows_of("table3_clothing1m")]
    assert not any(note.startswith("Not the paper's setting") for note in block.notes)
    assert at(block, "ce", "clothing1m")["difference"] == pytest.approx(74 - 69.2, abs=0.05)
    assert at(block, "nested", "clothing1m")["paper"] > 74
    assert at(block, "nested", "clothing1m")["n"] == 0
    assert "Not the paper's gce: pretrain.name imagenet (paper: simclr)." in block.notes


@pytest.mark.parametrize(
    "change", ["trainer.epochs=40", "trainer.epoch_samples=64000", "data.subset=1400", "model=resnet50"]
)
def test_what_departs_from_that_preset_is_said(runs_dir: Path, write_run: Any, change: str) -> None:
    also = ["pretrain=none"] if change.startswith("model") else []
    write_run(record_of("base_method=ce", *(word.format(runs_dir) for word in ON_CLOTHING), change, *also), best=74.0)
    block = build("clothing1m", analysis.load(runs_dir)).blocks[0]
    assert any(note.startswith("Not the paper's") for note in block.notes)
    assert block.cells["paper"].dropna().empty or math.isnan(at(block, "ce", "clothing1m")["paper"])


def test_a_setting_that_the_papers_row_asks_for(runs_dir: Path, paper_settings: Any, write_run: Any) -> None:
    """Its row is Sel-CL+; Sel-CL is another method under the same name here."""
    for plus, rate in ((True, 0.5), (False, 0.8)):
        write_run(paper_settings("none", rate, base_method__name="sel_cl", base_method__plus=plus), best=90.0)
    runs = analysis.load(runs_dir)
    notes = build("symmetric", runs).blocks[0].notes
    assert "Not the paper's sel_cl: base_method.plus False (paper: True)." in notes
    block = build("symmetric", runs[runs["base_method.plus"] == True]).blocks[0]  # noqa: E712
    assert at(block, "sel_cl", 0.5)["paper"] == 93.9


# ---- readings


@pytest.fixture
def with_a_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of conf/ in which one more method says that it is our reading."""
    conf = tmp_path / "conf"
    shutil.copytree(limits.CONF, conf)
    text = (conf / "base_method/ce.yaml").read_text().replace("name: ce", "name: reed\nreading: ours")
    (conf / "base_method/reed.yaml").write_text(text)
    monkeypatch.setattr(limits, "CONF", conf)
    return conf


def test_the_mark_comes_from_the_methods_yaml(
    runs_dir: Path, paper_settings: Any, write_run: Any, with_a_reading: Path
) -> None:
    assert limits.our_readings("base_method") >= {"reed"}
    write_run(paper_settings("none", 0.4, noise__name="asymmetric", noise__convention=None), best=70.0)
    result = build("asymmetric", analysis.load(runs_dir))
    noted = result.blocks[0].cells.set_index("method")["note"]
    assert {*noted["reed"]} == {OUR_READING}
    assert {*noted["dividemix"]} == {""}
    text = markdown(result)
    (line,) = (line for line in text.splitlines() if line.startswith("| best") and "| reed" in line)
    mark = line.split("reed")[1].split("]")[0] + "]"
    assert f"{mark}: {OUR_READING[:40]}" in text
    assert "reed$^{" in latex(result)
    frame = pd.read_csv(io.StringIO(csv(result)), keep_default_na=False)
    assert {*frame.loc[frame["method"] == "reed", "note"]} == {OUR_READING}
    assert {*frame.loc[frame["method"] == "dividemix", "note"]} == {""}


def test_without_a_reading_nothing_is_marked(symmetric: Block, runs_dir: Path) -> None:
    assert {*symmetric.cells["note"]} == {""}
    assert OUR_READING[:20] not in markdown(build("symmetric", analysis.load(runs_dir)))


def test_a_reading_is_no_setting(with_a_reading: Path) -> None:
    assert "base_method.reading" not in [*limits.keys()]
    assert "reading" not in limits.option("base_method", "reed")
    values = {**limits.option("base_method", "reed"), "warm_up": 5, "reading": "ours"}
    assert "reading" not in limits.checked_values("base_method", values)
    with pytest.raises(InputError, match="reading"):
        check_words(["+base_method.reading=ours"])


def test_another_word_is_refused(with_a_reading: Path) -> None:
    file = with_a_reading / "base_method/reed.yaml"
    file.write_text(file.read_text().replace("reading: ours", "reading: theirs"))
    limits._options.cache_clear()
    with pytest.raises(InputError, match=r"reed\.yaml: reading: theirs: must be ours"):
        limits.our_readings("base_method")
    limits._options.cache_clear()


def test_a_run_is_the_same_with_and_without_that_line(with_a_reading: Path) -> None:
    with initialize_config_dir(str(with_a_reading), version_base="1.3"):
        marked = identity(checked(compose("config", overrides=["base_method=reed"])))
    (with_a_reading / "base_method/reed.yaml").write_text(
        (with_a_reading / "base_method/reed.yaml").read_text().replace("reading: ours\n", "")
    )
    limits._options.cache_clear()
    with initialize_config_dir(str(with_a_reading), version_base="1.3"):
        assert identity(checked(compose("config", overrides=["base_method=reed"]))) == marked
    limits._options.cache_clear()
