"""The paper's tables and figures as lists of command lines. A new grid is one ``Grid(...)`` in ``GRIDS``.

A cell is what one would type after ``python -m sanm.run``. Grids of the paper run CIFAR-10 by ``preset=paper``, all
methods with its optimizer, so that they stand in one block of a table (a method's published one: ``trainer=NAME``).
``data=cifar100 data.root=PATH`` gives the other half of a table, ``preset=cifar_small`` the same at the size of a CPU.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from sanm.config.limits import limits, option, options
from sweeps.grids.paper_rows import cells_of

Overrides = tuple[str, ...]

RATES = (0.2, 0.5, 0.8, 0.9)
TWO_RATES = (0.5, 0.8)
COMPONENTS = ("none", "amg", "amg_nlr", "full")
WITH_AND_WITHOUT = ("none", "full")
PAPER = ("preset=paper",)
SEEDS = (1, 2, 3)

POOLS = (("weak", "weak"), ("autoaugment", "weak"), ("autoaugment", "autoaugment"),
         ("randaugment", "weak"), ("randaugment", "randaugment"))  # fmt: skip
"""learn_from, guess_on."""


def product(**values: Sequence[object]) -> list[Overrides]:
    """Every combination of the values, the last key fastest; ``__`` in a key is a dot: ``noise__rate=(0.2, 0.5)``."""
    keys = [key.replace("__", ".") for key in values]
    return [
        tuple(f"{key}={value}" for key, value in zip(keys, chosen, strict=True))
        for chosen in itertools.product(*values.values())
    ]


def each(*choices: str | Overrides, **values: Sequence[object]) -> list[Overrides]:
    """Every choice, which is an override or several, with every combination of the values."""
    own = [(choice,) if isinstance(choice, str) else choice for choice in choices]
    return [(*choice, *rest) for choice in own for rest in product(**values)]


def variant_rows() -> list[str]:
    """Each choice of ``conf/variant`` that is not paper's, on its own; of numbers those of other variants."""
    paper, others = option("variant", "paper"), [option("variant", name) for name in options("variant")]
    return [
        f"variant.{key}={other}"
        for key, value in paper.items()
        for other in limits("variant")[key].choices or dict.fromkeys(each[key] for each in others)
        if other != value
    ]


@dataclass(frozen=True)
class Grid:
    """A named list of cells. ``base`` holds for all of them and can be overridden; what ``cells`` set can not."""

    name: str
    title: str
    cells: list[Overrides]
    base: Overrides = PAPER
    seeds: Sequence[int] = SEEDS


def _generality() -> list[Overrides]:
    methods = ("ce", "coteaching", "cdr", "elr", "elr_plus", "dividemix", "c2d")
    return product(base_method=methods, components=WITH_AND_WITHOUT, noise__rate=RATES)


def _tau() -> list[Overrides]:
    adaptive = product(mask_strategy=("adaptive",), tau__value=(0.1, 0.2, 0.3, 0.4, 0.5), noise__rate=TWO_RATES)
    baselines = product(mask_strategy=("fixed", "random"), tau__value=(0.2,), noise__rate=TWO_RATES)
    return adaptive + baselines + product(components=("none",), noise__rate=TWO_RATES)


def _clothing1m() -> list[Overrides]:
    """Its noise has no rate; Nested Co-teaching, which asks for one, was published with 0.3."""
    rate = {"base_method=nested": ("base_method.noise_rate=0.3",)}
    return [(*cell, *rate.get(cell[0], ())) for cell in cells_of("table3_clothing1m")]


def _augmentation() -> list[Overrides]:
    pools = [(f"base_method.learn_from={learn}", f"base_method.guess_on={guess}") for learn, guess in POOLS]
    return each(*pools, components=WITH_AND_WITHOUT, noise__rate=TWO_RATES)


GRIDS = {
    grid.name: grid
    for grid in (
        Grid(
            "quick",
            "the components on bundled digits, in minutes (the demo's runs)",
            product(components=COMPONENTS, noise__rate=RATES),
            base=("preset=demo",),
            seeds=(1,),
        ),
        Grid(
            "components",
            "Table 5: what each part of SANM gives DivideMix",
            product(components=COMPONENTS, noise__rate=RATES),
        ),
        Grid("generality", "Table 6: every base method with and without SANM", _generality()),
        Grid(
            "symmetric",
            "Table 1: its methods under symmetric noise, and SANM on DivideMix and C2D",
            each(*cells_of("table1_symmetric"), noise__rate=RATES),
        ),
        Grid(
            "asymmetric",
            "Table 2: its methods under asymmetric noise, and SANM on DivideMix",
            each(*cells_of("table2_asymmetric"), noise__rate=(0.2, 0.4)),
            base=(*PAPER, "noise=asymmetric"),
        ),
        Grid(
            "clothing1m",
            "Table 3: its methods on Clothing1M as it comes, and SANM on DivideMix",
            _clothing1m(),
            base=("preset=clothing1m",),
        ),
        Grid(
            "mask_source",
            "Table 4: masks by the network that learns, or by a pretrained one",
            product(base_method=("dividemix", "c2d"), mask_source=("self", "pretrained"), noise__rate=RATES),
        ),
        Grid("tau", "Fig. 4: the basic mask ratio, beside fixed, random and no masks", _tau()),
        Grid(
            "mask_strategy",
            "how much is masked: by the label's clean probability, the same for all, by chance, nothing",
            each(
                "mask_strategy=adaptive",
                "mask_strategy=fixed",
                "mask_strategy=random",
                "components=none",
                noise__rate=RATES,
            ),
        ),
        Grid(
            "aspect",
            "the shape of the masks: aspects from U(d, 1/d)",
            product(mask_strategy__aspect=(0.3, 0.5, 0.8, 1.0), noise__rate=TWO_RATES),
        ),
        Grid(
            "variant",
            "how the paper is read: each choice on its own, and the paper and its code as a whole",
            each("variant=paper", "variant=released", *variant_rows(), noise__rate=TWO_RATES),
        ),
        Grid("augmentation", "masking against augmentation: pools learned from and guessed on", _augmentation()),
    )
}
