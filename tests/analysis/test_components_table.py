"""The component table: its numbers, what it puts together, what it warns of, and how it reads."""

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analysis
from analysis.compare.blocks import Block, Table
from analysis.compare.render import csv, latex, markdown
from analysis.tables import build, names
from analysis.tables.components import table
from sanm.errors import InputError


def cell(block: Block, components: str, rate: float, statistic: str = "best") -> pd.Series:
    cells = block.cells.set_index(["statistic", "components.name", "noise.rate"])
    found = cells.xs((statistic, components, rate))
    assert isinstance(found, pd.Series)
    return found


def pipe_rows(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if line.startswith("|"):
            yield [part.strip() for part in line.strip("|").split("|")]


def test_the_table_is_found_by_its_name(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings(), best=88.0)
    assert "components" in names()
    assert isinstance(build("components", analysis.load(runs_dir)), Table)


def test_mean_spread_and_count(runs_dir: Path, settings: Any, write_run: Any) -> None:
    for seed, best in enumerate((80.0, 82.0, 87.0)):
        write_run(settings("full", 0.5, seed), best=best)
    write_run(settings("none", 0.5, 0), best=70.0)
    block = table(analysis.load(runs_dir)).blocks[0]
    full = cell(block, "full", 0.5)
    assert full["mean"] == pytest.approx(83)
    assert full["std"] == pytest.approx(math.sqrt(13))
    assert (full["n"], full["runs"], full["missing"]) == (3, 3, 0)
    assert cell(block, "full", 0.5, "last")["mean"] == pytest.approx(82)
    none = cell(block, "none", 0.5)
    assert (none["n"], none["missing"]) == (1, 2)
    assert math.isnan(none["std"])
    assert (cell(block, "amg", 0.5)["n"], cell(block, "amg", 0.5)["missing"]) == (0, 3)


def test_cells_as_text(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("none", 0.5, 1), best=70.0)
    write_run(settings("none", 0.5, 2), best=71.0)
    write_run(settings("amg", 0.5, 1), best=72.0)
    write_run(settings("amg", 0.5, 2), failure="RuntimeError: CUDA out of memory")
    write_run(settings("full", 0.5, 1), failure="boom")
    write_run(settings("none", 0.8, 1))
    text = markdown(table(analysis.load(runs_dir)))
    rows = list(pipe_rows(text))
    assert rows[0] == ["statistic", "components", "50 %", "80 %"]
    assert ["best", "none", "70.5 ± 0.7 (2)", "interrupted"] in rows
    assert ["best", "amg", "**72.0 (1/2)**", "—"] in rows
    assert ["best", "amg_nlr", "—", "—"] in rows
    assert ["best", "full", "failed", "—"] in rows
    assert ["", "realised noise", "45 %", "unknown"] in rows
    assert "amg_smr" not in text
    assert "failed: amg at noise.rate 0.5 (seed 2, noise.seed 2): RuntimeError: CUDA out of memory" in text
    assert "Not started: none at noise.rate 0.8 (1 seed)" in text
    assert "commit abcdef0123" in text
    assert "torch 2.9.0" in text
    assert "the final 10 epochs" in " ".join(text.split())
    assert max(len(line) for line in text.splitlines()) <= 110


def test_equal_means_share_the_bold_and_a_lone_row_has_none(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("amg", 0.5), best=80.01)
    write_run(settings("full", 0.5), best=80.04)
    write_run(settings("full", 0.8), best=60.0)
    rows = list(pipe_rows(markdown(table(analysis.load(runs_dir)))))
    assert ["best", "amg", "**80.0 (1)**", "—"] in rows
    assert ["best", "full", "**80.0 (1)**", "60.0 (1)"] in rows


def test_optional_and_foreign_component_sets_appear(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("amg_smr", 0.5), best=80.0)
    write_run(settings("full", 0.5, components__name="mine"), best=80.0)
    block = table(analysis.load(runs_dir)).blocks[0]
    order = block.cells["components.name"].drop_duplicates().tolist()
    assert order == ["none", "amg", "amg_nlr", "amg_smr", "full", "mine"]


def test_differences_only_in_the_papers_setting(runs_dir: Path, paper_settings: Any, write_run: Any) -> None:
    write_run(paper_settings("full", 0.2), best=96.0)
    write_run(paper_settings("full", 0.2, trainer__epochs=30), best=90.0)
    result = table(analysis.load(runs_dir))
    paper, short = (next(block for block in result.blocks if block.title.endswith(end)) for end in ("=300", "=30"))
    assert result.blocks[-1].title.startswith("the paper's Table 5")
    assert cell(paper, "full", 0.2)["difference"] == pytest.approx(-0.4)
    assert math.isnan(cell(short, "full", 0.2)["difference"])
    rows = list(pipe_rows(markdown(result)))
    assert rows.count(["best", "paper: full", "96.4"]) == 1
    assert rows.count(["best", "ours − paper", "−0.4"]) == 1
    assert any("trainer.epochs 30 (paper: 300)" in note for note in short.notes)


@pytest.mark.parametrize(
    "change",
    [
        {"data__subset": 6000},
        {"data__validation": 0.1},
        {"data__augment": {"crop_padding": 0, "flip": True}},
        {"noise__convention": "exclusive"},
        {"model__widths": [16, 32, 64, 128]},
        {"trainer__batch_size": 128},
        {"trainer__lr": 0.1},
        {"tau__value": 0.3},
        {"mask_strategy__name": "random"},
        {"mask_source__name": "pretrained"},
        {"variant__masked_views": "separate"},
        {"base_method__learn_from": "none"},
        {"base_method__guess_on": "autoaugment"},
        {"base_method__guess_mode": "eval"},
        {"base_method__alpha": 1},
        {"base_method__unlabeled_rows": False},
        {"base_method__confidence_penalty": True},
        {"components__start": 100},
        {"quality__iterations": 3},
        {"base_method__warm_up": 1},
        {"base_method__lambda_u": 25},
        {"base_method__threshold": 0.2},
        {"quality__window": 5},
        {"pretrain__name": "simclr"},
        {"model__name": "resnet"},
        {"variant__unmasked_views": "replaced"},
        {"variant__masked_target": "prediction"},
        {"trainer__optimizer": "adam"},
        {"trainer__schedule": "cosine"},
        {"trainer__epoch_samples": 32000},
    ],
)
def test_any_departure_hides_the_difference(
    runs_dir: Path, paper_settings: Any, write_run: Any, change: dict[str, Any]
) -> None:
    write_run(paper_settings("full", 0.2, **change), best=96.0)
    block, reference = table(analysis.load(runs_dir)).blocks
    assert block.cells[["paper", "difference"]].isna().all(axis=None)
    assert "Not the paper's setting" in markdown(table(analysis.load(runs_dir)))
    assert reference.title.startswith("the paper's Table 5 (DivideMix, CIFAR-10")


def test_a_departure_at_one_noise_rate_is_named_with_it(runs_dir: Path, paper_settings: Any, write_run: Any) -> None:
    write_run(paper_settings("full", 0.2), best=96.0)
    write_run(paper_settings("full", 0.9, base_method__lambda_u=25), best=90.0)
    block = table(analysis.load(runs_dir)).blocks[0]
    assert "Not the paper's setting: base_method.lambda_u at 90 % 25 (paper: 50)." in block.notes


@pytest.mark.parametrize(
    "change",
    [{"data__name": "digits"}, {"noise__name": "asymmetric"}, {"base_method__name": "elr"}],
)
def test_other_experiments_get_a_reference_block(
    runs_dir: Path, paper_settings: Any, write_run: Any, change: dict[str, Any]
) -> None:
    write_run(paper_settings("full", 0.2, **change), best=96.0)
    block, reference = table(analysis.load(runs_dir)).blocks
    assert block.cells["paper"].isna().all()
    assert (
        reference.title == "the paper's Table 5 (DivideMix, CIFAR-10, PreAct ResNet-18, 300 epochs): not this setting"
    )
    assert ["best", "none", "96.1", "94.6", "93.2", "76.0"] in list(pipe_rows(markdown(table(analysis.load(runs_dir)))))


def test_plain_runs_join_every_tau(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("none", 0.5), best=70.0)
    for tau in (0.1, 0.3):
        write_run(settings("amg", 0.5, tau__value=tau), best=70 + tau)
        write_run(settings("full", 0.5, tau__value=tau), best=80 + tau)
    blocks = table(analysis.load(runs_dir)).blocks[:-1]
    assert [block.title.split(" · ")[-1] for block in blocks] == ["tau.value=0.1", "tau.value=0.3"]
    assert [cell(block, "none", 0.5)["mean"] for block in blocks] == [70.0, 70.0]
    assert [cell(block, "amg", 0.5)["mean"] for block in blocks] == pytest.approx([70.1, 70.3])
    assert [cell(block, "full", 0.5)["mean"] for block in blocks] == pytest.approx([80.1, 80.3])


def test_a_setting_that_one_component_set_lacks_makes_no_block(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("amg", 0.5), best=70.0)
    for weight in (1.0, 0.02):
        write_run(settings("full", 0.5, variant__reconstruction_weight=weight), best=80.0)
    blocks = table(analysis.load(runs_dir)).blocks[:-1]
    assert len(blocks) == 2
    assert all(cell(block, "amg", 0.5)["n"] == cell(block, "full", 0.5)["n"] == 1 for block in blocks)


def test_the_same_components_with_another_key_are_another_block(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("full", 0.5), best=80.0)
    write_run(settings("full", 0.5, variant__novelty=True), best=90.0)
    blocks = table(analysis.load(runs_dir)).blocks[:-1]
    assert sorted(cell(block, "full", 0.5)["mean"] for block in blocks) == [80.0, 90.0]


def test_settings_that_follow_the_rate_share_a_block(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("full", 0.5), best=80.0)
    write_run(settings("full", 0.9), best=60.0)
    block = table(analysis.load(runs_dir)).blocks[0]
    assert sorted(block.cells["noise.rate"].unique()) == [0.5, 0.9]
    assert not block.warnings


def test_mixtures_inside_a_block_are_warned_of(runs_dir: Path, settings: Any, write_run: Any) -> None:
    versions = {"python": "3.11.0", "torch": "2.8.0", "numpy": "2.3.0", "sanm": "0.1.0"}
    write_run(settings("none", 0.5), best=80.0)
    write_run(settings("amg", 0.5), best=80.0, versions=versions)
    write_run(settings("amg_nlr", 0.5, components__start=9), best=80.0, dirty=True)
    write_run(settings("full", 0.5, base_method__lambda_u=150), best=80.0, last_window=3)
    result = table(analysis.load(runs_dir))
    warnings = "\n".join(result.blocks[0].warnings)
    assert "torch versions are mixed: 2.9.0 (3 runs), 2.8.0 (1 run)" in warnings
    assert "commit abcdef0123 (dirty: uncommitted changes) (1 run)" in warnings
    assert "components.start is mixed: 5 (2 runs), 9 (1 run)" in warnings
    assert "base_method.lambda_u is mixed at noise.rate 0.5: 25 (3 runs), 150 (1 run)" in warnings
    assert "last_window" in warnings
    assert "**Warning:** torch versions are mixed" in markdown(result)
    assert "Warning: torch versions are mixed" in latex(result)


def test_unreadable_and_unusable_runs_are_named(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("full", 0.5), best=80.0)
    write_run(settings("full", 0.5, noise__rate=None), best=80.0)
    (write_run(settings("full", 0.5), best=80.0) / "config.yaml").unlink()
    notes = "\n".join(table(analysis.load(runs_dir)).notes)
    assert "Unreadable: run-0002: config.yaml is missing" in notes
    assert "Left out: 1 without components.name or noise.rate" in notes


def test_runs_without_the_factors_are_refused(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("full", 0.5, noise__rate=None), best=80.0)
    with pytest.raises(InputError, match=r"components\.name and noise\.rate"):
        table(analysis.load(runs_dir))


def test_csv_reads_back(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("none", 0.5, 1), best=70.0)
    write_run(settings("full", 0.5, 1), best=80.0)
    write_run(settings("full", 0.5, 2), best=81.0)
    frame = pd.read_csv(io.StringIO(csv(table(analysis.load(runs_dir)))))
    ours = frame[(frame["data.name"] == "digits") & (frame["statistic"] == "best")].set_index("components.name")
    assert ours.loc["full", "mean"] == pytest.approx(80.5)
    assert ours["n"].to_dict() == {"none": 1, "amg": 0, "amg_nlr": 0, "full": 2}
    assert len(frame[frame["data.name"] == "cifar10"]) == 32


def test_latex_is_booktabs_and_escaped(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("amg_nlr", 0.5, 1), best=70.0)
    write_run(settings("full", 0.5, 1), best=80.0)
    write_run(settings("full", 0.5, 2), best=81.0)
    text = latex(table(analysis.load(runs_dir)))
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert r"statistic & components & 50 \% \\" in text
    assert r"best & amg\_nlr & 70.0 (1) \\" in text
    assert r"best & full & \textbf{80.5 $\pm$ 0.7 (2)} \\" in text
    assert text.isascii()


def test_statistics_are_chosen(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("full", 0.5), best=80.0, selected_accuracy=79.5, validation_labels="noisy")
    write_run(settings("none", 0.5), best=80.0)
    result = table(analysis.load(runs_dir), ["selected"])
    (block,) = result.blocks
    assert block.cells["statistic"].unique().tolist() == ["selected"]
    assert cell(block, "full", 0.5, "selected")["mean"] == 79.5
    assert cell(block, "none", 0.5, "selected")["n"] == 0
    assert "selected = test accuracy at the epoch that noisy validation labels chose" in result.notes[0]


def test_what_chose_an_epoch_is_said(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("full", 0.5), best=80.0, selected_accuracy=79.5, validation_labels="true")
    assert "the epoch that true validation labels chose" in table(analysis.load(runs_dir), ["selected"]).notes[0]


def test_masks_by_another_network_stand_in_a_block_of_their_own(runs_dir: Path, settings: Any, write_run: Any) -> None:
    """Records name only another source; rows that are not shared must not bring the two together."""
    write_run(settings("none", 0.5), best=70.0)
    write_run(settings("amg", 0.5), best=75.0)
    write_run(settings("amg_nlr", 0.5, mask_source__name="pretrained", mask_source__input_size=112), best=80.0)
    other, own = sorted(table(analysis.load(runs_dir)).blocks[:-1], key=lambda block: "name=self" in block.title)
    assert "mask_source.name=pretrained" in other.title
    assert "mask_source.name=self" in own.title
    assert (cell(own, "amg", 0.5)["mean"], cell(own, "amg_nlr", 0.5)["n"]) == (75.0, 0)
    assert (cell(other, "amg_nlr", 0.5)["mean"], cell(other, "amg", 0.5)["n"]) == (80.0, 0)
    assert [cell(block, "none", 0.5)["mean"] for block in (own, other)] == [70.0, 70.0]
    assert any("mask_source.name pretrained" in note for note in other.notes)


def test_what_reads_less_does_not_share_the_bold(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("none", 0.5), best=36.55)  # printed 36.5: the float lies below
    write_run(settings("amg", 0.5), best=36.6)
    rows = list(pipe_rows(markdown(table(analysis.load(runs_dir)))))
    assert ["best", "none", "36.5 (1)"] in rows
    assert ["best", "amg", "**36.6 (1)**"] in rows
