"""Run directories to export, and what every tracker's test asks of them."""

from pathlib import Path
from typing import Any

from tests.analysis.conftest import writer
from tests.analysis.sampled import write_samples

LABELS = (
    "index,key,given_label,predicted_label,clean_probability,confidence\n7,b.png,1,2,0.9,0.8\n4,a.png,0,2,0.1,0.9\n"
)
EPOCH_3 = "3,nan,60.0,,0.5,0.9,0.02,1.5\n"
REASON = "FloatingPointError: the loss is NaN in epoch 3"


def runs_of_each_state(runs_dir: Path, settings: Any) -> Path:
    """run-0000 is done, with masks; run-0001 failed; run-0002 was stopped. Each has two epochs."""
    write = writer(runs_dir)
    done = write(settings("full"), best=80.0)
    write_samples(done)
    (done / "label_quality.csv").write_text(LABELS)
    write(settings("none"), failure=REASON)
    write(settings("amg"))
    return runs_dir


def train_on(run: Path) -> None:
    """An epoch more, whose loss is no number."""
    with open(run / "metrics.csv", "a") as file:
        file.write(EPOCH_3)
