"""A run of a moment, and images of the bundled digits as files."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from sanm.data.datasets import digits
from sanm.record.directory import RunDirectory
from sanm.record.identity import identity, run_name
from sanm.training import experiment
from tests.conftest import SMALL, config_of

ALONE = ("base_method=ce", "components=none")


def run_in(folder: Path, *overrides: str) -> RunDirectory:
    """The finished run of a small config."""
    config = config_of(*SMALL, f"runs_dir={folder}", *overrides)
    record = identity(config)
    directory = RunDirectory(folder, run_name(record))
    with directory.claim():
        experiment.run(config, record, directory, list(overrides))
    return directory


def write_test_digits(folder: Path) -> None:
    """The 500 test digits as ``<label>/<position>.png``."""
    test = digits.load({}, folder).test
    assert test is not None
    for position, (image, label) in enumerate(zip(test.images().numpy(), test.labels, strict=True)):
        path = folder / str(label) / f"{position:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(path)
