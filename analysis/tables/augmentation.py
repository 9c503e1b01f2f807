"""Masking against augmentation: SANM on each pool of views that a method learns from."""

import pandas as pd

from analysis.compare.comparison import COMPONENTS, HEAD, Comparison, Row, setting

POOL, GUESSED = "base_method.learn_from", "base_method.guess_on"
SANM = " + SANM"
ORDER = ("none", "weak", "autoaugment", "randaugment", "simclr")


def _pools(runs: pd.DataFrame) -> pd.Series:
    """The pool learned from, the pool that labels are guessed on where that is another, and whether SANM is on it."""
    learned, guessed = setting(POOL)(runs), setting(GUESSED)(runs)
    pool = learned.mask((guessed != learned).fillna(False), learned + ", guessed on " + guessed)
    return pool + setting(COMPONENTS)(runs).map({"none": "", "full": SANM})


def _rows(present: pd.Series) -> list[Row]:
    pools = sorted({name.removesuffix(SANM) for name in present}, key=_place)
    result = []
    for pool in pools:
        plain, lifted = {"pool": pool, COMPONENTS: "none"}, {"pool": pool, COMPONENTS: "full"}
        result += [Row(pool, about=plain), Row(pool + SANM, about=lifted)]
        result.append(Row(f"{pool}: gain", (pool + SANM, pool), {"pool": pool, COMPONENTS: "gain"}))
    return result


def _place(pool: str) -> tuple[int, str]:
    learned = pool.partition(",")[0]
    return ORDER.index(learned) if learned in ORDER else len(ORDER), pool


def _pools_compared(labels: pd.Series) -> int:
    """How many pools there are without SANM, or with it."""
    with_sanm = labels.drop_duplicates().str.endswith(SANM)
    return int(max(with_sanm.sum(), (~with_sanm).sum()))


table = Comparison(
    title="Masking against augmentation",
    rows="views",
    row_of=_pools,
    rows_of=_rows,
    needs=POOL,
    make="python -m sweeps.launch run augmentation data.root=PATH",
    only={COMPONENTS: ("none", "full")},
    varies=("components", POOL, GUESSED),
    least=2,
    contrasts=_pools_compared,
    head=HEAD,
    notes=("Gain: SANM on a pool − the pool without it. Masked views are made of the pool that is guessed on.",),
).table
