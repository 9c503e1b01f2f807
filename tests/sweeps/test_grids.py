"""The named grids: every cell of every grid is a config that passes, and they cover what they say."""

from __future__ import annotations

from collections import Counter

import pytest
import yaml
from hydra import compose

from sanm.config import CONF, checked
from sweeps.grids import GRIDS, POOLS, VARIANT_ROWS, each, product
from sweeps.selection import command_lines, key_of

pytestmark = pytest.mark.usefixtures("hydra")


@pytest.mark.slow
@pytest.mark.parametrize("name", GRIDS)
def test_every_cell_composes_to_a_config_that_passes(name: str) -> None:
    lines = command_lines(GRIDS[name], ["seed=7"])
    configs = [checked(compose("config", overrides=line)) for line in lines]
    assert {config["seed"] for config in configs} == {7}
    as_text = [yaml.safe_dump(config) for config in configs]
    assert len(set(as_text)) == len(lines), "no two cells are the same config"
    if name != "quick":
        assert {(config["data"]["name"], config["trainer"]["epochs"]) for config in configs} == {("cifar10", 300)}


def test_their_names_and_sizes() -> None:
    sizes = {name: len(grid.cells) for name, grid in GRIDS.items()}
    assert sizes == {
        "quick": 4 * 4, "components": 4 * 4, "generality": 7 * 2 * 4, "symmetric": (1 + 2 * 2) * 4,
        "asymmetric": 2 * 2 * 2, "mask_source": 2 * 2 * 4, "tau": (5 + 2 + 1) * 2, "mask_strategy": 4 * 4,
        "aspect": 4 * 2, "variant": (2 + 13) * 2, "augmentation": 5 * 2 * 2,
    }  # fmt: skip
    for name, grid in GRIDS.items():
        assert grid.name == name
        assert grid.title
        assert len(set(grid.cells)) == len(grid.cells)
        assert not {key_of(word) for word in grid.base} & {key_of(word) for cell in grid.cells for word in cell}


def test_the_variant_grid_has_every_row_on_its_own() -> None:
    paper = yaml.safe_load((CONF / "variant" / "paper.yaml").read_text())
    assert list(dict.fromkeys(key_of(row) for row in VARIANT_ROWS)) == [f"variant.{key}" for key in paper]
    for row in VARIANT_ROWS:
        key, _, value = row.partition("=")
        assert yaml.safe_load(value) != paper[key.removeprefix("variant.")]


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
