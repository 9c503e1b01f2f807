"""What a command line makes of a study's YAML, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sanm.config.explain import one_line
from sanm.errors import InputError
from sweeps.studies.space import Dimension, space_of
from sweeps.studies.study import check_runs, differences, study_names
from tests.conftest import ROOT
from tests.sweeps.conftest import MakeStudy


def test_the_shipped_studies_make_runs(make_study: MakeStudy) -> None:
    assert study_names() == ["elr", "sanm", "tau", "tau_aspect"]
    for name in study_names():
        check_runs(make_study(f"study={name}", "study.noise_rates=[0.5]", "study.seeds=[1]"))


def test_what_a_study_says(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study("study=tau_aspect", "study.n_trials=7", "study/pruner=median", "trainer.epochs=30")
    assert study.space["tau.value"] == Dimension(0.05, 0.6, step=0.01)
    assert study.space["mask_strategy.aspect"] == Dimension(0.3, 1.0, step=0.05)
    assert (study.n_trials, study.report, study.selection) == (7, "epoch", "validation")
    assert study.folder == tmp_path / "runs" / "studies" / "tau_aspect"
    assert study.pruner["_target_"] == "optuna.pruners.MedianPruner"
    assert [cell.key for cell in study.cells][:2] == ["noise0.5/seed1", "noise0.5/seed2"]
    params = {"tau.value": 0.2, "mask_strategy.aspect": 0.5}
    assert study.run_overrides(params, study.cells[-1]) == [
        "data.validation=0.1", "trainer.epochs=30", f"runs_dir={tmp_path / 'runs'}",
        "tau.value=0.2", "mask_strategy.aspect=0.5", "noise.rate=0.8", "seed=3",
    ]  # fmt: skip


def test_the_command_line_narrows_the_space_and_replaces_the_studys_overrides(make_study: MakeStudy) -> None:
    study = make_study("study=elr", "study.space.base_method.beta.low=0.9", "components=full", "data.validation=0.2")
    assert study.space["base_method.beta"].low == 0.9
    assert study.overrides[:3] == ("base_method=elr", "components=full", "data.validation=0.2")


def test_drawn_numbers_are_ones_that_can_be_typed() -> None:
    assert Dimension(0.05, 0.6, step=0.01).settle(0.15000000000000002) == 0.15
    assert Dimension(0.5, 10.0, log=True).settle(1.23456789) == 1.23457
    assert Dimension(1 / 3, 1.0).settle(1 / 3) == 1 / 3, "rounding does not leave the range"
    assert Dimension(choices=("a", 1.23456789)).settle(1.23456789) == 1.23456789
    assert Dimension(1, 9).whole
    assert not Dimension(1.0, 9.0).whole


def test_the_definition_is_what_changes_scores(make_study: MakeStudy) -> None:
    before = make_study("study=tau").definition
    same = make_study("study=tau", "study.n_trials=99", "study.workers=3", "device=cpu", "study/sampler=random")
    assert differences(before, same.definition) == []
    other = make_study("study=tau", "study.space.tau.value.high=0.5", "trainer.epochs=30", "study.seeds=[1,2]")
    assert differences(before, other.definition) == [
        "space.tau.value.high was 0.6, is 0.5",
        "seeds was [1, 2, 3], is [1, 2]",
        "trainer.epochs was 24, is 30",
    ]


REFUSALS = [
    ((), "give one study=NAME"),
    (("study=sigma",), "study=sigma: no such study"),
    (("study=base",), "study=base: no such study"),
    (("study=tau", "-m"), "-m: not understood"),
    (("study=tau", "study.n_trails=5"), "study.n_trails: no such key; there are"),
    (("study=tau", "study/pruner=axe"), "study/pruner/axe: no such option; choose one of hyperband, median"),
    (("study=tau", "study.n_trials=0"), "study.n_trials=0: must be a whole number, at least 1"),
    (("study=tau", "study.n_trials=999999999999"), "study.n_trials=999999999999: must be a whole number"),
    (("study=tau", "study.workers=999999999999"), "study.workers=999999999999: must be a whole number"),
    (("study=tau", "study.workers=two"), "study.workers=two: must be a whole number"),
    (("study=tau", "study.seeds=[]"), "study.seeds=[]: give at least one"),
    (("study=tau", "study.seeds=[1,1]"), "give at least one, and each once"),
    (("study=tau", "study.noise_rates=[a]"), "must be a list of numbers"),
    (("study=tau", "study.overrides=5"), "study.overrides=5: must be a list of overrides"),
    (("study=tau", "study.name=../up"), "study.name=../up: use letters"),
    (("study=tau", "study.selection=guess"), "study.selection=guess: choose one of validation, test_oracle"),
    (("study=tau", "data.validation=0"), "study.selection=validation needs held-out images: set data.validation"),
    (("study=tau", "tau.value=0.2"), "tau.value=0.2: the study varies it"),
    (("study=tau", "tau=high"), "tau=high: the study varies it"),
    (("study=tau", "noise.rate=0.2"), "noise.rate=0.2: the study sets it; give study.noise_rates=[...]"),
    (("study=tau", "seed=4"), "seed=4: the study sets it; give study.seeds=[...]"),
    (("study=tau", "tau.valeu=0.2"), "Did you mean tau.value?"),
    (("study=tau", "study.space.tau.value.high=1.5", "study.space.tau.value.step=null"), "tau.value=1.5: must be"),
    (("study=tau", "study.space.tau.value.high=0.05"), "low=0.05 has to lie below high=0.05"),
    (("study=tau", "study.space.tau.value.step=0.1"), "must divide 0.05 to 0.6 evenly"),
    (("study=tau", "+study.space.tau.value.log=true"), "log=true needs low above 0 and no step"),
    (("study=tau", "+study.space.tau.value.by=2"), "study.space.tau.value.by: no such key"),
    (("study=tau", "components=none"), "study.space.tau.value changes nothing in these runs"),
    (("study=tau", "study.noise_rates=[0.5,1.5]"), "noise.rate=1.5: must be a number in [0, 1]"),
    (("study=tau", "data=cifar10,cifar100"), "data=cifar10,cifar100: data has several values here"),
]


@pytest.mark.parametrize(("words", "message"), REFUSALS, ids=lambda v: " ".join(v) if isinstance(v, tuple) else "")
def test_bad_input_is_one_clear_line(make_study: MakeStudy, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 -- whatever it is, it has to become one line
        check_runs(make_study(*words))
    line = one_line(raised.value)
    assert line is not None
    assert message in line
    assert "\n" not in line


def test_a_key_may_be_a_group_or_written_with_dots() -> None:

    space = {"mask_strategy": {"choices": ["fixed", "random"]}, "base_method.warm_up": {"low": 1, "high": 4}}
    found = space_of(space)
    assert found == {"mask_strategy": Dimension(choices=("fixed", "random")), "base_method.warm_up": Dimension(1, 4)}
    with pytest.raises(InputError, match="is empty"):
        space_of({})
    with pytest.raises(InputError, match="two or more different"):
        space_of({"mask_strategy": {"choices": ["fixed"]}})


def test_nothing_heavy_is_imported_before_the_study_has_passed() -> None:
    heavy = "{'torch', 'optuna', 'pandas', 'matplotlib'}"
    probe = f"import sys, sweeps.tune; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=False).returncode == 0
    done = subprocess.run(
        [sys.executable, "-m", "sweeps.tune", "study=tau", "tau.value=0.2"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error    tau.value=0.2: the study varies it; leave it out, or narrow study.space.tau.value\n"


def test_a_trial_may_go_across_several_methods(make_study: MakeStudy) -> None:
    own = "study.across=[['base_method=ce','trainer.epochs=9'],['base_method=elr']]"
    study = make_study("study=tau", own, "study.noise_rates=[0.5]", "study.seeds=[1,2]")
    assert [cell.key for cell in study.cells] == [
        "base_method=ce,trainer.epochs=9/noise0.5/seed1", "base_method=ce,trainer.epochs=9/noise0.5/seed2",
        "base_method=elr/noise0.5/seed1", "base_method=elr/noise0.5/seed2",
    ]  # fmt: skip
    assert study.run_overrides({"tau.value": 0.2}, study.cells[0])[-5:] == [
        "tau.value=0.2", "base_method=ce", "trainer.epochs=9", "noise.rate=0.5", "seed=1",
    ]  # fmt: skip
    check_runs(study)
    other = make_study("study=tau", "study.across=[['base_method=ce']]", "study.noise_rates=[0.5]", "study.seeds=[1,2]")
    assert any(line.startswith("across was") for line in differences(study.definition, other.definition))


@pytest.mark.parametrize(
    ("across", "named"),
    [
        ("['base_method=ce']", "study.across"),
        ("[[]]", "study.across"),
        ("[[ce]]", "study.across"),
        ("[['base_method=ce'],['base_method=ce']]", "study.across"),
        ("[['seed=3']]", "seed=3"),
        ("[['tau.value=0.3']]", "tau.value=0.3"),
        ("[['trainer.epochs=3']]", "trainer.epochs=3"),
    ],
)
def test_what_a_study_cannot_go_across(make_study: MakeStudy, across: str, named: str) -> None:
    with pytest.raises(InputError) as refused:
        make_study("study=tau", f"study.across={across}", "trainer.epochs=5")
    assert named in str(refused.value)


SPACE = {
    "variant": {"ratio_at_minimum": {"choices": ["one_minus_w", "none"]}},
    "tau": {"value": {"low": 0.1, "high": 0.4, "when": {"variant.ratio_at_minimum": "none"}}},
}


def test_a_key_may_have_a_part_beside_one_choice_of_another_alone(make_study: MakeStudy) -> None:
    study = replace(make_study("study=tau"), space=space_of(SPACE))
    assert study.point({"variant.ratio_at_minimum": "one_minus_w", "tau.value": 0.3}) == {
        "variant.ratio_at_minimum": "one_minus_w"
    }
    assert study.example() == {"variant.ratio_at_minimum": "one_minus_w"}
    assert study.example("tau.value") == {"variant.ratio_at_minimum": "none", "tau.value": 0.1}
    assert study.definition["space"]["tau.value"]["when"] == {"variant.ratio_at_minimum": "none"}
    check_runs(study)


@pytest.mark.parametrize(
    "when", [{"tau.value": 1}, {"variant.ratio_at_minimum": "never"}, {}, "none", {"a": 1, "b": 2}]
)
def test_a_condition_is_a_choice_of_a_key_before_it(when: object) -> None:
    wrong = {**SPACE, "tau": {"value": {"low": 0.1, "high": 0.4, "when": when}}}
    with pytest.raises(InputError, match=r"study\.space\.tau\.value\.when"):
        space_of(wrong)
