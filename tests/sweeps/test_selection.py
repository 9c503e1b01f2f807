"""A grid, more overrides and --only become command lines."""

from __future__ import annotations

import pytest

from sanm.errors import InputError
from sweeps.grids.named import GRIDS, Grid, product
from sweeps.grids.selection import command_lines, grid_named

pytestmark = pytest.mark.usefixtures("hydra")

GRID = Grid("made_up", "", product(components=("none", "full"), noise__rate=(0.2, 0.5)), seeds=(1, 2))


def test_a_grid_alone_is_its_base_its_cells_and_its_seeds_with_the_first_seed_first() -> None:
    lines = command_lines(GRID, [])
    assert len(lines) == 8
    assert lines[0] == ["preset=paper", "components=none", "noise.rate=0.2", "seed=1"]
    assert [line[-1] for line in lines] == ["seed=1"] * 4 + ["seed=2"] * 4


def test_more_overrides_take_the_place_of_base_and_seeds_and_are_swept() -> None:
    lines = command_lines(GRID, ["preset=cifar_small", "seed=5,6,7", "data.root=/some/place"])
    assert len(lines) == 12
    assert lines[0] == ["preset=cifar_small", "seed=5", "data.root=/some/place", "components=none", "noise.rate=0.2"]
    assert not any("preset=paper" in line for line in lines)


@pytest.mark.parametrize("word", ["noise.rate=0.3", "components=amg", "++noise.rate=0.3"])
def test_what_the_grid_varies_cannot_be_overridden(word: str) -> None:
    with pytest.raises(InputError, match=r"made_up .*--only") as caught:
        command_lines(GRID, [word])
    assert "\n" not in str(caught.value)


def test_what_lies_beside_the_varied_keys_can_be_overridden() -> None:
    assert len(command_lines(GRID, ["noise=pair_flip", "components.start=3"])) == 8


def test_only_takes_a_part() -> None:
    lines = command_lines(GRID, [], ["noise.rate=.20", "seed=2"])
    assert lines == [
        ["preset=paper", "components=none", "noise.rate=0.2", "seed=2"],
        ["preset=paper", "components=full", "noise.rate=0.2", "seed=2"],
    ]
    assert len(command_lines(GRID, [], ["noise.rate=0.2,0.5"])) == 8
    assert len(command_lines(GRID, [], ["noise.rate=0.2", "noise.rate=0.5"])) == 8
    assert len(command_lines(GRIDS["tau"], ["seed=1"], ["mask_strategy=fixed"])) == 2


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("noise.rate=0.3", "noise.rate is one of 0.2, 0.5"),
        ("tau.value=0.3", "the cells of made_up have preset, components, noise.rate, seed"),
        ("noise.rate", "noise.rate: no key=value"),
    ],
)
def test_a_part_that_is_empty_says_what_there_is(word: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        command_lines(GRID, [], [word])


def test_an_unknown_grid_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="quick, components, generality"):
        grid_named("tabel5")
