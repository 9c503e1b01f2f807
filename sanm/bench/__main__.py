"""What a training step costs: ``python -m sanm.bench [bench.KEY=VALUE ...] [overrides as for sanm.run]``.

    python -m sanm.bench                                          DivideMix + SANM, small network, CIFAR's shapes
    python -m sanm.bench base_method=ce model=preact_resnet18 trainer.batch_size=64 device=cpu
    python -m sanm.bench preset=paper trainer.precision=bf16 device=cuda bench.json=bench.json
    python -m sanm.bench bench.clock=cpu                          one thread, CPU time: on a machine others use too

It needs no data: images are synthetic, in the shape of those of ``data=...``. Its own keys:

    bench.steps=10            timed steps of each arrangement, taken in turn; medians are shown
    bench.features=true       also the same step with each feature off
    bench.replaced=true       also masks and views against the image-by-image code they replace
    bench.streamed=true       also the step with images streamed from the disk, by 0, 1 and 2 readers
    bench.compile_seconds=0   time that trainer.compile=true may take to be measured; 0 leaves it out
    bench.clock=wall          wall | cpu
    bench.peak_tflops=null    of the GPU in this precision, for MFU, where it is none of those known
    bench.json=null           file for all figures
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir

from sanm.bench.settings import split
from sanm.config import CONF, checked
from sanm.explain import one_line
from sanm.files import write_atomically
from sanm.run import MULTIRUN, REFUSED
from sanm.several.processes import check_alone

CHOSEN = {"data": "cifar10", "model": "preact_small", "trainer": "paper"}
"""What stands in for the defaults of a run, which are for 8x8 digits, where neither it nor a preset is given."""


def main(words: Sequence[str]) -> int:
    """Measure, print, write. Returns an exit status."""
    if {"--help", "-h"} & set(words):
        print(__doc__)
        return 0
    if set(MULTIRUN) & set(words):
        print("error    sanm.bench measures one config at a time: leave out -m", file=sys.stderr)
        return REFUSED
    try:
        _measure(words)
    except Exception as error:
        explained = one_line(error)
        if explained is None:
            raise
        print(f"error    {explained}", file=sys.stderr)
        return REFUSED
    return 0


def _measure(words: Sequence[str]) -> None:
    check_alone()
    settings, overrides = split(words)
    chosen = [f"{group}={option}" for group, option in CHOSEN.items() if not _given(group, overrides)]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = checked(compose("config", overrides=[*chosen, *overrides]))
    if settings.clock == "cpu":
        os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
    from sanm.bench.report import measure
    from sanm.bench.table import text

    report = measure(config, settings, lambda line: print(line, file=sys.stderr, flush=True))
    print(text(report))
    if settings.json:
        written = json.dumps(report, indent=1) + "\n"
        write_atomically(Path(settings.json).expanduser(), lambda file: file.write(written.encode()))


def _given(group: str, overrides: Sequence[str]) -> bool:
    return any(word.startswith((f"{group}=", "preset=")) for word in overrides)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
