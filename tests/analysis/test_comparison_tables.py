"""The tables that are declarations: their rows, columns and blocks, their numbers, and what they refuse."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import analysis
from analysis.compare.blocks import Block
from analysis.compare.render import markdown
from analysis.tables import build, described, names
from sanm.errors import InputError

Write = Callable[..., Path]
VARIANTS = Path(__file__).resolve().parents[2] / "conf/variant"
SANM_TABLES = ("sensitivity", "aspect", "mask_strategy", "mask_source", "variant", "augmentation")


@pytest.fixture
def write(settings: Any, write_run: Any) -> Write:
    """`write("full", 0.5, seed, best=80.0, section__key=value)`: one run."""

    def one(components: str, rate: float = 0.5, seed: int = 1, **given: Any) -> Path:
        changes = {key: given.pop(key) for key in list(given) if "__" in key}
        return write_run(settings(components, rate, seed, **changes), **given)

    return one


def blocks_of(name: str, runs_dir: Path) -> tuple[Block, ...]:
    blocks = build(name, analysis.load(runs_dir)).blocks
    return tuple(block for block in blocks if not block.title.startswith("the paper's"))


def rows_of(block: Block) -> list[str]:
    return block.cells[block.rows].drop_duplicates().tolist()


def mean(block: Block, row: str, column: object = 0.5, statistic: str = "best") -> float:
    return float(cell(block, row, column, statistic)["mean"])


def cell(block: Block, row: str, column: object = 0.5, statistic: str = "best") -> pd.Series:
    found = block.cells.set_index(["statistic", block.rows, block.columns]).loc[(statistic, row, column)]
    assert isinstance(found, pd.Series)
    return found


def test_tau_by_data_set_and_rate(runs_dir: Path, write: Write) -> None:
    for dataset, shift in (("cifar10", 0.0), ("digits", 10.0)):
        write("none", best=60.0 + shift, data__name=dataset, data__fingerprint=dataset)
        for tau in (0.2, 0.1, 0.3):
            write("full", best=70 + 10 * tau + shift, tau__value=tau, data__name=dataset, data__fingerprint=dataset)
    write("full", 0.8, best=50.0, data__name="digits", data__fingerprint="digits")
    write("full", best=65.0, data__name="digits", data__fingerprint="digits", mask_strategy__name="fixed")
    (block,) = blocks_of("sensitivity", runs_dir)
    assert rows_of(block) == ["none", "0.1", "0.2", "0.2 fixed", "0.3"]
    columns = block.cells[block.columns].drop_duplicates().tolist()
    assert columns == ["cifar10 · 50 %", "digits · 50 %", "digits · 80 %"]
    assert mean(block, "0.3", "digits · 50 %") == pytest.approx(83)
    assert mean(block, "none", "cifar10 · 50 %") == 60
    assert mean(block, "0.2 fixed", "digits · 50 %") == 65
    assert {"data.name", "noise.rate"} <= {*block.cells}


def test_plug_ins_beside_the_method_without_one(runs_dir: Path, write: Write) -> None:
    """A block a set of components; elsewhere a run with a plug-in stands in a block of its own that names it."""
    plugged = {"plugin__name": "alasca", "plugin__weight": 2.0}
    for seed in (1, 2):
        for components, best in (("none", 60.0), ("full", 70.0)):
            write(components, seed=seed, best=best)
            write(components, seed=seed, best=best + 5, **plugged)
    for block, best in zip(blocks_of("plugin", runs_dir), (70.0, 60.0), strict=True):
        assert rows_of(block) == ["none", "alasca", "alasca − none"]
        assert [mean(block, row) for row in rows_of(block)] == [best, best + 5, 5]
    with_it, without = blocks_of("components", runs_dir)
    assert "plugin.name=alasca" in with_it.title
    assert "plugin.weight" not in with_it.title
    assert "plugin.name=none" in without.title
    assert any("plugin.name alasca" in note for note in with_it.notes)
    assert not any("plugin" in note for note in without.notes)


def test_other_images_of_a_data_set_are_warned_of(runs_dir: Path, write: Write) -> None:
    write("full", best=70.0, data__fingerprint="one")
    write("full", best=71.0, data__fingerprint="two", tau__value=0.3)
    (block,) = blocks_of("sensitivity", runs_dir)
    assert any(warning.startswith("data.fingerprint is mixed") for warning in block.warnings)


def test_subsets_are_not_averaged_over(runs_dir: Path, write: Write) -> None:
    for subset in (100, 200):
        for tau in (0.1, 0.2):
            write("full", best=float(subset / 10), tau__value=tau, data__subset=subset)
    assert [mean(block, "0.1", "digits · 50 %") for block in blocks_of("sensitivity", runs_dir)] == [10, 20]


def test_masks_by_their_strategy(runs_dir: Path, write: Write) -> None:
    write("none", best=60.0)
    write("full", best=63.0)
    for strategy, best in (("fixed", 61.0), ("random", 62.0)):
        # What has no part in it is not in such a run's record.
        write("full", best=best, mask_strategy__name=strategy, variant__ratio_at_maximum=None)
    (block,) = blocks_of("mask_strategy", runs_dir)
    assert rows_of(block) == ["none", "fixed", "random", "adaptive"]
    assert [mean(block, row) for row in rows_of(block)] == [60, 61, 62, 63]


def test_aspects_by_size(runs_dir: Path, write: Write) -> None:
    for aspect in (1.0, 0.3, 0.8):
        write("full", best=60 + aspect, mask_strategy__aspect=aspect)
    (block,) = blocks_of("aspect", runs_dir)
    assert rows_of(block) == ["0.3", "0.8", "1"]


def test_readings_are_named_by_what_is_not_the_papers(runs_dir: Path, write: Write) -> None:
    released = yaml.safe_load((VARIANTS / "released.yaml").read_text())
    for seed, gain in ((1, 1.0), (2, 2.0), (3, 4.0)):
        write("none", seed=seed, best=60.0)
        write("full", seed=seed, best=70.0)
        write("full", seed=seed, best=70 + gain, variant__masked_views="separate")
    write("full", best=65.0, tau__value=None, **{f"variant__{key}": value for key, value in released.items()})
    (block,) = blocks_of("variant", runs_dir)
    assert rows_of(block) == [
        "none",
        "none − paper",
        "paper",
        "released",
        "masked_views=separate",
        "masked_views=separate − paper",
    ]
    difference = cell(block, "masked_views=separate − paper")
    assert difference["mean"] == pytest.approx(7 / 3)
    assert difference["p_value"] == pytest.approx(0.118, abs=1e-3)
    assert difference["reference"] == "paper"
    assert math.isnan(cell(block, "none − paper")["p_value"])
    text = markdown(build("variant", analysis.load(runs_dir)))
    assert "+2.3 ± 1.5 (3), p = 0.12" in text
    assert "two-sided paired t-test" in " ".join(text.split())


def test_masks_by_their_source_beside_the_paper(runs_dir: Path, paper_settings: Any, write_run: Any) -> None:
    write_run(paper_settings("full", 0.9), best=90.0)
    write_run(paper_settings("full", 0.9, mask_source__name="pretrained", mask_source__input_size=112), best=80.0)
    write_run(paper_settings("none", 0.9), best=75.0)
    (block,) = build("mask_source", analysis.load(runs_dir)).blocks
    assert rows_of(block) == ["none", "self", "pretrained"]
    assert cell(block, "pretrained", 0.9)["difference"] == pytest.approx(80 - 81.5)
    assert cell(block, "self", 0.9)["paper"] == 92.3
    assert math.isnan(cell(block, "none", 0.9)["paper"])


def test_other_sources_get_the_papers_table(runs_dir: Path, write: Write) -> None:
    write("full", best=70.0)
    write("full", best=60.0, mask_source__name="pretrained")
    _, reference = build("mask_source", analysis.load(runs_dir)).blocks
    assert reference.title == "the paper's Table 4 (SANM on dividemix, CIFAR-10, symmetric noise): not this setting"


def test_pools_with_and_without_masks(runs_dir: Path, write: Write) -> None:
    for pool, plain, lifted in (("weak", 60.0, 65.0), ("autoaugment", 70.0, 69.0)):
        views = {"base_method__learn_from": pool, "base_method__guess_on": "weak"}
        write("none", best=plain, **views)
        write("full", best=lifted, **views)
    (block,) = blocks_of("augmentation", runs_dir)
    strong = "autoaugment, guessed on weak"
    assert rows_of(block) == ["weak", "weak + SANM", "weak: gain", strong, f"{strong} + SANM", f"{strong}: gain"]
    assert (mean(block, "weak: gain"), mean(block, f"{strong}: gain")) == (5, -1)


def test_methods_under_each_noise(runs_dir: Path, paper_settings: Any, write_run: Any) -> None:
    for noise, best in (("symmetric", 90.0), ("asymmetric", 80.0)):
        convention = "inclusive" if noise == "symmetric" else None
        change = {"noise__name": noise, "noise__convention": convention}
        write_run(paper_settings("none", 0.2, **change), best=best)
        write_run(paper_settings("full", 0.2, **change), best=best + 1)
    for noise, best, reported in (("symmetric", 90.0, 96.1), ("asymmetric", 80.0, 93.4)):
        result = build(noise, analysis.load(runs_dir))
        block, reference = result.blocks
        assert {"dividemix", "SANM(dividemix)"} < {*rows_of(block)}
        assert cell(block, "dividemix", 0.2)["difference"] == pytest.approx(best - reported)
        assert "not this setting" not in reference.title
        assert "M-correction" in rows_of(reference)
        assert any(note.startswith("Left out: 2 with noise.name") for note in result.notes)


def test_labels_as_they_come(runs_dir: Path, write: Write) -> None:
    write("none", best=70.0, noise__rate=None, noise__name="none", data__name="image_folder")
    write("full", best=72.0, noise__rate=None, noise__name="none", data__name="image_folder")
    write("full", best=50.0)
    block, reference = build("clothing1m", analysis.load(runs_dir)).blocks
    assert mean(block, "SANM(dividemix)", "image_folder") == 72
    assert block.cells["paper"].isna().all()
    assert reference.title == "the paper's Table 3 (Clothing1M, pretrained ResNet-50): not this setting"
    assert "| best        | SANM(DivideMix)" in markdown(build("clothing1m", analysis.load(runs_dir)))


@pytest.mark.parametrize("name", [name for name in names() if name != "clothing1m"])
def test_runs_without_a_rate_break_nothing(runs_dir: Path, write: Write, name: str) -> None:
    write("full", best=72.0, noise__rate=None, noise__name="none")
    with pytest.raises(InputError) as caught:
        build(name, analysis.load(runs_dir))
    assert "\n" not in str(caught.value)


def test_cost_of_each_machine(runs_dir: Path, write: Write) -> None:
    for device, seconds in (("cpu", 60.0), ("H200", 6.0)):
        write("none", best=70.0, device=device, seconds=seconds, peak_memory_mb=100)
        write("full", best=70.0, device=device, seconds=3 * seconds, peak_memory_mb=300)
    write("amg", failure="boom")
    result = build("cost", analysis.load(runs_dir))
    gpu, cpu = result.blocks
    assert gpu.title.startswith("H200, threads 2 · digits")
    assert cell(cpu, "SANM(dividemix)", statistic="seconds_per_epoch")["mean"] == 6
    assert cell(cpu, "dividemix", statistic="minutes")["mean"] == 1
    text = markdown(result)
    assert "| seconds_per_epoch | dividemix       | **2.00 (1)** |" in text
    assert "| images_per_second | dividemix       | **1000 (1)** |" in text
    assert "(3 times)" in " ".join(text.split())
    assert "Left out: 1 with status failed." in text


def test_finding_wrong_labels_in_new_and_old_records(runs_dir: Path, write: Write) -> None:
    errors = {"found_precision": 0.91, "found_recall": 0.5, "precision_at_count": 0.8}
    write("none", best=70.0, clean_auroc=0.7, label_errors=errors)
    write("full", best=70.0, clean_auroc=0.8)
    (block,) = build("noise_detection", analysis.load(runs_dir)).blocks
    assert cell(block, "dividemix", statistic="found_precision")["mean"] == 0.91
    assert cell(block, "SANM(dividemix)", statistic="found_recall")["n"] == 0
    text = markdown(build("noise_detection", analysis.load(runs_dir)))
    assert "| found_recall       | SANM(dividemix) | —             |" in text
    assert "| auroc              | SANM(dividemix) | **0.800 (1)** |" in text


def test_numbers_that_no_record_has_are_said_once(runs_dir: Path, write: Write) -> None:
    write("none", best=70.0)
    result = build("noise_detection", analysis.load(runs_dir))
    assert result.blocks[0].cells["statistic"].unique().tolist() == ["auroc"]
    assert "No finished run has found_precision, found_recall, precision_at_count." in result.notes
    with pytest.raises(InputError, match=r"label_errors\.found_recall"):
        build("noise_detection", analysis.load(runs_dir), ["found_recall"])


@pytest.mark.parametrize("name", SANM_TABLES)
def test_a_factor_that_does_not_vary_is_refused_with_what_makes_it_vary(
    runs_dir: Path, write: Write, name: str
) -> None:
    write("none", best=70.0, base_method__learn_from="weak")
    write("full", best=70.0, base_method__learn_from="weak")
    with pytest.raises(InputError, match=r"python -m sweeps\.launch run") as caught:
        build(name, analysis.load(runs_dir))
    assert "\n" not in str(caught.value)


def test_the_grids_of_the_errors_exist(runs_dir: Path, write: Write) -> None:
    from sweeps.grids.named import GRIDS

    write("none", best=70.0, components__name=None)
    for name in names():
        with pytest.raises(InputError) as caught:
            build(name, analysis.load(runs_dir))
        _, launched, rest = str(caught.value).partition("python -m sweeps.launch run ")
        if launched:
            assert rest.split()[0] in GRIDS


def test_protocols_of_one_row_are_left_out_and_counted(runs_dir: Path, write: Write) -> None:
    write("full", best=70.0)
    write("full", best=71.0, tau__value=0.3)
    write("full", best=72.0, trainer__epochs=7)
    result = build("sensitivity", analysis.load(runs_dir))
    assert len(result.blocks) == 1
    assert "Left out: 1 whose protocol has one value of tau alone." in result.notes


def test_several_runs_of_a_seed_are_warned_of(runs_dir: Path, write: Write) -> None:
    write("full", best=70.0)
    write("full", best=72.0, quality__every=1)
    write("none", best=71.0)
    (block,) = blocks_of("components", runs_dir)
    assert "several runs of one seed: full at noise.rate 0.5 (1 more)" in block.warnings


@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    accuracies=st.dictionaries(
        st.tuples(st.sampled_from([0.1, 0.2, 0.3]), st.sampled_from([0.2, 0.5]), st.integers(1, 4)),
        st.floats(1, 99).map(lambda value: round(value, 2)),
        min_size=1,
    )
)
def test_the_numbers_are_a_groupby_by_hand(accuracies: dict[tuple[float, float, int], float]) -> None:
    accuracies = {(0.2, 0.5, 9): 50.0, (0.3, 0.5, 9): 60.0, **accuracies}
    runs = pd.DataFrame(
        [
            {
                "run": f"{tau}-{rate}-{seed}",
                "status": "done",
                "base_method.name": "ce",
                "components.name": "full",
                "mask_strategy.name": "adaptive",
                "tau.value": tau,
                "data.name": "digits",
                "noise.name": "symmetric",
                "noise.rate": rate,
                "seed": seed,
                "best_accuracy": accuracy,
            }
            for (tau, rate, seed), accuracy in accuracies.items()
        ]
    )
    runs = runs.reindex(columns=[*runs.columns, *(set(_record_columns()) - {*runs.columns})])
    cells = analysis.table("sensitivity", runs, ["best"])
    ours = cells[(cells["reference"] == "") & (cells["n"] > 0)]
    by_hand = runs.groupby(["tau.value", "noise.rate"])["best_accuracy"].agg(["mean", "std", "count"])
    assert len(ours) == len(by_hand)
    for found in ours.to_dict("records"):
        expected = by_hand.loc[(float(found["tau"]), found["noise.rate"])]
        assert found["mean"] == pytest.approx(expected["mean"])
        assert found["n"] == expected["count"]
        assert found["std"] == pytest.approx(expected["std"], nan_ok=True)


def _record_columns() -> tuple[str, ...]:
    from analysis.records.load import RECORD_FIELDS, RESULT_FIELDS

    return (*RECORD_FIELDS, *RESULT_FIELDS)


def test_a_table_for_notebooks(runs_dir: Path, write: Write) -> None:
    write("none", best=70.0)
    write("full", best=71.0)
    from_folder = analysis.table("components", runs_dir)
    from_frame = analysis.table("components", analysis.load(runs_dir))
    pd.testing.assert_frame_equal(from_folder, from_frame)
    best = from_folder[(from_folder["data.name"] == "digits") & (from_folder["statistic"] == "best")]
    assert best.set_index("components.name")["mean"].dropna().to_dict() == {"none": 70.0, "full": 71.0}
    with pytest.raises(InputError, match="unknown table"):
        analysis.table("colours", runs_dir)


def test_every_table_says_what_it_is() -> None:
    for name in names():
        assert described(name).endswith(".")
        assert len(described(name)) <= 120


GOLDEN = """\
# The shape of the masks

- Selection: best = highest test accuracy of any epoch (chosen on the test set). Accuracies in percent.
- aspect: d of Eq. 3, the aspect of a box is drawn from U(d, 1/d); default 0.8.
- Differences: mean over equal seeds (seed and noise.seed) ± their own sample standard deviation (n pairs).
- p: two-sided paired t-test of at least 3 pairs, which takes the differences to be about normal.
- Cells: mean ± sample standard deviation (n runs, one a seed); (2/3): two of three runs finished; —: no
  number; **bold**: best of its column.

## digits · dividemix · full · symmetric noise · inclusive

| statistic   | aspect         | 50 %                      | 80 %         |
|:------------|:---------------|:--------------------------|:-------------|
| best        | 0.3            | **71.3 ± 1.5 (3)**        | —            |
| best        | 0.3 − 0.8      | +1.3 ± 0.6 (3), p = 0.057 | —            |
| best        | 0.8            | 70.0 ± 1.0 (3)            | **60.0 (1)** |
| best        | 1              | failed                    | 59.0 (1)     |
|             | realised noise | 45 %                      | 72 %         |

- Protocol: model.name preact_resnet, model.widths [16, 32], model.blocks [1, 1], trainer.epochs 30,
  trainer.batch_size 64, tau.value 0.2, mask_strategy.name adaptive, mask_source.name self,
  variant.masked_views joint, variant.unmasked_views kept, variant.ratio_at_maximum two_minus_w,
  variant.reconstruction_weight 1.
- failed: 1 at noise.rate 0.5 (seed 1, noise.seed 1): boom
- Not started: 0.3 at noise.rate 0.8 (3 seeds), 0.8 at noise.rate 0.8 (2 seeds), 1 at noise.rate 0.5 (2
  seeds), 1 at noise.rate 0.8 (2 seeds).
- Code: commit abcdef0123; sanm 0.1.0, torch 2.9.0, numpy 2.3.0, python 3.11.0; device cpu.
"""


def test_a_table_as_it_reads(runs_dir: Path, write: Write) -> None:
    for seed, usual, flat in ((1, 69.0, 70.0), (2, 70.0, 71.0), (3, 71.0, 73.0)):
        write("full", 0.5, seed, best=usual)
        write("full", 0.5, seed, best=flat, mask_strategy__aspect=0.3)
    write("full", 0.5, failure="boom", mask_strategy__aspect=1.0)
    write("full", 0.8, best=60.0)
    write("full", 0.8, best=59.0, mask_strategy__aspect=1.0)
    assert markdown(build("aspect", analysis.load(runs_dir), ["best"])) == GOLDEN
