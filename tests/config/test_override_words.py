"""Words that Hydra does not read are told beside those that it does, at every door and before anything else."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from sanm.bench.__main__ import main as bench
from sanm.config.override_words import check_words, quoted
from sanm.errors import InputError
from sweeps.launch import main as launch
from tests.conftest import ROOT, Command

SIGNS = st.one_of(
    st.sampled_from("ab=,{}[]()'\"\\$ :#!~+ü猫\n\t"), st.characters(codec="utf-8", exclude_characters="\0")
)


@given(st.text(SIGNS, max_size=9))
@example(r"\${a}")
@example(r"a\\${b} ü")
@settings(max_examples=400, deadline=None)
def test_any_text_in_quotes_is_that_text(text: str) -> None:
    (word,) = shlex.split(quoted("data.root", text))
    value = OverridesParser.create().parse_override(word).value()
    assert OmegaConf.create({"value": value}).value == text


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (("data.root=/d/ü猫",), "data.root", "/d/ü猫"),
        (("data.root=/d/a=b",), "data.root", "/d/a=b"),
        (("data.root=/d/a,b",), "data.root", "/d/a,b"),
        (("data.root=/d/a{b",), "data.root", "/d/a{b"),
        (("data.root=/d/a(1)",), "data.root", "/d/a(1)"),
        (("data.root='abc",), "data.root", "'abc"),
        ((r"data.root=C:\a#b",), "data.root", r"C:\a#b"),
        (("seed=2", "data.root=/d/a", "b/c"), "data.root", "/d/a b/c"),
        (("runs_dir=my", "runs (1)"), "runs_dir", "my runs (1)"),
    ],
)
def test_what_is_told_is_what_was_meant(words: tuple[str, ...], key: str, value: str) -> None:
    with pytest.raises(InputError) as refused:
        check_words(words, "add -m")
    assert quoted(key, value) in str(refused.value)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("noise.rate=0,5",), "noise.rate=0.5"),
        (("noise.rate=0,5",), "-m"),
        (("seed=1,2",), "-m"),
        (("trainer.epochs", "=", "3"), "trainer.epochs=3"),
        (("trainer.epochs", "=3"), "trainer.epochs=3"),
        (("trainer.epochs=", "3"), "trainer.epochs=3"),
        (("{",), "'{'"),
        (("trainer",), "trainer"),
        (("=3",), "=3"),
        (("+=3",), "+=3"),
        (("~",), "'~'"),
        (("",), "''"),
        (("data=digits", "trainer"), "trainer"),
        (("noise=0.5",), "symmetric"),
    ],
)
def test_what_is_no_setting_is_named(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(InputError) as refused:
        check_words(words, "add -m")
    assert told in re.split(r"[ :;,]+", str(refused.value))


def test_several_values_are_for_a_grid() -> None:
    check_words(["seed=1,2", "noise.rate=range(0,1,0.5)", "noise=symmetric,none"])
    check_words(["trainer.milestones=[1,2]", "noise.map={cat:dog}", "~noise.definition"], "add -m")


def test_every_door_refuses_alike(capfd: pytest.CaptureFixture[str]) -> None:
    wrong = "data.root=/d/a=b"
    statuses = [bench([wrong]), launch(["status", "quick", wrong])]
    modules = [("sanm.run",), ("sanm.run", "-m"), ("sanm.pretrain",), ("sweeps.tune", "study=tau")]
    processes = [
        subprocess.Popen([sys.executable, "-m", *module, wrong], cwd=ROOT, env=dict(os.environ)) for module in modules
    ]
    statuses += [process.wait(timeout=120) for process in processes]
    out, err = capfd.readouterr()
    assert (statuses, out) == ([2] * 6, "")
    assert err.splitlines() == [err.splitlines()[0]] * 6
    assert "'data.root=\"/d/a=b\"'" in err.splitlines()[0]


@pytest.mark.parametrize("words", [("-m", "-r"), ("--cfg", "job", "-m"), ("--foo",), ("--resolve",), ("--info=x",)])
def test_options_of_hydra_that_do_not_fit_are_one_line(words: tuple[str, ...], within: Command) -> None:
    done = within(*words, runs=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert words[-1].partition("=")[0].lstrip("-")[0] in line


@pytest.mark.parametrize("words", [("tau.value=${nope}",), ("-m", "tau.value=${nope}", "seed=1,2")])
def test_a_reference_to_nothing_is_one_line(words: tuple[str, ...], within: Command) -> None:
    done = within(*words, runs=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "tau.value" in line
