"""From a grid, more overrides and ``--only`` to command lines. Hydra has to be initialised."""

from collections.abc import Sequence

import yaml

from sanm.config.override_words import check_words, key_of
from sanm.errors import InputError
from sanm.grids.multirun import swept
from sweeps.grids.named import GRIDS, Grid

CommandLine = list[str]


def grid_named(name: str) -> Grid:
    """Raises InputError that names the grids there are."""
    if name not in GRIDS:
        raise InputError(f"{name}: there is no such grid; choose one of {', '.join(GRIDS)}")
    return GRIDS[name]


def command_lines(grid: Grid, extra: Sequence[str], only: Sequence[str] = ()) -> list[CommandLine]:
    """What to type after ``python -m sanm.run`` for every cell; the first seed's whole grid comes first.

    ``extra`` overrides hold for all cells, in the place of the grid's own base and seeds; comma lists in them are
    swept. ``only`` keeps the cells that have one of the values given for each of its keys. Raises InputError for an
    override of what the grid varies, and for a part of the grid that is empty.
    """
    check_words([*extra, *only])
    _refuse_what_varies(grid, extra)
    given = {key_of(word) for word in extra}
    base = [word for word in grid.base if key_of(word) not in given]
    seeds = [[f"seed={seed}"] for seed in grid.seeds] if "seed" not in given else [[]]
    lines = [[*base, *more, *cell, *seed] for more in swept(list(extra)) for seed in seeds for cell in grid.cells]
    return _part(grid, lines, only)


def _refuse_what_varies(grid: Grid, extra: Sequence[str]) -> None:
    varied = {key_of(word) for cell in grid.cells for word in cell}
    for word in extra:
        if key_of(word) in varied:
            raise InputError(f"{word}: the grid {grid.name} varies {key_of(word)}; for a part of it give --only {word}")


def _part(grid: Grid, lines: list[CommandLine], only: Sequence[str]) -> list[CommandLine]:
    wanted: dict[str, list[object]] = {}
    for word in only:
        for (choice,) in swept([word]):
            wanted.setdefault(key_of(choice), []).append(_value(choice))
    for key, values in wanted.items():
        there = _values(lines, key)
        if not there:
            raise InputError(f"--only {key}: the cells of {grid.name} have {', '.join(_keys(lines))}")
        lines = [line for line in lines if any(key_of(word) == key and _value(word) in values for word in line)]
        if not lines:
            raise InputError(f"--only {key}={','.join(map(str, values))}: {key} is one of {', '.join(there)}")
    return lines


def _value(override: str) -> object:
    found: object = yaml.safe_load(override.partition("=")[2])
    return found


def _values(lines: list[CommandLine], key: str) -> list[str]:
    found = [word.partition("=")[2] for line in lines for word in line if key_of(word) == key]
    return list(dict.fromkeys(found))


def _keys(lines: list[CommandLine]) -> list[str]:
    return list(dict.fromkeys(key_of(word) for line in lines for word in line))
