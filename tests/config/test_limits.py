"""What a setting may be stands beside its value: every key of every option, whatever it is given."""

from __future__ import annotations

import copy
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from sanm.config import limits
from sanm.config.checks import CONF, checked
from sanm.config.explain import one_line
from sanm.config.override_words import check_words
from sanm.data.noise._cifar100 import DEFINITIONS
from sanm.errors import InputError
from sanm.record.identity import identity
from tests.conftest import config_of

pytestmark = pytest.mark.slow

FORMS = (
    "~{}", "{}=null", "{}=inf", "{}=nan", "{}=1e400", "{}=-1", "{}=", "{}=abc", "{}=[]", "{}={{}}", "{}=[-1]", "{}=1.5",
    "{}=???", "{}=true",
)  # fmt: skip
NEEDED = {
    ("noise", "file"): ("noise.path=x",),
    ("noise", "human"): ("noise.path=x", "noise.key=worse"),
    ("pretrain", "file"): ("pretrain.path=x",),
    ("pretrain", "imagenet"): ("model=imagenet_resnet18",),
    ("pretrain", "timm"): ("model=timm",),
    ("pretrain", "efficientnet_lite0"): ("model=timm",),
}
"""What an option does not go without."""


def composed_options() -> Iterator[tuple[str, DictConfig]]:
    """Options of every group, in a config: each with a key that those before it lack, and a fourth of the others."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield "", compose("config")
        for group in limits.groups():
            known: set[str] = set()
            for number, (option, written) in enumerate(limits._options(CONF, group).items()):
                if number % 4 and known.issuperset(limits._flat(written)):
                    continue
                known.update(limits._flat(written))
                data = option if option in ("cifar10", "cifar100") else "digits"
                words = [f"data={data}", f"{group}={option}", "base_method.warm_up=2", *NEEDED.get((group, option), ())]
                if group == "data":  # of which methods may have tables
                    words.append("base_method=ce")
                yield group, compose("config", overrides=words)


def keys_of(node: Any, place: str) -> Iterator[str]:
    for key, value in node.items():
        if key not in limits.ASIDE:
            yield f"{place}.{key}".lstrip(".")
            if isinstance(value, dict) and key != limits.TABLES:
                yield from keys_of(value, f"{place}.{key}")


def own_keys(config: DictConfig, group: str) -> list[str]:
    plain = OmegaConf.to_container(config)
    assert isinstance(plain, dict)
    if group:
        return list(keys_of(plain[group], group))
    return list(keys_of({key: value for key, value in plain.items() if key not in limits.groups()}, ""))


def outcome(config: DictConfig, word: str) -> dict[str, Any] | str:
    """What a word makes of the config: a checked one, or the line of its refusal. Anything else is raised."""
    try:
        check_words([word], "add -m")
        changed = copy.deepcopy(config)
        ConfigLoaderImpl._apply_overrides_to_config(OverridesParser.create().parse_overrides([word]), changed)
        return checked(changed)
    except Exception as error:
        line = one_line(error)
        if line is None:
            raise
        return line


def leaves(node: Any) -> Iterator[Any]:
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from leaves(value) if isinstance(value, dict | list) else (value,)


def test_whatever_a_key_is_given_is_a_sound_config_or_one_line_that_names_it() -> None:
    """Every key gets some of the forms in turn, and again in a fourth of the other options that have it: its limits are
    the same there. All forms to every key of every option took 70 s."""
    turn = 0
    seen: set[str] = set()
    wrong = []
    for group, config in composed_options():
        for key in own_keys(config, group):
            turn += 1
            if key in seen and turn % 4:
                continue
            forms = [FORMS[(turn + step) % len(FORMS)] for step in ((4,) if key in seen else (0, 7))]
            seen.add(key)
            for form in forms:
                word = form.format(key)
                found = outcome(config, word)
                if isinstance(found, str):
                    if "\n" in found or key not in found:
                        wrong.append(f"{word}: {found}")
                elif any(
                    (isinstance(each, float) and not math.isfinite(each)) or each == "???" for each in leaves(found)
                ):
                    wrong.append(f"{word}: {found}")
    assert len(seen) > 130
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("group", limits.groups())
def test_a_group_is_there_with_one_of_its_options(group: str) -> None:
    for word in (f"~{group}", f"{group}=null", f"{group}=abc", f"{group}=3", f"{group}={{}}", f"{group}=[]"):
        try:
            check_words([word], "add -m")
            config_of(word)
        except Exception as error:
            line = one_line(error)
            assert line is not None, word
            assert group in line
            assert "\n" not in line
        else:
            pytest.fail(word)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("~components.nlr",), "components.nlr"),
        (("~runs_dir",), "runs_dir"),
        (("runs_dir=",), "runs_dir"),
        (("base_method.temperature=inf",), "base_method.temperature=inf"),
        (("base_method=elr_plus", "base_method.lambda_ramp=1e400"), "base_method.lambda_ramp=inf"),
        (("trainer.lr_min=1e400",), "trainer.lr_min=inf"),
        (("base_method.views=inf",), "base_method.views=inf"),
        (("trainer.milestones=[5,3]",), "trainer.milestones=[5, 3]"),
        (("trainer.milestones=[3,-1]",), "trainer.milestones=[3, -1]"),
        (("base_method.warm_up=1.5",), "base_method.warm_up=1.5"),
        (("seed=5000000000",), "seed=5000000000"),
        (("trainer.last_window=99",), "trainer.last_window=99 is more than trainer.epochs=24"),
        (("pretrain=simclr", "pretrain.warm_up=21"), "pretrain.warm_up=21 is more than pretrain.epochs=20"),
        (("data.root=2024",), "data.root=2024"),
        (("components.start=-1",), "components.start=-1"),
    ],
)
def test_what_was_let_through_is_named_with_its_value(words: tuple[str, ...], names: str) -> None:
    with pytest.raises(InputError) as refused:
        config_of(*words)
    assert str(refused.value).startswith(names)


def test_a_whole_number_is_one_however_it_is_written() -> None:
    found = config_of("base_method.views=2.0", "trainer.epochs=30.0", "trainer.milestones=[20.0]")
    assert [type(found["base_method"]["views"]), type(found["trainer"]["epochs"])] == [int, int]
    assert json.dumps(found["trainer"]["milestones"]) == "[20]"


def test_every_setting_has_a_kind() -> None:
    """A null, or a reference to another setting, does not show one: ``allowed`` has to say it."""
    for group in (*limits.groups(), limits.TOP):
        options = limits._options(CONF, group)
        keys = {key for option in options.values() for key in limits._flat(option)}
        assert set(limits.limits(group)) <= keys
        for name, option in options.items():
            known = limits.limits(group, [option])
            for key, value in limits._flat(option).items():
                examples = limits._examples_of(group, key)
                shown = any(each not in (None, []) and not limits._is_reference(each) for each in examples)
                assert shown or key in known, f"{group}/{name}: {key}"
                number = isinstance(value, int | float) and not isinstance(value, bool)
                limited = number and (known[key].above > -math.inf or known[key].at_least > -math.inf)
                assert limited or not number, f"{group}/{name}: {key}"


def test_choices_of_the_noise_are_those_of_its_code() -> None:
    assert limits.limits("noise")["definition"].choices == tuple(DEFINITIONS)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (("base_method=sce", "base_method.beta=1.5"), ("base_method=elr", "base_method.beta=1.5")),
        (("base_method=m_correction", "base_method.start=means"), ("base_method=sop", "base_method.start=means")),
    ],
)
def test_an_option_s_own_limit_comes_before_that_of_another(right: tuple[str, ...], wrong: tuple[str, ...]) -> None:
    config_of(*right)
    with pytest.raises(InputError, match=wrong[1]):
        config_of(*wrong)


def test_limits_are_no_settings() -> None:
    config = config_of()
    assert limits.ALLOWED not in {
        *config,
        *(key for group in config.values() if isinstance(group, dict) for key in group),
    }
    assert not re.search(f'"{limits.ALLOWED}"', json.dumps(identity(config)))
    with pytest.raises(InputError, match=r"trainer\.allowed\.epochs"):
        check_words(["trainer.allowed.epochs=null"])
    with pytest.raises(InputError, match=r"came_later"):
        check_words(["came_later.quality.iterations=5"])


def test_a_new_setting_is_its_group_s_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    for option, value in (("paper", 0.5), ("released", 0.25)):
        file = conf / "variant" / f"{option}.yaml"
        limit = "  blur: {above: 0, at_most: 2}\n" if option == "paper" else ""
        file.write_text(f"blur: {value}   # a new choice\n{file.read_text()}{limit}")
    monkeypatch.setattr(limits, "CONF", conf)

    def variant(*words: str) -> Any:
        with initialize_config_dir(str(conf), version_base="1.3"):
            return checked(compose("config", overrides=list(words)))["variant"]["blur"]

    assert [variant(), variant("variant=released"), variant("variant.blur=2")] == [0.5, 0.25, 2]
    for word in ("variant.blur=0", "variant.blur=2.1", "variant.blur=abc", "~variant.blur"):
        with pytest.raises(InputError, match=r"variant\.blur"):
            variant(word)
    assert "variant.blur: a number in (0, 2]" in limits.described()
