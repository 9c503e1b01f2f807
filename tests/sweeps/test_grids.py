"""The named grids: every cell of every grid is a config that passes, and they cover what they say."""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from typing import Any

import pytest
import yaml
from hydra import compose
from omegaconf import DictConfig

from analysis import paper
from sanm.config.checks import CONF, checked
from sanm.config.limits import ASIDE, options
from sanm.config.override_words import key_of
from sweeps.grids import paper_rows
from sweeps.grids.named import GRIDS, POOLS, each, product, variant_rows
from sweeps.grids.selection import command_lines

pytestmark = pytest.mark.usefixtures("hydra")


@lru_cache(maxsize=16)
def composed(words: tuple[str, ...]) -> DictConfig:
    return compose("config", overrides=list(words))


def config_of_cell(line: list[str]) -> dict[str, Any]:
    """Its config. Cells that differ in the rate of noise alone are composed once, which is most of the work."""
    rates = [word for word in line if key_of(word) == "noise.rate"]
    config = composed(tuple(word for word in line if word not in rates))
    for word in rates:
        config.noise.rate = float(word.partition("=")[2])
    return checked(config)


@pytest.mark.parametrize("name", GRIDS)
def test_every_cell_composes_to_a_config_that_passes(name: str) -> None:
    lines = command_lines(GRIDS[name], ["seed=7"])
    configs = [config_of_cell(line) for line in lines]
    assert {config["seed"] for config in configs} == {7}
    assert len({json.dumps(config) for config in configs}) == len(lines), "no two cells are the same config"
    if name == "clothing1m":
        assert {(config["data"]["name"], config["trainer"]["epochs"]) for config in configs} == {("clothing1m", 80)}
    elif name != "quick":
        assert {(config["data"]["name"], config["trainer"]["epochs"]) for config in configs} == {("cifar10", 300)}


def test_their_names_and_sizes() -> None:
    sizes = {name: len(grid.cells) for name, grid in GRIDS.items()}
    assert sizes == {
        "quick": 4 * 4, "components": 4 * 4, "generality": 7 * 2 * 4, "symmetric": 4 * here("table1_symmetric"),
        "asymmetric": 2 * here("table2_asymmetric"), "clothing1m": here("table3_clothing1m"),
        "mask_source": 2 * 2 * 4, "tau": (5 + 2 + 1) * 2, "mask_strategy": 4 * 4,
        "aspect": 4 * 2, "variant": (2 + len(variant_rows())) * 2, "augmentation": 5 * 2 * 2,
    }  # fmt: skip
    for name, grid in GRIDS.items():
        assert grid.name == name
        assert grid.title
        assert len(set(grid.cells)) == len(grid.cells)
        assert not {key_of(word) for word in grid.base} & {key_of(word) for cell in grid.cells for word in cell}


def here(table: str) -> int:
    """How many rows of a table of the paper have a base method in ``conf/``."""
    return sum(method in options("base_method") for method, _ in paper.rows_of(table))


def test_grids_of_the_tables_have_their_rows_in_order() -> None:
    cells = [cell for cell in GRIDS["symmetric"].cells if cell[-1] == "noise.rate=0.9"]
    assert cells[0] == ("base_method=ce", "components=none", "noise.rate=0.9")
    assert cells[-2:] == [
        (f"base_method={method}", "components=full", "noise.rate=0.9") for method in ("dividemix", "c2d")
    ]
    named = [(cell[0].removeprefix("base_method="), cell[-2].removeprefix("components=")) for cell in cells]
    assert named == [row for row in paper.rows_of("table1_symmetric") if row[0] in options("base_method")]


def test_a_method_that_is_new_in_conf_is_in_its_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [*options("base_method"), "sel_cl"]
    monkeypatch.setattr(paper_rows, "options", lambda group: there)
    assert ("base_method=sel_cl", "base_method.plus=true", "components=none") in paper_rows.cells_of("table1_symmetric")


def test_the_variant_grid_has_every_choice_on_its_own() -> None:
    """Counted from the files, so that a new key needs no other line here or in the grid."""
    paper = yaml.safe_load((CONF / "variant" / "paper.yaml").read_text())
    others = [yaml.safe_load(file.read_text()) for file in (CONF / "variant").glob("*.yaml")]
    keys = [
        key
        for key, value in paper.items()
        if key not in ASIDE and (isinstance(value, str) or any(other[key] != value for other in others))
    ]
    rows = variant_rows()
    assert list(dict.fromkeys(key_of(row) for row in rows)) == [f"variant.{key}" for key in keys]
    assert len(set(rows)) == len(rows)
    for row in rows:
        key, _, value = row.partition("=")
        assert yaml.safe_load(value) != paper[key.removeprefix("variant.")]
    assert {"variant.anchor=corner", "variant.painted_part=0.5", "variant.ratio_at_minimum=as_maximum"} < set(rows)


def test_the_tau_grid_is_not_a_product() -> None:
    kinds = Counter(
        next((word for word in cell if word.startswith("mask_strategy")), "none") for cell in GRIDS["tau"].cells
    )
    assert kinds == {"mask_strategy=adaptive": 10, "mask_strategy=fixed": 2, "mask_strategy=random": 2, "none": 2}


def test_strong_views_are_learned_from_with_both_ways_of_guessing() -> None:
    assert ("weak", "weak") in POOLS
    for pool in ("autoaugment", "randaugment"):
        assert (pool, "weak") in POOLS
        assert (pool, pool) in POOLS


def test_the_building_blocks() -> None:
    assert product(a__b=(1, 2), c=("x",)) == [("a.b=1", "c=x"), ("a.b=2", "c=x")]
    assert each("a=1", ("b=2", "c=3"), d=(4,)) == [("a=1", "d=4"), ("b=2", "c=3", "d=4")]
