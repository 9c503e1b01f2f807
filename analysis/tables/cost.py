"""What methods cost, with and without SANM: time an epoch, speed, peak memory, total time, on one machine each."""

import pandas as pd

from analysis.compare import method_rows
from analysis.compare.blocks import shown
from analysis.compare.comparison import Row
from analysis.compare.summary import Measure

MACHINE = "machine"
EPOCH, TOTAL = "result.seconds_per_epoch", "result.minutes"
MEASURES = {
    "seconds_per_epoch": Measure(EPOCH, "training alone, no tests", digits=2, lowest_is_best=True),
    "images_per_second": Measure("images_per_second", "training images, by the same time", digits=0),
    "peak_memory_mb": Measure("peak_memory_mb", "of the GPU, else of the process", digits=0, lowest_is_best=True),
    "minutes": Measure(TOTAL, "all epochs", digits=1, lowest_is_best=True),
}


def _with_machine(runs: pd.DataFrame) -> pd.DataFrame:
    machines = [
        f"{shown(device)}, threads {'unknown' if pd.isna(threads) else shown(threads)}"
        for device, threads in zip(runs["device"], runs["threads"], strict=True)
    ]
    times = {EPOCH: runs["seconds"] / runs["epochs"], TOTAL: runs["seconds"] / 60}
    return runs.assign(**times).assign(**{MACHINE: machines})


def _rows(present: pd.Series) -> list[Row]:
    return [row for row in method_rows.rows(present, every=False) if not row.difference_of]


table = method_rows.of_methods(
    "Cost",
    make="python -m sanm.run -m base_method=ce,dividemix components=none,full",
    only={"status": ("done",)},
    rows_of=_rows,
    head={MACHINE: "{}", **method_rows.HEAD},
    measures=MEASURES,
    statistics=tuple(MEASURES),
    prepare=_with_machine,
    notes=("Times of runs that shared their machine with others compare poorly.",),
    notes_of=method_rows.cost,
).table
